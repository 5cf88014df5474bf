package pebbledb

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
)

// backlog is an engine with compactions to do. As pebble does, it asks once when it has work, and then waits to be called.
type backlog struct {
	c *compactions

	allowed, asked atomic.Int64
	// slow is how long it takes to say what waits.
	slow atomic.Int64

	mu               sync.Mutex
	running, waiting int
}

func (b *backlog) GetAllowedWithoutPermission() int { return int(b.allowed.Load()) }

func (b *backlog) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	time.Sleep(time.Duration(b.slow.Load()))
	b.asked.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting > 0, pebble.WaitingCompaction{}
}

func (b *backlog) Schedule(pebble.CompactionGrantHandle) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == 0 {
		return false
	}
	b.waiting--
	b.running++
	return true
}

// add is one more compaction to do.
func (b *backlog) add() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting > 0 {
		b.waiting++
	} else if ok, _ := b.c.TrySchedule(); ok {
		b.running++
	} else {
		b.waiting++
	}
}

func (b *backlog) end() {
	b.mu.Lock()
	b.running--
	b.mu.Unlock()
	b.c.Done()
}

func (b *backlog) state() [2]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return [2]int{b.running, b.waiting}
}

func inBacklog(t *testing.T, test func(t *testing.T, b *backlog)) {
	synctest.Test(t, func(t *testing.T) {
		b := &backlog{c: newCompactions()}
		b.allowed.Store(1)
		b.c.Register(2, b)
		test(t, b)
	})
}

// A compaction that was refused begins when another ends, and never more run than are allowed.
func TestCompactionsFollowEachOther(t *testing.T) {
	inBacklog(t, func(t *testing.T, b *backlog) {
		for range 3 {
			b.add()
		}
		require.Equal(t, [2]int{1, 2}, b.state())
		b.end()
		require.Equal(t, [2]int{1, 1}, b.state())
		b.end()
		require.Equal(t, [2]int{1, 0}, b.state())
		b.end()
		require.Equal(t, [2]int{0, 0}, b.state())
		b.add()
		require.Equal(t, [2]int{1, 0}, b.state())
		b.c.Unregister()
	})
}

// One that waits begins as well when more are allowed: at once if the engine says so, soon if it does not.
func TestWaitingCompactionsAreSeen(t *testing.T) {
	inBacklog(t, func(t *testing.T, b *backlog) {
		for range 4 {
			b.add()
		}
		b.allowed.Store(2)
		b.c.UpdateGetAllowedWithoutPermission()
		synctest.Wait()
		require.Equal(t, [2]int{2, 2}, b.state())
		b.allowed.Store(3)
		time.Sleep(2 * lookAgain)
		synctest.Wait()
		require.Equal(t, [2]int{3, 1}, b.state())
		time.Sleep(time.Hour)
		b.allowed.Store(4)
		time.Sleep(2 * lookAgain)
		synctest.Wait()
		require.Equal(t, [2]int{4, 0}, b.state())
		b.c.Unregister()
	})
}

// An engine without work is not asked, and neither is one whose compactions all run.
func TestIdleEngineIsLeftAlone(t *testing.T) {
	inBacklog(t, func(t *testing.T, b *backlog) {
		b.c.UpdateGetAllowedWithoutPermission()
		time.Sleep(time.Hour)
		require.LessOrEqual(t, b.asked.Load(), int64(1), "the first limit is news")
		b.allowed.Store(2)
		b.add()
		b.add()
		b.add()
		b.end()
		b.end()
		b.end()
		time.Sleep(time.Second)
		before := b.asked.Load()
		time.Sleep(time.Hour)
		require.Equal(t, before, b.asked.Load())
		b.c.Unregister()
	})
}

// Once Unregister has returned the engine is not called: it waits for a call that is on its way, and a timer that was set does nothing.
func TestClosedEngineIsNotCalled(t *testing.T) {
	inBacklog(t, func(t *testing.T, b *backlog) {
		b.add()
		b.add()
		b.slow.Store(int64(time.Second))
		b.allowed.Store(2)
		time.Sleep(lookAgain + lookAgain/2) // the look round is in the engine now
		b.c.Unregister()
		require.EqualValues(t, 1, b.asked.Load())
		b.end()
		ok, _ := b.c.TrySchedule()
		require.False(t, ok)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, b.asked.Load())
	})
}
