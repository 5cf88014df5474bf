package robustness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	tikvconfig "github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/kv/config"
)

const (
	pausedMaxSize  = 3 * config.MiB / 2
	pausedLogCount = 2000
	pausedLogSize  = 4 * config.MiB
)

// pauseFor is how long a store stands still: ten minutes in `make paused-store`, a moment otherwise.
func pauseFor(t *testing.T) time.Duration {
	if text := os.Getenv("SHOAL_PAUSE"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		return d
	}
	return 8 * time.Second
}

// While a store stands still (SIGSTOP: its connections stay open) and 64 clients write, regions stay below their limit and no region's log
// grows beyond what may be kept for a replica that lags; when it goes on, it needs one snapshot a region at most (S15).
func TestPausedStore(t *testing.T) {
	quietClient()
	c := startCluster(t, buildBinary(t), 3, "--config", smallRegions(t))
	client, err := rawkv.NewClient(context.Background(), []string{c.pd}, tikvconfig.DefaultConfig().Security)
	require.NoError(t, err)
	defer client.Close()

	load := startLoad(t, client, 64)
	require.Eventually(t, func() bool { return len(c.regions()) >= 4 }, 2*time.Minute, 100*time.Millisecond, "regions split")
	paused, before := 2, c.snapshotsReceived(2)
	require.NoError(t, c.stores[paused].cmd.Process.Signal(syscall.SIGSTOP))
	longest, largest := uint64(0), uint64(0)
	for end := time.Now().Add(pauseFor(t)); time.Now().Before(end) && !t.Failed(); <-time.After(500 * time.Millisecond) {
		for i := range c.stores {
			if i != paused {
				entries, size := c.logs(i)
				longest, largest = max(longest, entries), max(largest, size)
			}
		}
	}
	require.NoError(t, c.stores[paused].cmd.Process.Signal(syscall.SIGCONT))
	ops, slowest := load.stop()
	regions := c.regions()
	for id := range regions {
		c.waitCaughtUp(paused, id)
	}
	needed := c.snapshotsReceived(paused) - before
	t.Logf("%d writes in %s, the slowest took %s; %d regions, logs of at most %d entries and %d bytes; %d snapshots healed the store",
		ops, pauseFor(t), slowest, len(regions), longest, largest, needed)

	// Between two looks of the collector a log may grow by what is written meanwhile.
	require.LessOrEqual(t, longest, uint64(2*pausedLogCount), "entries of a log")
	require.LessOrEqual(t, largest, uint64(2*pausedLogSize), "bytes of a log")
	require.LessOrEqual(t, needed, len(regions), "snapshots")
	require.Eventually(t, func() bool {
		for _, size := range c.regions() {
			if size > uint64(pausedMaxSize>>20)+1 { // the scheduler speaks of MiB
				return false
			}
		}
		return true
	}, time.Minute, 100*time.Millisecond, "no region is larger than its limit")
}

func smallRegions(t *testing.T) string {
	cfg := config.NewTestConfig()
	cfg.Coprocessor.RegionMaxSize, cfg.Coprocessor.RegionSplitSize = pausedMaxSize, config.MiB
	cfg.Raftstore.RaftLogGcCountLimit, cfg.Raftstore.RaftLogGcSizeLimit = pausedLogCount, pausedLogSize
	text, err := cfg.TOML()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "store.toml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// load is clients that write without a pause, over a key space that grows.
type load struct {
	wg      sync.WaitGroup
	end     atomic.Bool
	ops     atomic.Int64
	slowest []time.Duration
}

func startLoad(t *testing.T, client *rawkv.Client, clients int) *load {
	l := &load{slowest: make([]time.Duration, clients)}
	value := make([]byte, 1024)
	for w := range clients {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for i := 0; !l.end.Load() && !t.Failed(); i++ {
				begin := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				// The first thousand keys of a client are written again and again: the data stays small, the logs do not.
				err := client.Put(ctx, []byte(fmt.Sprintf("p%02d-%04d", w, i%1000)), value)
				cancel()
				if err != nil {
					t.Errorf("put: %v", err)
				}
				l.slowest[w] = max(l.slowest[w], time.Since(begin))
				l.ops.Add(1)
			}
		}()
	}
	return l
}

func (l *load) stop() (ops int64, slowest time.Duration) {
	l.end.Store(true)
	l.wg.Wait()
	for _, d := range l.slowest {
		slowest = max(slowest, d)
	}
	return l.ops.Load(), slowest
}

// regions are the sizes in MiB of all regions that the scheduler knows, by id.
func (c *cluster) regions() map[uint64]uint64 {
	var answer struct {
		Regions []struct {
			ID   uint64 `json:"id"`
			Size uint64 `json:"approximate_size"`
		} `json:"regions"`
	}
	sizes := make(map[uint64]uint64)
	if c.get("http://"+c.pd+"/pd/api/v1/regions", &answer) {
		for _, r := range answer.Regions {
			sizes[r.ID] = r.Size
		}
	}
	return sizes
}

// logs are the longest and the largest log of a region that a store leads.
func (c *cluster) logs(i int) (entries, size uint64) {
	for id := range c.regions() {
		var s struct {
			Log struct {
				Truncated uint64 `json:"truncated"`
				Last      uint64 `json:"last"`
				Bytes     uint64 `json:"bytes"`
			} `json:"log"`
		}
		if c.get(fmt.Sprintf("http://%s/region/%d", c.status[i], id), &s) {
			entries, size = max(entries, s.Log.Last-s.Log.Truncated), max(size, s.Log.Bytes)
		}
	}
	return entries, size
}

var received = regexp.MustCompile(`(?m)^tikv_server_snapshot_transfer_total\{result="ok",type="receive"\} (\d+)`)

// snapshotsReceived is how many snapshots a store has taken in since it was started.
func (c *cluster) snapshotsReceived(i int) int {
	found := received.FindSubmatch(c.page("http://" + c.status[i] + "/metrics"))
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(string(found[1]))
	require.NoError(c.t, err)
	return n
}
