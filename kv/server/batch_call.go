package server

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-kv/shoal/proto/region"
)

// call is one question to the storage, on behalf of one or more commands of one message and one caller. It is answered once: by the
// storage's outcome or by its deadline, whichever takes it off the stream's list of pending calls.
type call struct {
	st       *stream
	from     *caller
	ids      []uint64
	bytes    int // of the commands as they were received
	start    time.Time
	deadline time.Time // zero: none
	slot     int       // index in the stream's pending calls
	// late is the answer to all its commands when the deadline comes first.
	late    error
	methods []method // of the commands, parallel to ids
}

func (c *call) add(id uint64, of method, size int) {
	c.ids = append(c.ids, id)
	c.methods = append(c.methods, of)
	c.bytes += size
}

// ready empties a call for reuse. It keeps the slices.
func (c *call) ready(from *caller, start time.Time) {
	c.from, c.start, c.bytes, c.deadline = from, start, 0, time.Time{}
	c.ids, c.methods = c.ids[:0], c.methods[:0]
	if from.maxDuration > 0 {
		c.deadline = start.Add(from.maxDuration)
	}
}

// sweepInterval is how often deadlines are looked at while there are any.
const sweepInterval = 50 * time.Millisecond

// begin puts the call on the list of pending ones. It answers false when the stream is closed.
func (st *stream) begin(c *call) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return false
	}
	c.slot = len(st.pending)
	st.pending = append(st.pending, c)
	if !c.deadline.IsZero() && !st.sweeping {
		st.sweeping = true
		st.sweep.Reset(sweepInterval)
	}
	return true
}

// take removes the call from the list; false means that it is already answered, or nobody waits any more. Called under mu.
func (st *stream) take(c *call) bool {
	if c.slot >= len(st.pending) || st.pending[c.slot] != c {
		return false
	}
	last := len(st.pending) - 1
	st.pending[c.slot] = st.pending[last]
	st.pending[c.slot].slot = c.slot
	st.pending[last] = nil
	st.pending = st.pending[:last]
	return true
}

// answerAll answers all commands of the call alike. Called under mu.
func (st *stream) answerAll(c *call, f failure) {
	var body []byte
	if f != (failure{}) {
		body = f.encode()
	}
	for i, id := range c.ids {
		st.answers.addBody(id, c.methods[i], body)
	}
	c.count(st.server.metrics, f.text != "", time.Since(c.start))
}

// count adds the call's commands to the metrics, method by method.
func (c *call) count(m *metrics, failed bool, d time.Duration) {
	var counts [numMethods]int
	for _, of := range c.methods {
		counts[of]++
	}
	for of, n := range counts {
		if n == 0 {
			continue
		}
		m.done(method(of), n, d)
		if failed {
			m.failed(method(of), n)
		}
	}
}

// expire answers the calls whose deadline has passed. Their outcome, when it comes, finds them taken.
func (st *stream) expire(now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	more := false
	for i := 0; i < len(st.pending); {
		c := st.pending[i]
		switch {
		case c.deadline.IsZero():
			i++
		case now.Before(c.deadline):
			more = true
			i++
		default:
			st.take(c) // moves another call to i
			st.answerAll(c, newFailure(c.late, c.from.at.RegionID))
			st.answered(0) // its bytes are still the storage's
		}
	}
	if st.sweeping = more; more {
		st.sweep.Reset(sweepInterval)
	}
}

// The answers of calls that ran out of time: a read has not happened, a write may have.
var (
	errReadLate  = fmt.Errorf("read: %w", context.DeadlineExceeded)
	errWriteLate = fmt.Errorf("the caller's deadline came first: %w", region.ErrUndetermined)
)
