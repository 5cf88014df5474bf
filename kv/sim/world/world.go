// Package world is the part of the simulator that knows nothing of a database: virtual time, processes with clocks of their own that
// can be killed and suspended, a network that loses, delays, repeats and cuts, and a trace of everything that happened.
//
// Everything is an event: a function that runs at an instant. Events run one after the other, ordered by instant and then by the
// order of their making, so a run is a function of its seed. Whoever needs chance takes a stream of random numbers of its own
// (World.Rand), so that a draw more in one place changes nothing elsewhere.
package world

import (
	"container/heap"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Time is true time: nanoseconds since the world began. Processes see it through clocks that are wrong (Process).
type Time int64

// String shows seconds.
func (t Time) String() string { return time.Duration(t).String() }

// World is one run.
type World struct {
	Trace *Trace
	seed  uint64
	now   Time
	seq   uint64
	heap  eventHeap
	// Events counts what has happened.
	Events int
	halted bool
}

// New begins a world.
func New(seed uint64, trace *Trace) *World {
	w := &World{Trace: trace, seed: seed, now: 1}
	trace.now = &w.now
	return w
}

// Now is the true time.
func (w *World) Now() Time { return w.now }

// Rand is the stream of random numbers that belongs to a name. The same name gives the same stream from its beginning.
func (w *World) Rand(name string) *rand.Rand { return Stream(w.seed, name) }

// Stream is the stream of a name in the world of a seed, for what is drawn before there is a world.
func Stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// After makes an event.
func (w *World) After(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.heap, event{w.now + Time(max(d, 0)), w.seq, do})
}

// Halt ends the run after the event at hand.
func (w *World) Halt() { w.halted = true }

// Halted says that the run was ended.
func (w *World) Halted() bool { return w.halted }

// RunUntil lets everything happen that happens until end, and leaves the clock there.
func (w *World) RunUntil(end Time) {
	for len(w.heap) > 0 && w.heap[0].at <= end && !w.halted {
		e := heap.Pop(&w.heap).(event)
		w.now = e.at
		w.Events++
		e.do()
	}
	if !w.halted {
		w.now = max(w.now, end)
	}
}

// RunWhile lets things happen while cond holds, until end at most.
func (w *World) RunWhile(end Time, cond func() bool) {
	for len(w.heap) > 0 && w.heap[0].at <= end && !w.halted && cond() {
		w.RunUntil(w.heap[0].at)
	}
}

type event struct {
	at  Time
	seq uint64
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	n := len(old) - 1
	e := old[n]
	old[n] = event{}
	*h = old[:n]
	return e
}

// Between draws a duration from [lo, hi).
func Between(rng *rand.Rand, lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(rng.Int64N(int64(hi-lo)))
}

// Chance is true with probability p.
func Chance(rng *rand.Rand, p float64) bool { return p > 0 && rng.Float64() < p }
