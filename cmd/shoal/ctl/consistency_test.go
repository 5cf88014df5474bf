package ctl

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/local"
)

// One replica is not like the others, by no fault of the disk that a checksum would tell. The slow round finds it, and tells by metric, log and ctl;
// nothing is changed until somebody asks for --repair, which makes the replica like the majority again.
func TestAnOddReplicaIsFoundAndRepaired(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cfg := config.NewTestConfig()
	cfg.Raftstore.ConsistencyCheckInterval = config.Duration{Duration: time.Second}
	var logged lockedBuffer
	c, err := local.Start(ctx, local.Options{Dir: dir, Config: cfg, Logger: func(part string) *zap.Logger {
		if part != local.StoreName(0) {
			return zap.NewNop()
		}
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &logged, zap.ErrorLevel))
	}})
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.WaitWhole(ctx))
	values := fill(t, ctx, c)
	api, err := pdapi.New(c.PD())
	require.NoError(t, err)
	at := &replicaReader{t: t, ctx: ctx, api: api, addr: c.Addrs()[0], values: values}
	at.connect()
	servers, err := findStatusServers(ctx, api)
	require.NoError(t, err)
	self := at.store()
	id := fmt.Sprint(at.region().ID)
	ctl := func(args ...string) string {
		out, err := run(t, append([]string{"--pd", c.PD(), "--timeout", "20s"}, args...)...)
		require.NoError(t, err)
		return out
	}
	require.Eventually(t, func() bool { return strings.Contains(ctl("consistency-check", "--all"), "equal") }, time.Minute, 100*time.Millisecond)

	require.NoError(t, c.StopStore(0))
	overwrite(t, filepath.Join(dir, local.StoreName(0), "kv"), "key005", "wrong")
	require.NoError(t, c.StartStore(ctx, 0))
	odd := func() (is bool) {
		for _, r := range servers.replicas(ctx, at.region()) {
			is = is || r.Peer.Consistency.Differs
		}
		return is
	}
	require.Eventually(t, odd, time.Minute, 50*time.Millisecond, "the slow round finds it")
	require.Contains(t, ctl("region", id), "differs from the leader")
	found := 0
	for _, addr := range servers {
		if !strings.Contains(metrics(t, addr), "shoal_raftstore_replica_differences_total 0") {
			found++
		}
	}
	require.Positive(t, found)

	verdict := fmt.Sprintf("odd: store %d", self)
	require.Eventually(t, func() bool { return strings.Contains(ctl("consistency-check", id), verdict) }, time.Minute, 100*time.Millisecond)
	require.Contains(t, ctl("consistency-check", id), verdict, "looking changes nothing")
	require.Eventually(t, func() bool {
		return strings.Contains(ctl("consistency-check", id, "--repair"), verdict+"; rebuilt")
	}, time.Minute, 100*time.Millisecond)
	require.Contains(t, logged.String(), "a replica is damaged")
	require.Eventually(t, func() bool { return strings.Contains(ctl("consistency-check", id), "equal") }, time.Minute, 100*time.Millisecond)
	require.Eventually(t, func() bool { right, _ := at.read(); return right == len(values) }, time.Minute, 50*time.Millisecond)
	require.Len(t, at.region().Peers, 3)
}

// overwrite changes one value in the engine of a store that is stopped.
func overwrite(t *testing.T, dir, key, value string) {
	db, err := pebbledb.Open(pebbledb.Options{Dir: dir})
	require.NoError(t, err)
	snap := db.NewSnapshot()
	old, err := snap.Get(engine.Default, []byte(key))
	require.NoError(t, err)
	require.NotEmpty(t, old, "values lie under their keys")
	require.NoError(t, snap.Close())
	b := db.NewBatch()
	b.Put(engine.Default, []byte(key), []byte(value))
	require.NoError(t, b.Commit(true))
	require.NoError(t, b.Close())
	require.NoError(t, db.Close())
}

// lockedBuffer is a log that is written and read at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (*lockedBuffer) Sync() error { return nil }

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
