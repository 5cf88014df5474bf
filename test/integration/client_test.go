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
	"github.com/stretchr/testify/require"
	tikvconfig "github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/shoaltest"
)

func connect(t *testing.T, c *shoaltest.Cluster) *rawkv.Client {
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{Level: zap.NewAtomicLevel()}) // the client's logger is a global one
	client, err := rawkv.NewClient(context.Background(), []string{c.PD()}, tikvconfig.DefaultConfig().Security)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestRawClient(t *testing.T) {
	cli := connect(t, shoaltest.Start(t, shoaltest.OnDisk()))
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

// Stores are stopped and started again under load, one after the other: no client sees an error, and nothing is lost.
func TestStoresComeAndGo(t *testing.T) {
	c := shoaltest.Start(t, shoaltest.OnDisk())
	cli := connect(t, c)
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
	for i := range c.Addrs() {
		c.StopStore(i)
		c.StartStore(i)
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
