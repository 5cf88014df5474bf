package server

import (
	"sync/atomic"
	"time"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/storage"
)

// readCall is the point reads of one message and one caller: they share one snapshot.
type readCall struct {
	call
	gets    []pointRead
	results []pointResult
	arrived func(storage.Snapshot, error) // r.onSnapshot, bound once

	// phase decides who serves the reads: the receiver when the snapshot came before storage.Read returned, else a goroutine, because a
	// storage's worker must not be kept.
	phase atomic.Int32
	snap  storage.Snapshot
	err   error
}

type pointRead struct {
	cf  engine.CF
	key []byte
}

// pointResult is a value, nil when there is none, or a failure's body.
type pointResult struct{ value, failed []byte }

// The phases of a readCall.
const (
	asking  int32 = iota // storage.Read has not returned
	waiting              // it has, without a snapshot
	served               // the snapshot came
)

func (st *stream) gatherRead(ln *lane, c *command, id uint64, start time.Time) error {
	cf, err := parseCF(string(c.cf))
	if err != nil {
		return err
	}
	if ln.read == nil {
		ln.read = st.newReadCall(ln.caller, start)
		st.lanes.reads = append(st.lanes.reads, ln.read)
	}
	ln.read.gets = append(ln.read.gets, pointRead{cf: cf, key: c.key})
	ln.read.add(id, rawGet, len(c.whole))
	return nil
}

func newReadCall() *readCall {
	r := &readCall{}
	r.arrived = r.onSnapshot
	return r
}

func (st *stream) newReadCall(from *caller, start time.Time) *readCall {
	r := st.server.reads.Get().(*readCall)
	r.ready(from, start)
	r.st, r.late = st, errReadLate
	r.gets, r.snap, r.err = r.gets[:0], nil, nil
	r.phase.Store(asking)
	return r
}

// issue asks for the snapshot, and serves the reads when it is there at once. The error is the stream's.
func (r *readCall) issue() error {
	if !r.st.begin(&r.call) {
		return nil
	}
	r.st.server.storage.Read(r.st.ctx, r.from.at, r.arrived)
	if r.phase.CompareAndSwap(asking, waiting) {
		return nil
	}
	return r.serve()
}

func (r *readCall) onSnapshot(snap storage.Snapshot, err error) {
	r.snap, r.err = snap, err
	if r.phase.Swap(served) == asking {
		return // issue serves
	}
	if !r.st.spawn(func() { _ = r.serve() }) { // an error of the stream ends the stream, whoever meets it
		r.release()
	}
}

// serve reads and answers. The error is the stream's.
func (r *readCall) serve() error {
	defer r.release()
	st := r.st
	if r.err == nil && !r.deadline.IsZero() && !time.Now().Before(r.deadline) {
		r.err = errReadLate
	}
	st.mu.Lock()
	if !st.take(&r.call) {
		st.answered(r.bytes)
		st.mu.Unlock()
		return nil
	}
	if r.err != nil {
		st.answerAll(&r.call, newFailure(r.err, r.from.at.RegionID))
		st.answered(r.bytes)
		st.mu.Unlock()
		return nil
	}
	st.mu.Unlock()
	return r.serveFrom(0)
}

// serveFrom reads and answers command by command, and sends in between when the answers are large.
func (r *readCall) serveFrom(first int) error {
	st := r.st
	snap := st.server.clock.at(r.snap)
	for first < len(r.gets) {
		size := 0
		r.results = r.results[:0]
		for i := first; i < len(r.gets) && size < flushSize; i++ {
			value, _, err := snap.get(r.gets[i].cf, r.gets[i].key)
			result := pointResult{value: value}
			if err != nil {
				result.failed = newFailure(err, r.from.at.RegionID).encode()
			}
			r.results = append(r.results, result)
			size += len(value)
		}
		r.answer(first)
		first += len(r.results)
		if err := st.flushLarge(); err != nil {
			return err
		}
	}
	r.count(st.server.metrics, false, time.Since(r.start))
	return nil
}

// answer adds the results of the commands from first on.
func (r *readCall) answer(first int) {
	st := r.st
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, result := range r.results {
		id := r.ids[first+i]
		switch {
		case result.failed != nil:
			st.answers.addBody(id, rawGet, result.failed)
		case result.value == nil:
			st.answers.addNotFound(id)
		default:
			st.answers.addValue(id, result.value)
		}
	}
	done := 0
	if first+len(r.results) == len(r.gets) {
		done = r.bytes
	}
	st.answered(done)
}

// release closes the snapshot and keeps the call for another message. What was read from the snapshot is valid whatever closing it says.
func (r *readCall) release() {
	if r.snap != nil {
		_ = r.snap.Close()
		r.snap = nil
	}
	clear(r.gets)
	clear(r.results)
	r.st.server.reads.Put(r)
}
