package robustness

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/rpc"
)

// Figures of real processes: each test is a small one in the usual run, and prints what it measured; `make idle-cost`, bench-regions,
// failover-time and split-stall ask for the real size. Nothing here is judged by its speed.

// sized is the number that a target sets in the environment, or a small one.
func sized(name string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return small
}

// benchKey is the n-th key of `shoal bench raw`.
func benchKey(n int) []byte { return fmt.Appendf(nil, "bench/%012d", n) }

// described is a region as the scheduler knows it.
type described struct {
	ID       uint64 `json:"id"`
	StartKey string `json:"start_key"`
	EndKey   string `json:"end_key"`
	Epoch    struct {
		ConfVer uint64 `json:"conf_ver"`
		Version uint64 `json:"version"`
	} `json:"epoch"`
	Leader member   `json:"leader"`
	Peers  []member `json:"peers"`
}

type member struct {
	ID      uint64 `json:"id"`
	StoreID uint64 `json:"store_id"`
}

func (d *described) context(p member) *kvrpcpb.Context {
	return &kvrpcpb.Context{
		RegionId: d.ID, RegionEpoch: &metapb.RegionEpoch{ConfVer: d.Epoch.ConfVer, Version: d.Epoch.Version},
		Peer: &metapb.Peer{Id: p.ID, StoreId: p.StoreID},
	}
}

func (d *described) inside(t *testing.T, key []byte) bool {
	start, err := hex.DecodeString(d.StartKey)
	require.NoError(t, err)
	end, err := hex.DecodeString(d.EndKey)
	require.NoError(t, err)
	return bytes.Compare(start, key) < 0 && (len(end) == 0 || bytes.Compare(key, end) < 0)
}

func (c *cluster) regionList() []described {
	var r struct {
		Regions []described `json:"regions"`
	}
	if !c.get("http://"+c.pd+"/pd/api/v1/regions", &r) {
		return nil
	}
	return r.Regions
}

// addressOf asks the scheduler where a store is.
func (c *cluster) addressOf(store uint64) string {
	var s struct {
		Store struct {
			Address string `json:"address"`
		} `json:"store"`
	}
	require.True(c.t, c.get(fmt.Sprintf("http://%s/pd/api/v1/store/%d", c.pd, store), &s))
	return s.Store.Address
}

// splitAt makes regions begin at keys, and waits until the scheduler knows all of them and their leaders.
func (c *cluster) splitAt(keys [][]byte) {
	const atOnce = 50
	deadline := time.Now().Add(3 * time.Minute)
	for time.Now().Before(deadline) {
		left := 0
		for _, r := range c.regionList() {
			var mine [][]byte
			for _, k := range keys {
				if r.inside(c.t, k) {
					mine = append(mine, k)
				}
			}
			if left += len(mine); len(mine) > 0 && r.Leader.StoreID != 0 {
				c.split(&r, mine[:min(len(mine), atOnce)])
			}
		}
		if left == 0 && len(c.regionList()) > len(keys) {
			c.waitWhole(len(c.stores))
			return
		}
	}
	c.t.Fatal("the regions were not split in time")
}

