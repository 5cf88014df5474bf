package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/rawkv"
)

// fake is a store in memory that can be told to misbehave.
type fake struct {
	mu     sync.Mutex
	data   map[string][]byte
	puts   int
	refuse func(n int) error // for the nth put; it has happened all the same
	lose   func(n int) bool  // acknowledge, but do nothing
	unread error
}

func (f *fake) Get(_ context.Context, key []byte, _ ...rawkv.RawOption) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.data[string(key)], nil
}

func (f *fake) Put(_ context.Context, key, value []byte, _ ...rawkv.RawOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	if f.lose != nil && f.lose(f.puts) {
		return nil
	}
	f.data[string(key)] = bytes.Clone(value)
	if f.refuse != nil {
		return f.refuse(f.puts)
	}
	return nil
}

func (f *fake) BatchGet(ctx context.Context, keys [][]byte, _ ...rawkv.RawOption) ([][]byte, error) {
	var values [][]byte
	for _, k := range keys {
		v, _ := f.Get(ctx, k)
		values = append(values, v)
	}
	return values, f.unread
}

func (f *fake) BatchPut(_ context.Context, keys, values [][]byte, _ ...rawkv.RawOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, k := range keys {
		f.data[string(k)] = bytes.Clone(values[i])
	}
	return nil
}

func (f *fake) Scan(_ context.Context, start, end []byte, limit int, _ ...rawkv.RawOption) (keys, values [][]byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(f.data)) {
		if k >= string(start) && k < string(end) && len(keys) < limit {
			keys, values = append(keys, []byte(k)), append(values, f.data[k])
		}
	}
	return keys, values, nil
}

func options() Raw {
	return Raw{
		Options:  Options{PD: "127.0.0.1:1", Clients: 3, Duration: 100 * time.Millisecond, Prefix: "k/", Seed: 1},
		Workload: Mixed, ValueSize: 32, Keys: 100, Check: true,
	}
}

func newFake() *fake { return &fake{data: map[string][]byte{}} }

func TestAHealthyRun(t *testing.T) {
	for _, w := range []Workload{Write, Read, Mixed} {
		o := options()
		o.Workload = w
		o.Warmup = 10 * time.Millisecond
		f := newFake()
		r, err := runRaw(t.Context(), o, f, &servers{})
		require.NoError(t, err)
		require.NoError(t, r.Check.Err())
		require.Positive(t, r.Total.Operations)
		require.Zero(t, r.Total.Errors)
		require.Equal(t, w != Write, r.Of("read") != nil)
		require.Equal(t, w != Read, r.Of("write") != nil)
		require.LessOrEqual(t, r.Total.P50, r.Total.P99)
		require.LessOrEqual(t, r.Total.P99, r.Total.Max)
		require.Positive(t, r.Cost.Client)
		if w != Write {
			require.Len(t, f.data, o.Keys, "every key that may be read was loaded")
			require.Equal(t, o.Keys, r.Check.Keys)
		}
		for k, v := range f.data {
			require.True(t, strings.HasPrefix(k, "k/"), k)
			require.Len(t, v, 32)
		}

		var out bytes.Buffer
		require.NoError(t, r.print(&out))
		require.Contains(t, out.String(), "Avg      50th      90th      95th      99th    99.9th")
		text, err := json.Marshal(r)
		require.NoError(t, err)
		require.Contains(t, string(text), `"p99_9_us"`)
	}
}

// TestALostWriteIsFound drops one acknowledged write of many.
func TestALostWriteIsFound(t *testing.T) {
	o := options()
	o.Workload = Write
	o.Keys = o.Clients // each key is written over and over; the last write of one of them is lost
	f := newFake()
	lost := false
	f.lose = func(n int) bool { lost = lost || n > 1000; return lost }
	o.Duration = time.Second
	r, err := runRaw(t.Context(), o, f, &servers{})
	require.NoError(t, err)
	require.Greater(t, f.puts, 1000)
	require.ErrorContains(t, r.Check.Err(), "the check failed")
	require.Regexp(t, `^k/\d+: version \d+ was acknowledged`, r.Check.Listed[0])
}

func TestAStaleReadIsFound(t *testing.T) {
	o := options()
	f := newFake()
	f.lose = func(int) bool { return true } // acknowledged, and never seen by the read that follows
	r, err := runRaw(t.Context(), o, f, &servers{})
	require.NoError(t, err)
	require.Contains(t, strings.Join(r.Check.Listed, "\n"), "read: k/")
	var out bytes.Buffer
	require.NoError(t, r.print(&out))
	require.Contains(t, out.String(), "violations")
}

// TestAnUndeterminedWriteIsNoViolation refuses every other write although it has happened: both outcomes are fine.
func TestAnUndeterminedWriteIsNoViolation(t *testing.T) {
	f := newFake()
	f.refuse = func(n int) error {
		if n%2 == 0 {
			return errors.New("perhaps")
		}
		return nil
	}
	r, err := runRaw(t.Context(), options(), f, &servers{})
	require.NoError(t, err)
	require.NoError(t, r.Check.Err())
	require.Positive(t, r.Of("write").Errors)
	require.Zero(t, r.Of("read").Errors)
	require.Equal(t, "perhaps", r.FirstError)
}

