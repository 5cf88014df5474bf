// Package integration runs a whole cluster in one process, with its real network, disks and scheduler, under the unmodified
// TiKV client.
package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	tikvconfig "github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// cluster is a scheduler and stores of this process.
type cluster struct {
	t         testing.TB
	scheduler *server.Server
	dirs      []string
	nodes     []*node.Node
	clients   []*client.Client
}

func start(t testing.TB, stores int) *cluster {
	log.ReplaceGlobals(zap.NewNop(), nil) // the client's logger is a global one
	c := &cluster{t: t, scheduler: schedulertest.Run(t, schedulertest.Config(t))}
	for i := range stores {
		c.dirs = append(c.dirs, t.TempDir())
		c.nodes = append(c.nodes, nil)
		c.clients = append(c.clients, nil)
		c.startNode(i)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stopNode(i)
		}
		c.scheduler.Close()
	})
	require.Eventually(t, c.whole, time.Minute, 10*time.Millisecond, "the first region has a replica on every store")
	return c
}

func (c *cluster) startNode(i int) {
	cfg := config.NewTestConfig()
	cfg.Server.Addr, cfg.Server.StatusAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Storage.DataDir = c.dirs[i]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var err error
	dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) }
	c.clients[i], err = client.New(ctx, []string{c.scheduler.ClientURL()}, dial, zap.NewNop())
	require.NoError(c.t, err)
	c.nodes[i], err = node.Start(ctx, cfg, c.clients[i], zap.NewNop(), prometheus.NewRegistry())
	require.NoError(c.t, err)
}

func (c *cluster) stopNode(i int) {
	if c.nodes[i] != nil {
		c.nodes[i].Close()
		c.clients[i].Close()
		c.nodes[i] = nil
	}
}

func (c *cluster) whole() bool {
	regions, err := c.clients[0].ScanRegions(context.Background(), nil, nil, 10)
	return err == nil && len(regions) == 1 && len(regions[0].Meta.Peers) == len(c.nodes)
}

func (c *cluster) client() *rawkv.Client {
	cli, err := rawkv.NewClient(context.Background(), []string{c.scheduler.ClientURL()}, tikvconfig.DefaultConfig().Security)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = cli.Close() })
	return cli
}

func TestRawClient(t *testing.T) {
	c := start(t, 3)
	cli := c.client()
	ctx := context.Background()
	require.NoError(t, cli.Put(ctx, []byte("k1"), []byte("v1")))
	v, err := cli.Get(ctx, []byte("k1"))
	require.NoError(t, err)
	require.Equal(t, "v1", string(v))
	v, err = cli.Get(ctx, []byte("missing"))
	require.NoError(t, err)
	require.Nil(t, v)

	var keys, values [][]byte
	for i := range 3000 {
		keys = append(keys, fmt.Appendf(nil, "batch%05d", i))
		values = append(values, fmt.Appendf(nil, "value%d", i))
	}
	require.NoError(t, cli.BatchPut(ctx, keys, values))
	got, err := cli.BatchGet(ctx, keys)
	require.NoError(t, err)
	require.Equal(t, values, got)
	scanned, _, err := cli.Scan(ctx, []byte("batch"), []byte("batci"), 2500)
	require.NoError(t, err)
	require.Equal(t, keys[:2500], scanned)
	reverse, _, err := cli.ReverseScan(ctx, []byte("batci"), []byte("batch"), 10)
	require.NoError(t, err)
	require.Equal(t, keys[2999], reverse[0])
	require.NoError(t, cli.DeleteRange(ctx, []byte("batch00100"), []byte("batch00200")))
	v, err = cli.Get(ctx, keys[150])
	require.NoError(t, err)
	require.Nil(t, v)
	require.NoError(t, cli.BatchDelete(ctx, keys[:100]))
	scanned, _, err = cli.Scan(ctx, []byte("batch"), []byte("batci"), 1)
	require.NoError(t, err)
	require.Equal(t, keys[200], scanned[0])
}

// A store that is stopped and started again, on another port, is found again, and nothing is lost meanwhile.
func TestStoresComeAndGo(t *testing.T) {
	c := start(t, 3)
	cli := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	acked := make([]int, 8)
	var wg sync.WaitGroup
	for w := range acked {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 1; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := cli.Put(ctx, fmt.Appendf(nil, "w%d", w), fmt.Appendf(nil, "%d", i)); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				acked[w] = i
			}
		}()
	}
	for i := range c.nodes {
		c.stopNode(i)
		c.startNode(i)
		require.Eventually(t, func() bool { return c.clients[i] != nil && c.whole() }, time.Minute, 10*time.Millisecond)
	}
	close(done)
	wg.Wait()
	for w, n := range acked {
		v, err := cli.Get(ctx, fmt.Appendf(nil, "w%d", w))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), string(v))
		require.Positive(t, n)
	}
}
