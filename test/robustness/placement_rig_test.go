package robustness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
)

// fleet is a cluster that changes: schedulers fall and come back, stores join, are drained, and die for good. Everything is asked of whichever scheduler answers.
type fleet struct {
	*cluster
	schedulers []*process
	urls       []string // of the schedulers, host:port
	stores     []*fleetStore
	config     string // of the stores
	client     *rawkv.Client
	load       *loading
}

type fleetStore struct {
	*process
	addr, status string
	id           uint64
	dead         bool
}

// smallPieces makes the stores divide regions at this many KiB, and report so often that twenty seconds without a report tell a lost store from one that is slow.
func smallPieces(t *testing.T, kib int) string {
	file := filepath.Join(t.TempDir(), "small.toml")
	text := fmt.Sprintf("[coprocessor]\nregion-max-size = \"%dKiB\"\nregion-split-size = \"%dKiB\"\n[raftstore]\npd-store-heartbeat-tick-interval = \"1s\"\n", kib, kib*2/3)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func startFleet(t *testing.T, schedulers int, config string) *fleet {
	quietClient()
	f := &fleet{cluster: &cluster{t: t, bin: buildBinary(t), dir: t.TempDir()}, config: config}
	t.Cleanup(f.stop)
	ports := freePorts(t, 2*schedulers)
	var initial []string
	for i := range schedulers {
		f.urls = append(f.urls, fmt.Sprintf("127.0.0.1:%d", ports[2*i]))
		initial = append(initial, fmt.Sprintf("pd%d=http://127.0.0.1:%d", i+1, ports[2*i+1]))
	}
	f.pd = f.urls[0]
	for i := range schedulers {
		name := fmt.Sprintf("pd%d", i+1)
		f.schedulers = append(f.schedulers, f.start(name, "scheduler", "--name", name, "--data-dir", filepath.Join(f.dir, name),
			"--client-urls", "http://"+f.urls[i], "--peer-urls", strings.SplitN(initial[i], "=", 2)[1], "--initial-cluster", strings.Join(initial, ",")))
	}
	return f
}

func (f *fleet) stop() {
	all := slices.Clone(f.schedulers)
	for _, s := range f.stores {
		all = append(all, s.process)
	}
	for _, p := range all {
		if p.cmd.ProcessState == nil {
			p.kill()
		}
	}
	if f.t.Failed() {
		for _, p := range all {
			f.t.Logf("%s: %s", p.name, f.tail(p))
		}
	}
}

// join starts n more stores, with flags besides those that every store needs, and waits until they are Up.
func (f *fleet) join(n int, flags ...string) []*fleetStore {
	var fresh []*fleetStore
	for range n {
		ports := freePorts(f.t, 2)
		name := fmt.Sprintf("store%d", len(f.stores)+1)
		s := &fleetStore{addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), status: fmt.Sprintf("127.0.0.1:%d", ports[1])}
		args := append([]string{
			"store", "--pd", strings.Join(f.urls, ","), "--addr", s.addr, "--status-addr", s.status,
			"--data-dir", filepath.Join(f.dir, name), "--config", f.config,
		}, flags...)
		s.process = f.start(name, args...)
		f.stores, fresh = append(f.stores, s), append(fresh, s)
	}
	for _, s := range fresh {
		require.Eventually(f.t, func() bool { s.id = f.idOf(s.addr); return s.id != 0 }, time.Minute, 50*time.Millisecond, "%s registers", s.name)
	}
	return fresh
}

// ask sends a request to one scheduler after the other until one answers with success.
func (f *fleet) ask(method, path string, body, into any) bool {
	b, err := json.Marshal(body)
	require.NoError(f.t, err)
	for _, url := range f.urls {
		if f.askOne(method, "http://"+url+"/pd/api/v1"+path, b, into) {
			return true
		}
	}
	return false
}