func TestAnIncompleteCheckIsAnError(t *testing.T) {
	f := newFake()
	f.unread = errors.New("silence")
	r, err := runRaw(t.Context(), options(), f, &servers{})
	require.NoError(t, err)
	require.ErrorContains(t, r.Check.Err(), "100 keys could not be read: silence")
}

func TestARunEndsEarly(t *testing.T) {
	o := options()
	o.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := runRaw(ctx, o, newFake(), &servers{})
	require.NoError(t, err)
	require.NoError(t, r.Check.Err(), "the check is still made")
	require.Less(t, r.Seconds, 60.0)
}

func TestJudge(t *testing.T) {
	o := options()
	l := newLedger(&o)
	value := func(key int, version uint64, size int) []byte {
		v := make([]byte, size)
		stamp(v, key, version)
		return v
	}
	for range 5 {
		l.begin(7)
	}
	require.Empty(t, l.judge(7, nil), "nothing was acknowledged yet")
	l.acknowledge(7, 3)
	require.Contains(t, l.judge(7, nil), "nothing is there")
	require.Contains(t, l.judge(7, value(7, 2, 32)), "version 3 was acknowledged and 5 tried, 2 is there")
	for v := uint64(3); v <= 5; v++ {
		require.Empty(t, l.judge(7, value(7, v, 32)))
	}
	require.Contains(t, l.judge(7, value(7, 6, 32)), "6 is there")
	require.Contains(t, l.judge(7, value(8, 3, 32)), "never written")
	require.Contains(t, l.judge(7, value(7, 3, 31)), "never written")
	require.Contains(t, l.judge(7, []byte{}), "never written")
}

// TestEachKeyHasOneOwner lets every worker pick for a while.
func TestEachKeyHasOneOwner(t *testing.T) {
	o := options()
	b := &rawBench{Raw: o, ledger: newLedger(&o)}
	owner := map[int]int{}
	for id := range o.Clients {
		c := b.client(id).(*rawClient)
		for n := range uint64(2000) {
			c.draw(n)
			key := c.key
			require.Less(t, key, o.Keys)
			if other, ok := owner[key]; ok {
				require.Equal(t, other, id)
			}
			owner[key] = id
		}
	}
	require.Len(t, owner, o.Keys, "and every key an owner")
}

// TestServersAreFoundByTheirPorts measures this very process as if it were a store.
func TestServersAreFoundByTheirPorts(t *testing.T) {
	var addrs []string
	for _, listen := range []string{"127.0.0.1:0", ":0"} {
		l, err := net.Listen("tcp", listen)
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		addrs = append(addrs, net.JoinHostPort("127.0.0.1", port))
	}
	pids, err := listeners()
	require.NoError(t, err)
	for _, addr := range addrs {
		pid, ok := pids.of(addr)
		require.True(t, ok, addr)
		require.EqualValues(t, os.Getpid(), pid)
	}
	u := (&servers{stores: addrs}).begin()
	for began := ownTime(); ownTime()-began < 50*time.Millisecond; { // burn a little
	}
	c := u.end()
	require.True(t, c.Known)
	require.GreaterOrEqual(t, c.Client, 50*time.Millisecond)
	require.Positive(t, c.Stores)

	elsewhere := (&servers{stores: []string{"192.0.2.1:20160"}}).begin()
	require.False(t, elsewhere.end().Known)
}

func TestSyncsAreCounted(t *testing.T) {
	count := 7
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/metrics", r.URL.Path)
		fmt.Fprintf(w, "# TYPE %s counter\n%s_more 1\n%s %d\n", syncMetric, syncMetric, syncMetric, count)
	}))
	defer page.Close()
	s := &servers{status: []string{page.Listener.Addr().String(), "127.0.0.1:1"}}
	before := s.syncs()
	require.Len(t, before, 1, "one store does not answer")
	count = 10
	require.InDelta(t, 3, syncsSince(before, s.syncs()), 0)
	count = 5
	require.InDelta(t, 5, syncsSince(before, s.syncs()), 0, "the store was started anew")
	require.InDelta(t, 10, syncsSince(nil, map[string]float64{"new": 10}), 0)
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Raw){
		`--workload is "scan"`: func(o *Raw) { o.Workload = "scan" },
		"--clients is 0":       func(o *Raw) { o.Clients = 0 },
		"--value-size is 15":   func(o *Raw) { o.ValueSize = 15 },
		"--keys is 2; it must be between the number of clients (3)": func(o *Raw) { o.Keys = 2 },
		"--rate is -1":      func(o *Raw) { o.Rate = -1 },
		"--prefix is empty": func(o *Raw) { o.Prefix = "" },
		"--duration is 0s":  func(o *Raw) { o.Duration = 0 },
		"--warmup is -1s":   func(o *Raw) { o.Warmup = -time.Second },
	} {
		o := options()
		require.NoError(t, o.validate())
		change(&o)
		_, err := RunRaw(t.Context(), o)
		require.ErrorContains(t, err, want)
	}
	_, err := RunRaw(t.Context(), options())
	require.ErrorContains(t, err, "the scheduler cannot be reached")
}
