package server

import (
	"errors"
	"time"

	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// writeCall is one storage.Write: the point writes of one message and one caller, or one larger write request. Commands that wait in one message are
// concurrent, so they may take effect together; that one of them cannot be served must not fail the others, though: a rejection that
// may be about one key makes each try alone.
type writeCall struct {
	call
	batch   []storage.Modify
	outcome func(error) // w.onOutcome, bound once
}

// gatherSize is the size at which a call takes no further command: far below what fits into one raft entry.
const gatherSize = 256 << 10

func (st *stream) gatherWrite(ln *lane, c *command, id uint64, start time.Time) error {
	var m storage.Modify
	var err error
	if c.method == rawPut {
		m, err = st.server.putModify(string(c.cf), c.key, c.value, c.ttl)
	} else {
		m, err = st.server.modify(storage.Delete, string(c.cf), c.key, nil)
	}
	if err != nil {
		return err
	}
	if ln.write == nil || ln.write.bytes+len(c.whole) > gatherSize {
		ln.write = st.newWriteCall(ln.caller, start)
		st.lanes.writes = append(st.lanes.writes, ln.write)
	}
	ln.write.batch = append(ln.write.batch, m)
	ln.write.add(id, c.method, len(c.whole))
	return nil
}

func newWriteCall() *writeCall {
	w := &writeCall{}
	w.outcome = w.onOutcome
	return w
}

func (st *stream) newWriteCall(from *caller, start time.Time) *writeCall {
	w := st.server.writes.Get().(*writeCall)
	w.ready(from, start)
	w.st, w.late = st, errWriteLate
	w.batch = w.batch[:0]
	return w
}

// issue hands the batch over; the outcome may come before it returns.
func (w *writeCall) issue() {
	if w.st.begin(&w.call) {
		w.st.server.storage.Write(w.st.ctx, w.from.at, 0, w.batch, w.outcome)
	}
}

// onOutcome runs on a storage's worker: it adds the answers and leaves sending them to the sender.
func (w *writeCall) onOutcome(err error) {
	st := w.st
	if len(w.ids) > 1 && concernsOneKey(err) && st.spawn(w.retryOneByOne) {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.take(&w.call) {
		st.answerAll(&w.call, newFailure(err, w.from.at.RegionID))
	}
	st.answered(w.bytes)
	w.release()
}

// concernsOneKey reports whether a rejected batch could succeed in parts.
func concernsOneKey(err error) bool {
	var outside *region.KeyNotInRegionError
	var large *region.RaftEntryTooLargeError
	return errors.As(err, &outside) || errors.As(err, &large)
}

// retryOneByOne asks again for each command alone. The batch was rejected: nothing of it has happened or will.
func (w *writeCall) retryOneByOne() {
	st := w.st
	st.mu.Lock()
	open := st.take(&w.call)
	st.mu.Unlock()
	left := w.bytes
	for i, id := range w.ids {
		if !open {
			break
		}
		one := st.newWriteCall(w.from, w.start)
		one.batch = append(one.batch, w.batch[i])
		one.add(id, w.methods[i], w.bytes/len(w.ids))
		left -= one.bytes
		one.issue()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.answered(left)
	w.release()
}

// release keeps the call for another message: the batch is the caller's again once the outcome is known.
func (w *writeCall) release() {
	clear(w.batch)
	w.st.server.writes.Put(w)
}