func (f *fleet) askOne(method, url string, body []byte, into any) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	require.NoError(f.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return err == nil && resp.StatusCode == http.StatusOK && (into == nil || json.Unmarshal(answer, into) == nil)
}

// must is ask, again and again until it is answered.
func (f *fleet) must(method, path string, body any) {
	require.Eventually(f.t, func() bool { return f.ask(method, path, body, nil) }, time.Minute, 100*time.Millisecond, "%s %s", method, path)
}

// seen is a store as the scheduler shows it.
type seen struct {
	Store struct {
		ID      uint64 `json:"id"`
		Address string `json:"address"`
		State   string `json:"state_name"`
	} `json:"store"`
	Status struct {
		Leaders int `json:"leader_count"`
		Regions int `json:"region_count"`
	} `json:"status"`
}

// shown lists the stores, tombstones included.
func (f *fleet) shown() []seen {
	var s struct {
		Stores []seen `json:"stores"`
	}
	f.ask(http.MethodGet, "/stores?state=0&state=1&state=2", nil, &s)
	return s.Stores
}

func (f *fleet) idOf(addr string) uint64 {
	for _, s := range f.shown() {
		if s.Store.Address == addr && s.Store.State == "Up" {
			return s.Store.ID
		}
	}
	return 0
}

// placed is a region as the scheduler shows it.
type placed struct {
	ID    uint64 `json:"id"`
	Peers []struct {
		ID      uint64 `json:"id"`
		StoreID uint64 `json:"store_id"`
		Learner bool   `json:"is_learner"`
		Role    string `json:"role_name"`
	} `json:"peers"`
	Leader  member `json:"leader"`
	Down    []any  `json:"down_peers"`
	Pending []any  `json:"pending_peers"`
}

func (f *fleet) placement() []placed {
	var r struct {
		Regions []placed `json:"regions"`
	}
	f.ask(http.MethodGet, "/regions", nil, &r)
	return r.Regions
}

// amiss says what is not as it shall be: every region has three voters and nothing else, each on a store that lives, and all are well.
func (f *fleet) amiss() string {
	list := f.placement()
	if len(list) == 0 {
		return "no answer about regions"
	}
	for _, r := range list {
		if len(r.Peers) != 3 || len(r.Pending) > 0 || r.Leader.StoreID == 0 {
			return fmt.Sprintf("region %d: %+v", r.ID, r)
		}
		for _, p := range r.Peers {
			if p.Learner || p.Role != "" && p.Role != "Voter" || !f.lives(p.StoreID) {
				return fmt.Sprintf("region %d has peer %+v", r.ID, p)
			}
		}
	}
	return ""
}

func (f *fleet) lives(id uint64) bool {
	return slices.ContainsFunc(f.stores, func(s *fleetStore) bool { return s.id == id && !s.dead })
}

// leftover says which store has other peers than the scheduler knows of: one that was removed and is still there, or was added twice.
func (f *fleet) leftover() string {
	known := make(map[uint64]int)
	for _, r := range f.placement() {
		for _, p := range r.Peers {
			known[p.StoreID]++
		}
	}
	for _, s := range f.stores {
		own := fmt.Sprintf("tikv_raftstore_region_count{type=\"region\"} %d\n", known[s.id])
		if !s.dead && !bytes.Contains(f.page("http://"+s.status+"/metrics"), []byte(own)) {
			return fmt.Sprintf("store %d has not the %d peers that the scheduler knows", s.id, known[s.id])
		}
	}
	return ""
}

