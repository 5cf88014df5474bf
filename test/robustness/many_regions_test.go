package robustness

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
)

// loaders is how many clients load at a time.
const loaders = 32

// megabytes is how much is loaded, into regions of 1 MiB: 8 by default, which makes at least 5 of them.
func megabytes() int {
	if n, err := strconv.Atoi(os.Getenv("SHOAL_MEGABYTES")); err == nil {
		return n
	}
	return 8
}

// The key space divides itself while clients load it, and they do not notice: no error, every key readable. Each store is killed in turn under load, and
// nothing that was acknowledged is lost.
func TestManyRegions(t *testing.T) {
	quietClient()
	file := filepath.Join(t.TempDir(), "small.toml")
	require.NoError(t, os.WriteFile(file, []byte("[coprocessor]\nregion-max-size = \"1MiB\"\nregion-split-size = \"700KiB\"\n"), 0o600))
	c := startCluster(t, buildBinary(t), 3, "--config", file)
	client, err := rawkv.NewClient(context.Background(), []string{c.pd}, config.DefaultConfig().Security)
	require.NoError(t, err)
	defer client.Close()

	begin := time.Now()
	l := &loading{t: t, client: client, each: megabytes() << 20 / loaders / pairSize, pair: pairSize}
	l.load()
	least := megabytes() * 5 / 8
	require.Eventually(t, func() bool { return c.count() >= least }, time.Minute, 100*time.Millisecond, "%d MB make %d regions", megabytes(), least)
	l.readAll()
	t.Logf("%d MB in %d regions after %s, longest request %s", megabytes(), c.count(), time.Since(begin).Round(time.Millisecond), l.longest())

	var stop atomic.Bool
	var wg sync.WaitGroup
	for id := range loaders {
		wg.Go(func() { l.overwrite(id, &stop) })
	}
	for i := range c.stores {
		before := l.ops.Load()
		require.Eventually(t, func() bool { return l.ops.Load() > before+1000 }, time.Minute, 10*time.Millisecond, "the clients get on")
		c.stores[i].kill()
		<-time.After(500 * time.Millisecond)
		c.spawn(c.stores[i])
		c.waitWhole(len(c.stores))
		c.waitServing(i)
	}
	stop.Store(true)
	wg.Wait()
	l.readAll()
	t.Logf("%d regions after the kills, longest request %s", c.count(), l.longest())
}

// waitServing waits until a store has all its replicas, and they follow.
func (c *cluster) waitServing(i int) {
	var r regions
	require.True(c.t, c.get("http://"+c.pd+"/pd/api/v1/regions", &r))
	for _, one := range r.Regions {
		c.waitCaughtUp(i, one.ID)
	}
}

// count is the number of regions that the scheduler knows.
func (c *cluster) count() int {
	var r regions
	c.get("http://"+c.pd+"/pd/api/v1/regions", &r)
	return len(r.Regions)
}

// loading is what the clients write: each has its own keys, whose values of pair bytes carry a version.
type loading struct {
	t      *testing.T
	client *rawkv.Client
	each   int
	pair   int
	ops    atomic.Int64
	slow   atomic.Int64
	// versions are what was acknowledged last, by client and key.
	versions [loaders][]int
}

const pairSize = 1024

func loadKey(id, i int) []byte { return fmt.Appendf(nil, "load-%02d-%08d", id, i) }

// value is what compression does not make smaller, and the version at its end.
func (l *loading) value(id, i, version int) []byte {
	rng := rand.New(rand.NewPCG(uint64(id), uint64(i)))
	value := make([]byte, 0, l.pair)
	for len(value) < l.pair-32 {
		value = binary.LittleEndian.AppendUint64(value, rng.Uint64())
	}
	return fmt.Appendf(value, "%02d-%08d-%08d", id, i, version)
}

// each client's requests have a minute, as an application's would.
func (l *loading) request(what string, id, i int, do func(ctx context.Context) error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := do(ctx); err != nil {
		l.t.Errorf("%s %s: %v", what, loadKey(id, i), err)
	}
	l.ops.Add(1)
	for took := int64(time.Since(begin)); ; {
		if old := l.slow.Load(); took <= old || l.slow.CompareAndSwap(old, took) {
			return
		}
	}
}

func (l *loading) longest() time.Duration {
	return time.Duration(l.slow.Load()).Round(time.Millisecond)
}

func (l *loading) load() {
	var wg sync.WaitGroup
	for id := range loaders {
		l.versions[id] = make([]int, l.each)
		wg.Go(func() {
			for i := range l.each {
				l.request("put", id, i, func(ctx context.Context) error { return l.client.Put(ctx, loadKey(id, i), l.value(id, i, 0)) })
			}
		})
	}
	wg.Wait()
}

// overwrite writes some keys again, and reads what it wrote.
func (l *loading) overwrite(id int, stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	for !stop.Load() && !l.t.Failed() {
		i := rng.IntN(l.each)
		if rng.IntN(2) == 0 {
			l.verify(id, i)
			continue
		}
		next := l.versions[id][i] + 1
		l.request("put", id, i, func(ctx context.Context) error { return l.client.Put(ctx, loadKey(id, i), l.value(id, i, next)) })
		l.versions[id][i] = next
	}
}

func (l *loading) verify(id, i int) {
	l.request("get", id, i, func(ctx context.Context) error {
		got, err := l.client.Get(ctx, loadKey(id, i))
		if err == nil && !bytes.Equal(got, l.value(id, i, l.versions[id][i])) {
			l.t.Errorf("%s ends in %q, version %d was acknowledged", loadKey(id, i), got[max(0, len(got)-32):], l.versions[id][i])
		}
		return err
	})
}

func (l *loading) readAll() {
	var wg sync.WaitGroup
	for id := range loaders {
		wg.Go(func() {
			for i := range l.each {
				l.verify(id, i)
			}
		})
	}
	wg.Wait()
}
