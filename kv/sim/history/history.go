// Package history keeps what clients did and saw, and judges whether it could have happened in a store that does one thing after the other
// (linearizability).
//
// An Op is one attempt: one request, sent once. What a client repeats is another Op with another value, so that every value is
// written by one Op alone and a read tells exactly which. An attempt ends in one of three ways: answered, rejected (it has not
// happened and never will), or neither: it may have happened at any time since its beginning, or may happen yet.
//
// Keys are judged in groups of a few neighbours: an Op that touches several keys of a group (a batch that one region takes whole, a
// scan of one snapshot) must have touched them at one instant. Across groups only the parts are judged, each by itself, which is sound: a
// history that is wrong in a part is wrong.
//
// Open ends make the search for an order expensive, and most of them need not be searched (see settle): a write whose value was seen
// has happened, before the first answer that shows it; one whose value nobody ever saw changes nothing. What stays open are
// deletes, and they are made use of only where a read of nothing cannot be explained without.
package history

import (
	"fmt"
	"strings"
	"time"
)

// Cell is a key with the value that was read or written; an empty value says that there was, or shall be, none.
type Cell struct{ Key, Value string }

// Op is one attempt.
type Op struct {
	h      *History
	client int
	// begin and end are stamps of one counter, so that their order is the order of events; end is 0 while the Op is open.
	begin, end       int64
	beganAt, endedAt time.Duration
	// reads must have been the state before, writes are the state after. Those of a swap hold only if it happened.
	reads, writes []Cell
	swap          bool
	rejected      bool
	// settled is, for an open Op that is known to have happened, a stamp before which it has.
	settled int64
	// wrong says what is wrong with the answer by itself.
	wrong string
}

// History is a run's Ops, in the order of their beginnings.
type History struct {
	now   func() time.Duration
	stamp int64
	ops   []*Op
}

// New returns an empty history; now is for people who read a verdict.
func New(now func() time.Duration) *History { return &History{now: now} }

// Len is the number of Ops.
func (h *History) Len() int { return len(h.ops) }

func (h *History) begin(op *Op) *Op {
	h.stamp++
	op.h, op.begin, op.beganAt = h, h.stamp, h.now()
	h.ops = append(h.ops, op)
	return op
}

// Read begins an Op that only reads; what it reads is told by Saw.
func (h *History) Read(client int) *Op { return h.begin(&Op{client: client}) }

// Write begins an Op that writes all cells at once. Values must never be used again.
func (h *History) Write(client int, cells ...Cell) *Op {
	return h.begin(&Op{client: client, writes: cells})
}

// Swap begins an Op that writes value if the key's value is expect (empty: if there is none); its answer is told by Swapped.
func (h *History) Swap(client int, key, expect, value string) *Op {
	return h.begin(&Op{client: client, swap: true, reads: []Cell{{key, expect}}, writes: []Cell{{key, value}}})
}

func (o *Op) answer() {
	o.h.stamp++
	o.end, o.endedAt = o.h.stamp, o.h.now()
}

// Wrote ends a Write that was acknowledged.
func (o *Op) Wrote() { o.answer() }

// Saw ends a Read: all cells were read at one instant.
func (o *Op) Saw(cells []Cell) {
	o.reads = cells
	o.answer()
}

// Swapped ends a Swap: it happened, or it found previous.
func (o *Op) Swapped(happened bool, previous string) {
	if !happened {
		if previous == o.reads[0].Value {
			o.wrong = "the swap found what it expected, and did not happen"
		}
		o.reads, o.writes = []Cell{{o.reads[0].Key, previous}}, nil
	}
	o.swap = false
	o.answer()
}

// Reject ends an Op that has not happened and never will.
func (o *Op) Reject() { o.rejected = true }

func (o *Op) open() bool { return o.end == 0 }

func (o *Op) String() string {
	end := "never answered"
	if !o.open() {
		end = o.endedAt.String()
	}
	return fmt.Sprintf("client %d, %s to %s: %s", o.client, o.beganAt, end, describe(o.reads, o.writes))
}

func describe(reads, writes []Cell) string {
	var parts []string
	add := func(cells []Cell, verb string) {
		for i, c := range cells {
			if i == maxGroup {
				parts = append(parts, fmt.Sprintf("and %d more", len(cells)-i))
				return
			}
			parts = append(parts, c.Key+verb+shown(c.Value))
		}
	}
	add(reads, " was ")
	add(writes, " = ")
	return strings.Join(parts, ", ")
}

func shown(v string) string {
	if v == "" {
		return "(none)"
	}
	return v
}