// uneven says which store holds much more or less than its share, of regions or of leaders.
func (f *fleet) uneven(share float64) string {
	var mine []seen
	regions, leaders := 0, 0
	for _, s := range f.shown() {
		if f.lives(s.Store.ID) {
			mine = append(mine, s)
			regions, leaders = regions+s.Status.Regions, leaders+s.Status.Leaders
		}
	}
	if len(mine) == 0 || leaders == 0 {
		return "no answer about stores"
	}
	off := func(n, sum int) bool {
		mean := float64(sum) / float64(len(mine))
		return max(float64(n)-mean, mean-float64(n)) > max(share*mean, 2)
	}
	for _, s := range mine {
		if off(s.Status.Regions, regions) || off(s.Status.Leaders, leaders) {
			return fmt.Sprintf("store %d has %d of %d regions' peers and %d of %d leaders", s.Store.ID, s.Status.Regions, regions, s.Status.Leaders, leaders)
		}
	}
	return ""
}

// within waits until nothing is wrong any more, and says how long that took.
func (f *fleet) within(limit time.Duration, what string, wrong func() string) time.Duration {
	f.t.Helper()
	begin := time.Now()
	last := ""
	for last = wrong(); last != "" && time.Since(begin) < limit && !f.t.Failed(); last = wrong() {
		<-time.After(200 * time.Millisecond)
	}
	if last != "" {
		var operators []string
		f.ask(http.MethodGet, "/operators", nil, &operators)
		f.t.Logf("%d operators in flight: %s", len(operators), strings.Join(operators[:min(len(operators), 10)], "\n"))
	}
	require.Empty(f.t, last, "%s within %s", what, limit)
	took := time.Since(begin).Round(100 * time.Millisecond)
	f.t.Logf("%s after %s", what, took)
	return took
}

// fleetPair is how large the values are that a fleet is filled with.
const fleetPair = 4096

// fill loads mib MiB, and keeps clients working on it until the function that it returns is called: then everything is read once more.
func (f *fleet) fill(mib int) (rest func()) {
	client, err := rawkv.NewClient(context.Background(), f.urls, config.DefaultConfig().Security)
	require.NoError(f.t, err)
	f.client = client
	f.load = &loading{t: f.t, client: client, each: max(1, mib<<20/loaders/fleetPair), pair: fleetPair}
	begin := time.Now()
	f.inBatches("load", func(ctx context.Context, id int, keys [][]byte, from int) error {
		f.load.versions[id] = append(f.load.versions[id], make([]int, len(keys))...)
		values := make([][]byte, len(keys))
		for i := range values {
			values[i] = f.load.value(id, from+i, 0)
		}
		return client.BatchPut(ctx, keys, values)
	})
	f.t.Logf("%d MiB loaded in %s", mib, time.Since(begin).Round(100*time.Millisecond))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for id := range loaders / 4 {
		wg.Go(func() { f.load.overwrite(id, &stop) })
	}
	return func() {
		stop.Store(true)
		wg.Wait()
		begin := time.Now()
		f.inBatches("read", func(ctx context.Context, id int, keys [][]byte, from int) error {
			values, err := client.BatchGet(ctx, keys)
			for i, got := range values {
				if version := f.load.versions[id][from+i]; !bytes.Equal(got, f.load.value(id, from+i, version)) {
					f.t.Errorf("%s ends in %q, version %d was acknowledged", keys[i], got[max(0, len(got)-32):], version)
				}
			}
			return err
		})
		f.t.Logf("all was read in %s", time.Since(begin).Round(100*time.Millisecond))
		f.t.Logf("%d operations, the longest took %s", f.load.ops.Load(), f.load.longest())
		require.NoError(f.t, client.Close())
	}
}

// inBatches has every client do something with all its keys, some at a time.
func (f *fleet) inBatches(what string, do func(ctx context.Context, id int, keys [][]byte, from int) error) {
	const batch = 32
	var wg sync.WaitGroup
	for id := range loaders {
		wg.Go(func() {
			for from := 0; from < f.load.each && !f.t.Failed(); from += batch {
				var keys [][]byte
				for i := from; i < min(from+batch, f.load.each); i++ {
					keys = append(keys, loadKey(id, i))
				}
				f.load.request(what, id, from, func(ctx context.Context) error { return do(ctx, id, keys, from) })
			}
		})
	}
	wg.Wait()
}
