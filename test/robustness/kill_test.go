package robustness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
)

// worker owns a few keys and remembers what was acknowledged of each.
type worker struct {
	id      int
	acked   map[string]string
	longest time.Duration
	ops     atomic.Int64
}

const keysPerWorker = 20

func (w *worker) run(t *testing.T, client *rawkv.Client, stop *atomic.Bool) {
	for i := 0; !stop.Load() && !t.Failed(); i++ {
		key := fmt.Sprintf("w%02d-%02d", w.id, i%keysPerWorker)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if i%2 == 0 {
			value := strconv.Itoa(i)
			if err := client.Put(ctx, []byte(key), []byte(value)); err != nil {
				t.Errorf("put %s: %v", key, err)
			}
			w.acked[key] = value
		} else {
			w.verify(t, ctx, client, key)
		}
		cancel()
		w.longest = max(w.longest, time.Since(begin))
		w.ops.Add(1)
	}
}

func (w *worker) verify(t *testing.T, ctx context.Context, client *rawkv.Client, key string) {
	want, written := w.acked[key]
	got, err := client.Get(ctx, []byte(key))
	if err != nil {
		t.Errorf("get %s: %v", key, err)
		return
	}
	if written && !bytes.Equal(got, []byte(want)) {
		t.Errorf("%s holds %q, acknowledged was %q", key, got, want)
	}
}

// kills is how often a store dies: 20 by default, fewer with -short.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("SHOAL_KILLS")); err == nil {
		return n
	}
	if testing.Short() {
		return 4
	}
	return 20
}

// Any store may be killed, also the leader's, under load: no client sees an error, and nothing acknowledged is lost.
func TestKillStores(t *testing.T) {
	quietClient()
	c := startCluster(t, buildBinary(t), 3)
	client, err := rawkv.NewClient(context.Background(), []string{c.pd}, config.DefaultConfig().Security)
	require.NoError(t, err)
	defer client.Close()

	var stop atomic.Bool
	var wg sync.WaitGroup
	workers := make([]*worker, 64)
	for i := range workers {
		workers[i] = &worker{id: i, acked: make(map[string]string)}
		wg.Add(1)
		go func() {
			defer wg.Done()
			workers[i].run(t, client, &stop)
		}()
	}
	done := func() (sum int64) {
		for _, w := range workers {
			sum += w.ops.Load()
		}
		return sum
	}
	for n := range kills() {
		before := done()
		require.Eventually(t, func() bool { return done() > before+5000 }, time.Minute, 10*time.Millisecond, "the clients get on")
		c.killOne(n)
	}
	stop.Store(true)
	wg.Wait()

	longest := time.Duration(0)
	for _, w := range workers {
		longest = max(longest, w.longest)
		for key := range w.acked {
			w.verify(t, context.Background(), client, key)
		}
	}
	t.Logf("%d operations by %d clients over %d kills, longest wait %s", done(), len(workers), kills(), longest)
}

// killOne kills the leader's store every other time, else the next in turn, and starts it again.
func (c *cluster) killOne(n int) {
	id := c.region()
	victim := n % len(c.stores)
	if n%2 == 0 {
		victim = c.leader(id, victim)
	}
	c.stores[victim].kill()
	<-time.After(500 * time.Millisecond)
	c.spawn(c.stores[victim])
	c.waitCaughtUp(victim, id)
}

// region is the id of the one region.
func (c *cluster) region() uint64 {
	var r regions
	require.True(c.t, c.get("http://"+c.pd+"/pd/api/v1/regions", &r))
	return r.Regions[0].ID
}

// leader is the store that leads a region, or that other one while nobody does.
func (c *cluster) leader(region uint64, other int) int {
	for i := range c.stores {
		if s, ok := c.regionOn(i, region); ok && s.IsLeader {
			return i
		}
	}
	return other
}
