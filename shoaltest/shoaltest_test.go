package shoaltest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/goleak"

	"github.com/shoal-kv/shoal/shoaltest"
)

// A goroutine of the cluster that outlives its test fails the package. The client library leaves some of its own.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/tikv/client-go/v2/util.init.0.func1"),
		goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
	)
}

func connect(t *testing.T, c *shoaltest.Cluster) *rawkv.Client {
	client, err := rawkv.NewClient(context.Background(), []string{c.PD()}, config.DefaultConfig().Security)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func TestAClusterForAnyTest(t *testing.T) {
	for name, opts := range map[string][]shoaltest.Option{
		"in memory": {shoaltest.Stores(3)},
		"on disk":   {shoaltest.Stores(3), shoaltest.OnDisk()},
		"one store": {shoaltest.Stores(1)},
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(t, shoaltest.Start(t, opts...))
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			require.NoError(t, client.Put(ctx, []byte("hello"), []byte("world")))
			v, err := client.Get(ctx, []byte("hello"))
			require.NoError(t, err)
			require.Equal(t, "world", string(v))
		})
	}
}

// Every store in turn is stopped, cut off, and comes back; a client goes on and reads what it wrote.
func TestFaultsOnDemand(t *testing.T) {
	c := shoaltest.Start(t)
	client := connect(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	write := func(value string) {
		require.NoError(t, client.Put(ctx, []byte("k"), []byte(value)))
		v, err := client.Get(ctx, []byte("k"))
		require.NoError(t, err)
		require.Equal(t, value, string(v))
	}
	write("whole")
	for i := range 3 {
		c.StopStore(i)
		write("stopped")
		c.StartStore(i)
		write("started")
		c.Partition([]int{i}, []int{(i + 1) % 3, (i + 2) % 3})
		write("cut")
		c.Heal()
		write("healed")
	}
}
