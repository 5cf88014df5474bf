package latch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func acquire(t require.TestingT, table *Table, keys ...string) (*Lock, bool) {
	raw := make([][]byte, len(keys))
	for i, key := range keys {
		raw[i] = []byte(key)
	}
	l := table.NewLock(raw...)
	held, ok := table.Acquire(l)
	require.True(t, ok)
	return l, held
}

func TestFirstInFirstOut(t *testing.T) {
	table := NewTable(16, 100)
	var queue []*Lock
	for i := range 10 {
		l, held := acquire(t, table, "k", "k")
		require.Equal(t, i == 0, held)
		queue = append(queue, l)
	}
	for i, l := range queue {
		if i+1 == len(queue) {
			require.Empty(t, table.Release(l))
		} else {
			require.Equal(t, queue[i+1:i+2], table.Release(l))
		}
	}
	_, held := acquire(t, table, "k")
	require.True(t, held)
}

func TestKeysThatShareASlotWait(t *testing.T) {
	table := NewTable(1, 10)
	a, held := acquire(t, table, "a", "b", "c")
	require.True(t, held, "one command's own keys do not wait for each other")
	b, held := acquire(t, table, "x", "y")
	require.False(t, held)
	require.Equal(t, []*Lock{b}, table.Release(a))
}

func TestNoKeysNeedNoLatch(t *testing.T) {
	table := NewTable(4, 0)
	l, held := acquire(t, table)
	require.True(t, held)
	require.Empty(t, table.Release(l))
}

// Who gives up while waiting lets those behind pass, in their order.
func TestGivingUp(t *testing.T) {
	table := NewTable(64, 10)
	first, _ := acquire(t, table, "k")
	second, held := acquire(t, table, "k", "other")
	require.False(t, held)
	third, _ := acquire(t, table, "k")
	require.Empty(t, table.Release(second))
	require.Equal(t, []*Lock{third}, table.Release(first))
	_, held = acquire(t, table, "other")
	require.True(t, held, "the one who gave up holds nothing")
}

func TestBounded(t *testing.T) {
	table := NewTable(64, 2)
	first, _ := acquire(t, table, "k")
	acquire(t, table, "k")
	third, _ := acquire(t, table, "k")
	_, ok := table.Acquire(table.NewLock([]byte("k")))
	require.False(t, ok)
	_, held := acquire(t, table, "free")
	require.True(t, held, "what need not wait is not refused")
	table.Release(third)
	acquire(t, table, "k")
	table.Release(first)
	acquire(t, table, "k")
}

// Whatever is claimed, given up and released in whatever order: nobody shares a slot, and when every holder releases everybody gets theirs.
func TestNoDeadlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(rapid.IntRange(1, 5).Draw(t, "slots"), 1000)
		held, waiting := map[*Lock]bool{}, map[*Lock]bool{}
		release := func(l *Lock) {
			delete(held, l)
			delete(waiting, l)
			for _, w := range table.Release(l) {
				require.True(t, waiting[w])
				delete(waiting, w)
				held[w] = true
			}
			owners := map[uint32]*Lock{}
			for l := range held {
				for _, slot := range l.slots {
					require.Nil(t, owners[slot], "slot %d has two owners", slot)
					owners[slot] = l
				}
			}
			require.Equal(t, len(waiting), table.waiting)
		}
		var all []*Lock
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) > 0 && rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				at := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				if l := all[at]; held[l] || waiting[l] {
					release(l)
				}
				continue
			}
			var keys []string
			for j := range rapid.IntRange(0, 4).Draw(t, "keys") {
				keys = append(keys, fmt.Sprint(i*j%7))
			}
			l, got := acquire(t, table, keys...)
			all = append(all, l)
			if got {
				held[l] = true
			} else {
				waiting[l] = true
			}
		}
		for len(held) > 0 {
			for _, l := range all {
				if held[l] {
					release(l)
				}
			}
		}
		require.Empty(t, waiting, "somebody waits for nobody")
		for _, queue := range table.queues {
			require.Empty(t, queue)
		}
	})
}
