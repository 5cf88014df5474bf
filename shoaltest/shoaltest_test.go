package shoaltest_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"go.uber.org/goleak"

	"github.com/shoal-kv/shoal/shoaltest"
)

// Nothing of the cluster stays behind. (The client library's own goroutines do, for some seconds; they are not looked at here.)
func TestNothingStaysBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("cluster", func(t *testing.T) {
		c := shoaltest.Start(t, shoaltest.OnDisk())
		c.StopStore(1)
		c.Partition([]int{0}, []int{2})
		c.StartStore(1)
		c.Heal()
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	goleak.VerifyNone(t, before)
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
