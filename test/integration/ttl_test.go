package integration

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
	"github.com/shoal-kv/shoal/shoaltest"
)

// Values that have expired leave the disk: when the clock is set back, as no clock should be, they are not seen again.
func TestExpiredValuesAreReclaimed(t *testing.T) {
	const begin, ttl = 1_800_000_000, 10
	second := &atomic.Int64{}
	second.Store(begin)
	c := shoaltest.Start(t, withTTL(config.EnginePebble, second))
	cli, ctx := connect(t, c), context.Background()
	var keys, values [][]byte
	var ttls []uint64
	for i := range 2000 {
		keys = append(keys, fmt.Appendf(nil, "%04d", i))
		values = append(values, []byte("v"))
		ttls = append(ttls, uint64(i%2*ttl))
	}
	require.NoError(t, cli.BatchPutWithTTL(ctx, keys, values, ttls))
	count := func() int {
		found, _, err := cli.Scan(ctx, nil, nil, 10240)
		require.NoError(t, err)
		return len(found)
	}
	require.Equal(t, 2000, count())
	second.Store(begin + ttl)
	require.Equal(t, 1000, count(), "gone for every reader, at once")
	require.Eventually(t, func() bool {
		second.Store(begin)
		defer second.Store(begin + ttl)
		return count() == 1000
	}, time.Minute, 20*time.Millisecond)
}

// Values expire and are written anew all the time, by plain puts that know nothing of the worker that reclaims them: what was acknowledged stays.
func TestReclaimSparesWhatIsWrittenAnew(t *testing.T) {
	second := &atomic.Int64{}
	second.Store(1_800_000_000)
	c := shoaltest.Start(t, shoaltest.Stores(1), withTTL(config.EnginePebble, second), func(o *local.Options) {
		o.Config.Storage.TTLCheckPollInterval.Duration = time.Microsecond
	})
	cli, ctx := connect(t, c), context.Background()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 300 {
				key, value := fmt.Appendf(nil, "w%d-%d", w, i%4), fmt.Appendf(nil, "%d", i)
				err := cli.PutWithTTL(ctx, key, []byte("short"), 1)
				second.Add(2) // everybody's short values have expired
				if err == nil {
					err = cli.Put(ctx, key, value)
				}
				got, getErr := cli.Get(ctx, key)
				if err != nil || getErr != nil || string(got) != string(value) {
					t.Errorf("%s holds %q, written was %q: %v %v", key, got, value, err, getErr)
					return
				}
			}
		})
	}
	writers.Wait()
}

// A store neither turns TTL mode on or off, nor joins a cluster that differs from it; it says what to set, and starts once that is done.
func TestTTLModeIsTheClusters(t *testing.T) {
	for _, made := range []bool{true, false} {
		t.Run(fmt.Sprint(made), func(t *testing.T) {
			cfg := config.NewTestConfig()
			cfg.Storage.EnableTTL = made
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			c, err := local.Start(ctx, local.Options{Stores: 1, Dir: t.TempDir(), Config: cfg})
			require.NoError(t, err)
			defer c.Close()
			want := fmt.Sprintf("set storage.enable-ttl = %t", made)
			require.NoError(t, c.StopStore(0))
			cfg.Storage.EnableTTL = !made
			require.ErrorContains(t, c.StartStore(ctx, 0), want)
			cfg.Storage.EnableTTL = made
			require.NoError(t, c.StartStore(ctx, 0))

			dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) }
			scheduler, err := client.New(ctx, []string{c.PD()}, dial, zap.NewNop())
			require.NoError(t, err)
			defer scheduler.Close()
			other := config.NewTestConfig()
			other.Server.Addr, other.Server.StatusAddr, other.Storage.DataDir = "127.0.0.1:0", "", t.TempDir()
			other.Storage.EnableTTL = !made
			_, err = node.Start(ctx, other, scheduler, zap.NewNop(), prometheus.NewRegistry())
			require.ErrorContains(t, err, want)
			other.Storage.EnableTTL = made
			joined, err := node.Start(ctx, other, scheduler, zap.NewNop(), prometheus.NewRegistry())
			require.NoError(t, err, "the refused start has left nothing behind")
			joined.Close()
		})
	}
}
