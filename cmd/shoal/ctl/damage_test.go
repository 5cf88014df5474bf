package ctl

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/rpc"
)

// One byte of a table of one store is flipped. Whoever reads there gets the right value or is sent elsewhere, the store goes on, clients of the
// cluster notice nothing, and the replica is rebuilt from the others without anybody's doing.
func TestADamagedReplicaIsRebuilt(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, at, servers := startDamaged(t, ctx)
	values, self := at.values, at.store()
	require.NoError(t, c.StartStore(ctx, 0))

	refused := 0
	require.Eventually(t, func() bool {
		_, n := at.read()
		refused += n
		return strings.Contains(metrics(t, servers[self]), "shoal_raftstore_damaged_replicas_total 1")
	}, time.Minute, 10*time.Millisecond, "the damage is met")
	require.Eventually(t, func() bool { right, _ := at.read(); return right == len(values) }, time.Minute, 50*time.Millisecond, "it is rebuilt")
	t.Logf("%d reads were refused", refused)
	for _, r := range servers.replicas(ctx, at.region()) {
		require.Empty(t, r.Error)
		require.Empty(t, r.Peer.Damaged)
	}
	require.Len(t, at.region().Peers, 3)
	id := fmt.Sprint(at.region().ID)
	require.Eventually(t, func() bool {
		out, err := run(t, "--pd", c.PD(), "--timeout", "10s", "consistency-check", id)
		return err == nil && strings.Contains(out, "equal")
	}, time.Minute, 100*time.Millisecond)
	// Whoever began to read before the data were replaced may meet the damage once more, and tell of it.
	require.Regexp(t, "shoal_raftstore_damaged_replicas_total [12]\n", metrics(t, servers[self]), "it is rebuilt again and again")
	select {
	case err := <-c.Fatal():
		t.Fatalf("a store gave up: %v", err)
	default:
	}
}

// Nobody reads what is damaged, but a compaction: the store finds out whose it is, has it rebuilt, and the compaction gets on.
func TestDamageThatACompactionMeets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c, at, _ := startDamaged(t, ctx)
	found := func() bool { return at.logs.FilterMessageSnippet("a replica is damaged").Len() > 0 } // of every start: a count would be lost with the process
	require.NoError(t, c.StartStore(ctx, 0))
	for i := 0; i < 20 && !found(); i++ { // each start makes one more table, until there are enough for a compaction
		_, err := run(t, "--pd", c.PD(), "--timeout", "20s", "kv", "put", fmt.Sprintf("key%03dx", i), "v")
		require.NoError(t, err)
		require.NoError(t, c.StopStore(0))
		require.NoError(t, c.StartStore(ctx, 0))
	}
	require.Eventually(t, found, time.Minute, 10*time.Millisecond, "the damage is met")
	id := fmt.Sprint(at.region().ID)
	require.Eventually(t, func() bool {
		out, err := run(t, "--pd", c.PD(), "--timeout", "10s", "consistency-check", id)
		return err == nil && strings.Contains(out, "equal")
	}, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool { right, _ := at.read(); return right == len(at.values) }, time.Minute, 50*time.Millisecond)
	select {
	case err := <-c.Fatal():
		t.Fatalf("a store gave up: %v", err)
	default:
	}
}

// startDamaged is a cluster whose first store is down, with a byte of its largest table flipped, and who reads that store's replica.
func startDamaged(t *testing.T, ctx context.Context) (*local.Cluster, *replicaReader, statusServers) {
	dir := t.TempDir()
	core, logs := observer.New(zap.ErrorLevel)
	c, err := local.Start(ctx, local.Options{Dir: dir, Logger: func(string) *zap.Logger { return zap.New(core) }})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	require.NoError(t, c.WaitWhole(ctx))
	values := fill(t, ctx, c)
	require.NoError(t, c.StopStore(0))
	require.NoError(t, c.StartStore(ctx, 0)) // moves what was in the engine's log into a table
	require.NoError(t, c.StopStore(0))
	flipInLargestTable(t, filepath.Join(dir, "store-1", "kv"))
	api, err := pdapi.New(c.PD())
	require.NoError(t, err)
	at := &replicaReader{t: t, ctx: ctx, api: api, addr: c.Addrs()[0], values: values, logs: logs}
	at.connect()
	servers, err := findStatusServers(ctx, api)
	require.NoError(t, err)
	return c, at, servers
}

// fill writes values that cannot be compressed, and returns them.
func fill(t *testing.T, ctx context.Context, c *local.Cluster) map[string]string {
	client, err := rawkv.NewClient(ctx, []string{c.PD()}, config.DefaultConfig().Security)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	values := make(map[string]string)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		value := make([]byte, 2000)
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		key := fmt.Sprintf("key%03d", i)
		values[key] = string(value)
		require.NoError(t, client.Put(ctx, []byte(key), value))
	}
	return values
}

func metrics(t *testing.T, addr string) string {
	res, err := http.Get("http://" + addr + "/metrics")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

func flipInLargestTable(t *testing.T, dir string) {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	require.NoError(t, err)
	var largest string
	var size int64
	for _, path := range tables {
		info, err := os.Stat(path)
		require.NoError(t, err)
		if info.Size() > size {
			largest, size = path, info.Size()
		}
	}
	require.Greater(t, size, int64(200_000))
	data, err := os.ReadFile(largest)
	require.NoError(t, err)
	data[size/2] ^= 0x10
	require.NoError(t, os.WriteFile(largest, data, 0o600))
}

// replicaReader reads from one store, whether it leads or not.
type replicaReader struct {
	t      *testing.T
	ctx    context.Context
	api    *pdapi.Client
	addr   string
	values map[string]string
	logs   *observer.ObservedLogs // errors of the whole cluster
	kv     tikvpb.TikvClient
}

func (r *replicaReader) connect() {
	conn, err := rpc.Dial(r.addr, rpc.Security{})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	r.kv = tikvpb.NewTikvClient(conn)
}

// store is the id of the store that is read from.
func (r *replicaReader) store() uint64 {
	stores, err := r.api.Stores(r.ctx)
	require.NoError(r.t, err)
	for _, s := range stores {
		if s.Store.Address == r.addr {
			return s.Store.ID
		}
	}
	r.t.Fatalf("no store is at %s", r.addr)
	return 0
}

func (r *replicaReader) region() pdapi.Region {
	regions, err := r.api.Regions(r.ctx)
	require.NoError(r.t, err)
	require.Len(r.t, regions, 1)
	return regions[0]
}

// read asks for every key; what is answered must be right.
func (r *replicaReader) read() (right, refused int) {
	reg := r.region()
	rpcCtx := &kvrpcpb.Context{
		RegionId: reg.ID, RegionEpoch: &metapb.RegionEpoch{ConfVer: reg.Epoch.ConfVer, Version: reg.Epoch.Version}, ReplicaRead: true,
	}
	for key, value := range r.values {
		res, err := r.kv.RawGet(r.ctx, &kvrpcpb.RawGetRequest{Context: rpcCtx, Key: []byte(key)})
		require.NoError(r.t, err)
		require.Empty(r.t, res.Error)
		if res.RegionError != nil {
			if strings.Contains(res.RegionError.Message, "damaged") {
				require.NotNil(r.t, res.RegionError.NotLeader)
				refused++
			}
			continue
		}
		require.True(r.t, value == string(res.Value), key)
		right++
	}
	return right, refused
}
