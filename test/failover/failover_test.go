// Package failover kills the leaders of a scheduler group, as processes, with their clocks stepping about, and watches what
// the unmodified clients get meanwhile.
package failover

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/log"
	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/tikv"
	pd "github.com/tikv/pd/client"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
)

const (
	clients = 8
	// patience is how long one request of a client may take; it spans any failover.
	patience = 2 * time.Minute
	// pace is how often each client asks: often enough to see a step back, seldom enough to remember all answers.
	pace     = 5 * time.Millisecond
	idEvery  = 4 // requests
	poll     = 20 * time.Millisecond
	progress = 5 // requests of each client between two failovers
	// freezeEvery is after how many kills a leader is frozen besides.
	freezeEvery = 4
)

// figures are what the clients saw, together.
type figures struct {
	mu     sync.Mutex
	stamps map[uint64]bool
	ids    map[uint64]bool
	// lastStamp and lastID are the largest that anybody has been given so far.
	lastStamp, lastID uint64
	wrong             []string
	served            [clients]atomic.Int64
	slowest           time.Duration
}

// record checks an answer against floor, the largest that was known when it was asked for, and all others.
func (f *figures) record(kind string, seen map[uint64]bool, last *uint64, floor, got uint64, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got <= floor {
		f.wrong = append(f.wrong, fmt.Sprintf("%s %d is not above %d, which was given before it was asked for", kind, got, floor))
	}
	if seen[got] {
		f.wrong = append(f.wrong, fmt.Sprintf("%s %d was given twice", kind, got))
	}
	seen[got] = true
	*last = max(*last, got)
	f.slowest = max(f.slowest, took)
}

func (f *figures) floor(last *uint64) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *last
}

func (f *figures) complain(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
}

func (f *figures) requireNothingWrong(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Empty(t, f.wrong)
}

// counts is how far each client is.
func (f *figures) counts() (at [clients]int64) {
	for i := range at {
		at[i] = f.served[i].Load()
	}
	return at
}

// movedOn reports that every client got n answers more.
func (f *figures) movedOn(since [clients]int64, n int64) bool {
	for i, at := range f.counts() {
		if at < since[i]+n {
			return false
		}
	}
	return true
}

// ask is one client's life: timestamps through client-go, as a transaction gets them, and ids through the client of a store.
func (f *figures) ask(ctx context.Context, i int, kv *tikv.KVStore, stores *client.Client) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		began := time.Now()
		limited, cancel := context.WithTimeout(context.Background(), patience)
		if n%idEvery == 0 {
			floor := f.floor(&f.lastID)
			id, err := stores.AllocID(limited)
			if err != nil {
				f.complain("client %d: id: %v", i, err)
			} else {
				f.record("id", f.ids, &f.lastID, floor, id, time.Since(began))
			}
		} else {
			floor := f.floor(&f.lastStamp)
			ts, err := kv.GetTimestampWithRetry(tikv.NewBackoffer(limited, int(patience.Milliseconds())), oracle.GlobalTxnScope)
			if err != nil {
				f.complain("client %d: timestamp: %v", i, err)
			} else {
				f.record("timestamp", f.stamps, &f.lastStamp, floor, ts, time.Since(began))
			}
		}
		cancel()
		f.served[i].Add(1)
	}
}

// startClients runs them until stop.
func startClients(t *testing.T, urls []string) (f *figures, stop func()) {
	log.ReplaceGlobals(zap.NewNop(), &log.ZapProperties{Level: zap.NewAtomicLevel()}) // the client's logger is a global one
	f = &figures{stamps: map[uint64]bool{}, ids: map[uint64]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var closers []func()
	for i := range clients {
		setup, end := context.WithTimeout(context.Background(), patience)
		pdClient, err := pd.NewClientWithContext(context.Background(), urls, pd.SecurityOption{})
		require.NoError(t, err)
		kv, err := tikv.NewKVStore(fmt.Sprint(i), pdClient, tikv.NewMockSafePointKV(), tikv.NewRPCClient())
		require.NoError(t, err)
		dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) }
		stores, err := client.New(setup, urls, dial, zap.NewNop())
		require.NoError(t, err)
		end()
		closers = append(closers, func() { stores.Close(); _ = kv.Close() })
		running.Go(func() { f.ask(ctx, i, kv, stores) })
	}
	return f, func() {
		cancel()
		running.Wait()
		for _, c := range closers {
			c()
		}
	}
}