// split asks once; whether it was done shows when the scheduler is asked the next time.
func (c *cluster) split(r *described, keys [][]byte) {
	conn, err := rpc.Dial(c.addressOf(r.Leader.StoreID), rpc.Security{})
	require.NoError(c.t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, _ = tikvpb.NewTikvClient(conn).SplitRegion(ctx, &kvrpcpb.SplitRegionRequest{
		Context: r.context(r.Leader), SplitKeys: keys, IsRawKv: true,
	})
}

// divide makes n regions of so many of the benchmark's keys.
func (c *cluster) divide(n, keys int) {
	var at [][]byte
	for i := 1; i < n; i++ {
		at = append(at, benchKey(i*keys/n))
	}
	c.splitAt(at)
}

// restartStores makes leaders be elected anew, on stores that chance chooses.
func (c *cluster) restartStores() {
	for _, p := range c.stores {
		p.kill()
	}
	for _, p := range c.stores {
		c.spawn(p)
	}
	for _, r := range c.regionList() {
		require.Eventually(c.t, func() bool {
			for i := range c.stores {
				if s, ok := c.regionOn(i, r.ID); ok && s.IsLeader {
					return true
				}
			}
			return false
		}, time.Minute, 50*time.Millisecond, "region %d has a leader again", r.ID)
	}
	c.waitWhole(len(c.stores))
}

func (c *cluster) processes() []*process { return append(slices.Clone(c.stores), c.scheduler) }

// cpu is the time that a process has used; rss its resident memory in bytes.
func (p *process) cpu(t *testing.T) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	require.NoError(t, err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (p *process) rss(t *testing.T) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// asleep is how many peers sleep on all stores.
func (c *cluster) asleep() (n int) {
	for i := range c.stores {
		for _, line := range strings.Split(c.metrics(i), "\n") {
			if value, ok := strings.CutPrefix(line, `tikv_raftstore_region_count{type="asleep"} `); ok {
				f, err := strconv.ParseFloat(value, 64)
				require.NoError(c.t, err)
				n += int(f)
			}
		}
	}
	return n
}

func (c *cluster) metrics(i int) string {
	out, err := exec.Command("curl", "-s", "http://"+c.status[i]+"/metrics").Output()
	require.NoError(c.t, err)
	return string(out)
}

// Regions without work fall asleep, all of them, cost little then, and wake for whoever comes (S21).
func TestIdleCost(t *testing.T) {
	n, watch := sized("SHOAL_IDLE_REGIONS", 8), time.Duration(sized("SHOAL_IDLE_SECONDS", 1))*time.Second
	c := startCluster(t, buildBinary(t), 3)
	c.divide(n, 100_000)
	require.Eventually(t, func() bool { return c.asleep() == 3*n }, 2*time.Minute, 500*time.Millisecond, "all peers of all regions sleep")
	before := map[*process]time.Duration{}
	for _, p := range c.processes() {
		before[p] = p.cpu(t)
	}
	<-time.After(watch)
	var used time.Duration
	memory := 0
	for _, p := range c.processes() {
		spent, rss := p.cpu(t)-before[p], p.rss(t)
		t.Logf("%-10s %5.2f %% of a core, %4d MiB", p.name, 100*spent.Seconds()/watch.Seconds(), rss>>20)
		used, memory = used+spent, memory+rss
	}
	t.Logf("%d idle regions with 3 replicas each: %.2f %% of a core, %d MiB, all processes together", n, 100*used.Seconds()/watch.Seconds(), memory>>20)

	client := c.client()
	for i := range min(n, 50) {
		key := benchKey(i * 100_000 / n)
		require.NoError(t, client.Put(context.Background(), key, []byte("awake")))
		got, err := client.Get(context.Background(), key)
		require.NoError(t, err)
		require.Equal(t, "awake", string(got))
	}
}

func (c *cluster) client() *rawkv.Client {
	quietClient()
	client, err := rawkv.NewClient(context.Background(), []string{c.pd}, config.DefaultConfig().Security)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// run is a part of what `shoal bench -o json` says.
type run struct {
	Total struct {
		PerSecond float64 `json:"per_second"`
		Errors    int64   `json:"errors"`
		P50       int64   `json:"p50_us"`
		P99       int64   `json:"p99_us"`
	} `json:"total"`
	Cost struct {
		Servers float64 `json:"servers_us_per_op"`
		Client  float64 `json:"client_us_per_op"`
	} `json:"cost"`
}

func (c *cluster) bench(clients int, d time.Duration) (r run) {
	out, err := exec.Command(c.bin, "bench", "raw", "--workload", "write", "--clients", strconv.Itoa(clients), "--duration", d.String(),
		"--pd", c.pd, "--quiet", "-o", "json").Output()
	require.NoError(c.t, err)
	require.NoError(c.t, json.Unmarshal(out, &r))
	require.Zero(c.t, r.Total.Errors)
	return r
}

// Writes spread over many regions, whose leaders are spread over the stores, beside the same writes to one.
func TestManyRegionsThroughput(t *testing.T) {
	n, d, rounds := sized("SHOAL_BENCH_REGIONS", 6), time.Duration(sized("SHOAL_BENCH_SECONDS", 1))*time.Second, sized("SHOAL_BENCH_ROUNDS", 1)
	clients := 256
	bin := buildBinary(t)
	one, many := startCluster(t, bin, 3), startCluster(t, bin, 3)
	many.divide(n, 100_000)
	many.restartStores()
	var sum [2]float64
	for range rounds {
		for i, c := range []*cluster{one, many} {
			r := c.bench(clients, d)
			sum[i] += r.Total.PerSecond
			t.Logf("%2d regions: %6.0f puts/s, p50 %.1f ms, p99 %.1f ms, CPU of a put: servers %.1f us, client %.1f us",
				[]int{1, n}[i], r.Total.PerSecond, float64(r.Total.P50)/1e3, float64(r.Total.P99)/1e3, r.Cost.Servers, r.Cost.Client)
		}
	}
	t.Logf("%d regions: %.2f of what one does (%d clients)", n, sum[1]/sum[0], clients)
}

// The store that leads is killed: the time from the kill to the first acknowledged write, of somebody who asks all stores again and again, and of
// an unmodified client, which may sit out timeouts of its own.
func TestFailoverTime(t *testing.T) {
	for _, regions := range []int{1, sized("SHOAL_FAILOVER_REGIONS", 5)} {
		c := startCluster(t, buildBinary(t), 3)
		if regions > 1 {
			c.divide(regions, 100_000)
			c.restartStores()
		}
		client := c.client()
		var asked, served []time.Duration
		for n := range sized("SHOAL_FAILOVER_KILLS", 1) {
			key := benchKey(n * 7919 % 100_000)
			require.NoError(t, client.Put(context.Background(), key, []byte("before")))
			r, leads := c.leaderOf(key)
			conns := c.connections()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			c.stores[leads].kill()
			killed := time.Now()
			done := make(chan error, 1)
			go func() {
				err := client.Put(ctx, key, []byte("after"))
				served = append(served, time.Since(killed))
				done <- err
			}()
			c.putSomewhere(ctx, conns, r, key)
			asked = append(asked, time.Since(killed))
			require.NoError(t, <-done)
			cancel()
			for _, conn := range conns {
				_ = conn.Close()
			}
			c.spawn(c.stores[leads])
			c.waitLeads()
		}
		for i, took := range [][]time.Duration{asked, served} {
			slices.Sort(took)
			t.Logf("%d regions, %d kills of the leader's store, first write %s: p50 %v, p99 %v, longest %v", regions, len(took),
				[]string{"by asking all stores", "through client-go"}[i],
				took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
		}
	}
}

// connections are to every store, by its id.
func (c *cluster) connections() map[uint64]*grpc.ClientConn {
	conns := map[uint64]*grpc.ClientConn{}
	for _, r := range c.regionList() {
		for _, p := range r.Peers {
			if conns[p.StoreID] == nil {
				conn, err := rpc.Dial(c.addressOf(p.StoreID), rpc.Security{})
				require.NoError(c.t, err)
				conn.Connect()
				conns[p.StoreID] = conn
			}
		}
	}
	return conns
}

// putSomewhere asks one peer after the other until one takes the write.
func (c *cluster) putSomewhere(ctx context.Context, conns map[uint64]*grpc.ClientConn, r described, key []byte) {
	for ctx.Err() == nil {
		for _, p := range r.Peers {
			once, cancel := context.WithTimeout(ctx, time.Second)
			resp, err := tikvpb.NewTikvClient(conns[p.StoreID]).RawPut(once, &kvrpcpb.RawPutRequest{Context: r.context(p), Key: key, Value: []byte("v")})
			cancel()
			if err == nil && resp.RegionError == nil && resp.Error == "" {
				return
			}
		}
		<-time.After(5 * time.Millisecond)
	}
	c.t.Error("nobody took the write")
}

// leaderOf is the region of a key and the store that leads it, by the stores' own word.
func (c *cluster) leaderOf(key []byte) (found described, leads int) {
	require.Eventually(c.t, func() bool {
		for _, r := range c.regionList() {
			start, _ := hex.DecodeString(r.StartKey)
			if !r.inside(c.t, key) && !bytes.Equal(start, key) {
				continue
			}
			for i := range c.stores {
				if s, ok := c.regionOn(i, r.ID); ok && s.IsLeader {
					found, leads = r, i
					return true
				}
			}
		}
		return false
	}, time.Minute, 20*time.Millisecond)
	return found, leads
}

// waitLeads waits until every store serves and has caught up with every region.
func (c *cluster) waitLeads() {
	for i := range c.stores {
		for _, r := range c.regionList() {
			c.waitCaughtUp(i, r.ID)
		}
	}
}

// A region splits while it is written to: the longest that its writers wait.
func TestSplitStall(t *testing.T) {
	c := startCluster(t, buildBinary(t), 3)
	client := c.client()
	regions, writers := sized("SHOAL_SPLIT_REGIONS", 4), 16
	stop, results := make(chan struct{}), make(chan []time.Duration, writers)
	for w := range writers {
		go func() {
			var took []time.Duration
			for i := w; ; i += writers {
				select {
				case <-stop:
					results <- took
					return
				default:
				}
				began := time.Now()
				if err := client.Put(context.Background(), benchKey(i*7919%100_000), []byte("v")); err != nil {
					t.Errorf("put: %v", err)
				}
				took = append(took, time.Since(began))
			}
		}()
	}
	for i := 1; i < regions; i++ {
		c.splitAt([][]byte{benchKey(i * 100_000 / regions)})
	}
	close(stop)
	var took []time.Duration
	for range writers {
		took = append(took, <-results...)
	}
	slices.Sort(took)
	at := func(q float64) time.Duration { return took[int(float64(len(took)-1)*q)].Round(100 * time.Microsecond) }
	t.Logf("%d splits under %d writers, %d writes: p50 %v, p99 %v, p99.9 %v, longest %v", regions-1, writers, len(took), at(0.5), at(0.99), at(0.999), at(1))
}
