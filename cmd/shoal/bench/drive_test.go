package bench

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// target is a workload of one kind whose operations take as long as the test says. Its time is synctest's.
type target struct {
	took        func(begin time.Duration) time.Duration
	began       time.Time
	mu          sync.Mutex
	now, most   int
	drawn, done map[uint64]int // how often each number was
}

func newTarget(took func(begin time.Duration) time.Duration) *target {
	return &target{took: took, began: time.Now(), drawn: map[uint64]int{}, done: map[uint64]int{}}
}

func (*target) kinds() []string    { return []string{"ask"} }
func (w *target) client(int) actor { return &asker{target: w} }

type asker struct {
	*target
	n uint64
}

func (a *asker) draw(n uint64) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n = n
	a.drawn[n]++
	return 0
}

func (a *asker) do(context.Context) error {
	a.mu.Lock()
	a.now++
	a.most = max(a.most, a.now)
	a.done[a.n]++
	a.mu.Unlock()
	time.Sleep(a.took(time.Since(a.began))) // the bubble's clock
	a.mu.Lock()
	a.now--
	a.mu.Unlock()
	return nil
}

// driven runs a target for some time, all of it measured.
func driven(o Options, w *target) (*driver, *Result) {
	d := newDriver(o, w)
	d.from.Store(1)
	d.start(w)
	time.Sleep(o.Duration)
	d.end()
	d.join()
	return d, newResult(o, o.Duration, d.record)
}

// stall is a target that answers within a millisecond, except that it stands still in its sixth second.
func stall(begin time.Duration) time.Duration {
	if begin >= 5*time.Second && begin < 6*time.Second {
		return 6*time.Second - begin
	}
	return time.Millisecond
}

// TestAStallCountsForEverybody is what an open loop is for: in a second in which the target stands still a hundred operations are due, and
// all of them waited, although only four were sent. A closed loop sees four.
func TestAStallCountsForEverybody(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			o := Options{Clients: 4, Duration: 9995 * time.Millisecond}
			if open {
				o.Rate = 100
			}
			w := newTarget(stall)
			d, r := driven(o, w)
			slow := int64(0)
			for _, s := range d.record.shards {
				for _, b := range s.total[0].latency.Distribution() {
					if b.From > 20_000 {
						slow += b.Count
					}
				}
			}
			require.LessOrEqual(t, w.most, 4)
			if !open {
				require.EqualValues(t, 4, slow)
				return
			}
			require.InDelta(t, 100, slow, 3)
			require.EqualValues(t, 1000, r.Total.Operations, "one each ten milliseconds")
			require.Zero(t, r.Total.Unsent)
			require.InDelta(t, 1_000_000, r.Total.Max, 1000)
			require.InDelta(t, 1000, r.Total.P50, 10)
			require.Greater(t, r.Total.P99, int64(850_000))
		})
	}
}

// TestATargetThatCannotKeepUp is asked for fifty operations a second and does twenty.
func TestATargetThatCannotKeepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTarget(func(time.Duration) time.Duration { return 100 * time.Millisecond })
		d, r := driven(Options{Clients: 2, Rate: 50, Duration: 9995 * time.Millisecond}, w)
		require.Equal(t, 2, w.most, "what is under way is bounded")
		require.EqualValues(t, 200, d.begun.Load())
		require.EqualValues(t, 198, r.Total.Operations, "two ended after the end")
		require.EqualValues(t, 300, r.Total.Unsent, "everything that was due is accounted for")
		require.EqualValues(t, 300, d.backlog(time.Hour))
		require.InDelta(t, 6_000_000, r.Total.Max, 150_000, "the last ones sent, the first ones unsent: due at four seconds")
		require.InDelta(t, 3_000_000, r.Total.P50, 300_000)
		for n := range uint64(500) {
			require.Equal(t, 1, w.drawn[n], "operation %d", n)
		}
		var out bytes.Buffer
		require.NoError(t, r.print(&out))
		require.Contains(t, out.String(), "not kept up: 300 operations were due and never sent")
	})
}

// TestOnlyWhatBeganInTimeIsMeasured runs a warm-up, and ends while operations are under way.
func TestOnlyWhatBeganInTimeIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTarget(func(time.Duration) time.Duration { return 400 * time.Millisecond })
		d := newDriver(Options{Clients: 1}, w)
		d.start(w)
		time.Sleep(time.Second) // the third operation is under way
		d.measure()
		time.Sleep(900 * time.Millisecond) // the fifth is
		d.end()
		d.join()
		total, _ := d.record.sum()
		require.EqualValues(t, 2, total[0].done, "those that ended at 1.2 and at 1.6 seconds")
		require.EqualValues(t, 2, total[0].latency.TotalCount(), "those that began then")
	})
}

func TestEachSecondIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := Options{Clients: 2, Rate: 50, Warmup: 2 * time.Second, Duration: 3 * time.Second}
		w := newTarget(func(time.Duration) time.Duration { return 90 * time.Millisecond })
		d := newDriver(o, w)
		d.start(w)
		ctx, stop := context.WithCancel(t.Context())
		var watcher sync.WaitGroup
		watcher.Go(func() { d.watch(ctx, newScreen(&out)) })
		time.Sleep(2500 * time.Millisecond)
		d.measure()
		time.Sleep(3 * time.Second)
		d.end()
		d.join()
		stop()
		watcher.Wait()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 6)
		require.Regexp(t, `ops/s +p50 ms +p99 ms +errors +backlog`, lines[0])
		require.Regexp(t, `^ +1s +2[0-4] +\d+\.\d\d +\d+\.\d\d +0 +2[5-9]  \(warming up\)$`, lines[1])
		require.Regexp(t, `^ +5s +2[0-4] +\d+\.\d\d +\d+\.\d\d +0 +1[34]\d$`, lines[5])
		require.NotContains(t, out.String(), "\x1b", "that is for terminals")
	})
}

func TestABarIsDrawnOnATerminal(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, terminal: true}
	s.bar("measuring", 0.5, 3*time.Second)
	s.line("a line")
	s.bar("measuring", 1.5, 0)
	s.clear()
	require.Equal(t, "\r\x1b[Kmeasuring [###############...............]  50%  3s left"+
		"\r\x1b[Ka line\n"+
		"\r\x1b[Kmeasuring [##############################] 100%  0s left\r\x1b[K", out.String())
}