// kills is how many leaders are killed: few, unless SHOAL_FAILOVERS asks for more.
func kills(t *testing.T) int {
	text := os.Getenv("SHOAL_FAILOVERS")
	if text == "" {
		return 4
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "SHOAL_FAILOVERS")
	return n
}

// P1, P2: over any number of leaders that are killed or freeze, with every member's clock stepping by up to an hour either
// way, timestamps and ids strictly increase and no client gets an error.
func TestTimestampsAndIDsIncreaseOverFailovers(t *testing.T) {
	g := startGroup(t)
	require.Eventually(t, g.whole, patience, poll)
	f, stop := startClients(t, g.urls())
	rnd := rand.New(rand.NewPCG(1, 2))
	gaps := map[string][]time.Duration{}
	fall := func(what string, how func(g *group, f *figures, leader *member) time.Duration) {
		leader := g.ready(f, rnd)
		gap := how(g, f, leader)
		gaps[what] = append(gaps[what], gap)
		t.Logf("%s was %s; all clients went on after %v", leader.Name, what, gap.Round(time.Millisecond))
	}
	for k := range kills(t) {
		if k%2 == 0 {
			fall("killed", (*group).failByKill)
		} else {
			fall("killed and back at once", (*group).failByRestart)
		}
		if k%freezeEvery == 1 {
			fall("frozen", (*group).failByFreeze)
		}
	}
	stop()
	f.requireNothingWrong(t)
	for what, all := range gaps {
		slices.Sort(all)
		t.Logf("%d times %s: all clients went on after %v (least), %v (median), %v (most)",
			len(all), what, all[0], all[len(all)/2], all[len(all)-1])
	}
	t.Logf("%d timestamps and %d ids; the slowest request took %v", len(f.stamps), len(f.ids), f.slowest)
}

// ready waits until the group is whole again and clients are served, steps every clock, and returns who leads then.
func (g *group) ready(f *figures, rnd *rand.Rand) (leader *member) {
	g.t.Helper()
	at := f.counts()
	require.Eventually(g.t, func() bool { return g.whole() && f.movedOn(at, progress) }, patience, poll)
	for _, m := range g.members {
		m.stepTo(time.Duration(rnd.Int64N(int64(2*time.Hour))) - time.Hour)
	}
	at = f.counts()
	require.Eventually(g.t, func() bool { return f.movedOn(at, progress) }, patience, poll)
	f.requireNothingWrong(g.t)
	require.Eventually(g.t, func() bool { leader = g.leader(); return leader != nil }, patience, poll)
	return leader
}

// wait returns how long it took from now until all clients went on under another leader.
func (g *group) wait(f *figures, not *member) time.Duration {
	g.t.Helper()
	began := time.Now()
	require.Eventually(g.t, func() bool { l := g.leader(); return l != nil && l != not }, patience, poll)
	at := f.counts()
	require.Eventually(g.t, func() bool { return f.movedOn(at, 1) }, patience, poll)
	return time.Since(began)
}

func (g *group) failByKill(f *figures, leader *member) time.Duration {
	leader.kill()
	gap := g.wait(f, leader)
	leader.start()
	return gap
}

// failByRestart brings the member back before the others miss it: it may well lead again.
func (g *group) failByRestart(f *figures, leader *member) time.Duration {
	leader.kill()
	leader.start()
	return g.wait(f, nil)
}

// failByFreeze lets the leader wake up in a group that has another one: it must not serve from its old term.
func (g *group) failByFreeze(f *figures, leader *member) time.Duration {
	leader.freeze()
	gap := g.wait(f, leader)
	leader.thaw()
	return gap
}
