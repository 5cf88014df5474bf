// Package latch makes the commands that touch the same key run one after the other on a store.
//
// A latch is a short mutual exclusion in this store's memory, not a transaction's lock: it is held from before a command's snapshot until the end of the
// write that was computed from it, and it does not survive the process. Keys are hashed to a fixed number of slots, so two keys may share one: they wait
// for each other needlessly, never wrongly.
//
// The steps: Acquire queues a command at its slots in ascending order, one at a time; at each it goes on when it is the first in the queue. When it is
// first everywhere it holds its latches. Release takes it out of all its queues and names the commands that thereby came to hold theirs.
// Because everybody goes through the slots in the same order nobody waits in a circle, and because the queues are first in, first out nobody starves.
//
// Table is arithmetic: it starts nothing, waits for nobody and is not safe for concurrent use. Whoever owns it says how a command waits.
package latch

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Lock is one command's claim to its keys.
type Lock struct {
	slots []uint32 // ascending, each once
	// reached is how many of slots the command is queued at; it is first in all of them but perhaps the last.
	reached int
	held    bool
}

// NewLock returns a claim to keys, for one Acquire. Keys may repeat, and there may be none.
func (t *Table) NewLock(keys ...[]byte) *Lock {
	slots := make([]uint32, len(keys))
	for i, key := range keys {
		slots[i] = uint32(xxhash.Sum64(key) % uint64(len(t.queues)))
	}
	slices.Sort(slots)
	return &Lock{slots: slices.Compact(slots)}
}

// Table is a store's latches.
type Table struct {
	queues [][]*Lock // by slot; the first of a queue has the slot
	// waiting are the locks that were acquired and are not held yet.
	waiting, maxWaiting int
}

// NewTable returns latches with a number of slots, at which at most maxWaiting commands may wait.
func NewTable(slots, maxWaiting int) *Table {
	return &Table{queues: make([][]*Lock, slots), maxWaiting: maxWaiting}
}

// Acquire claims l's keys. held says that they are l's from now on; otherwise a Release of another lock will name l. ok is false when too many wait
// already: then nothing was claimed. A lock that was acquired must be released, whether it came to be held or not.
func (t *Table) Acquire(l *Lock) (held, ok bool) {
	if t.waiting == t.maxWaiting && !t.isFree(l) {
		return false, false
	}
	if !t.advance(l) {
		t.waiting++
	}
	return l.held, true
}

func (t *Table) isFree(l *Lock) bool {
	for _, slot := range l.slots {
		if len(t.queues[slot]) > 0 {
			return false
		}
	}
	return true
}

// advance queues l at its next slots for as long as it is the first there, and reports whether it holds them all.
func (t *Table) advance(l *Lock) bool {
	for l.reached < len(l.slots) {
		slot := l.slots[l.reached]
		t.queues[slot] = append(t.queues[slot], l)
		l.reached++
		if t.queues[slot][0] != l {
			return false
		}
	}
	l.held = true
	return true
}

// Release gives up l's claim, held or not, and returns the locks that hold theirs now, in the order of their slots.
func (t *Table) Release(l *Lock) []*Lock {
	if !l.held {
		t.waiting--
	}
	var woken []*Lock
	for _, slot := range l.slots[:l.reached] {
		queue := t.queues[slot]
		wasFirst := queue[0] == l
		queue = slices.DeleteFunc(queue, func(other *Lock) bool { return other == l })
		if len(queue) == 0 {
			queue = nil // a slot that was popular once keeps no memory
		}
		t.queues[slot] = queue
		if wasFirst && len(queue) > 0 && t.advance(queue[0]) {
			t.waiting--
			woken = append(woken, queue[0])
		}
	}
	l.reached, l.held = 0, false
	return woken
}
