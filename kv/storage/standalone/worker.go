package standalone

import (
	"bytes"
	"fmt"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// run is the worker: it owns the engine batch, and ends when the queue is closed and empty.
func (s *Storage) run() {
	defer close(s.done)
	batch := s.engine.NewBatch()
	defer func() {
		// The batch is empty or was committed: nothing that was acknowledged hangs on this.
		_ = batch.Close()
	}()
	var waiting []write
	var broken error // the commit failure after which nothing is written any more
	for first := range s.queue {
		waiting = s.gather(batch, waiting[:0], first)
		answer := broken
		if broken == nil {
			if err := batch.Commit(s.opts.Sync); err != nil {
				broken = errors.Annotate(err, "an earlier write failed and the storage has stopped writing")
				answer = errors.Annotate(region.ErrUndetermined, err.Error())
			}
		}
		batch.Reset()
		for i, w := range waiting {
			w.done(answer)
			waiting[i] = write{} // its keys and values are the caller's again
		}
	}
}

// gather fills the batch with the first write and with what waits behind it, and returns the writes in it.
func (s *Storage) gather(batch engine.Batch, waiting []write, first write) []write {
	waiting = s.add(batch, waiting, first)
	for batch.Size() < s.opts.BatchBytes {
		select {
		case w, open := <-s.queue:
			if !open {
				return waiting
			}
			waiting = s.add(batch, waiting, w)
		default:
			return waiting
		}
	}
	return waiting
}

// add puts a write into the batch and among those that wait for it. A write that depends on what cannot be read is rejected on the spot.
func (s *Storage) add(batch engine.Batch, waiting []write, w write) []write {
	if len(w.batch) > 0 && w.batch[0].Op == storage.DeleteExpired {
		deletes, err := s.expired(waiting, w.batch)
		if err != nil {
			w.done(err)
			return waiting
		}
		addTo(batch, deletes)
	} else {
		addTo(batch, w.batch)
	}
	return append(waiting, w)
}

// expired turns conditional deletions into those that the engine's state asks for. A key that a waiting write is about is left
// alone: nobody loses by a deletion that comes later.
func (s *Storage) expired(waiting []write, batch []storage.Modify) (deletes []storage.Modify, err error) {
	snap := s.engine.NewSnapshot()
	defer func() { _ = snap.Close() }()
	for _, m := range batch {
		if m.Op != storage.DeleteExpired {
			panic(fmt.Sprintf("standalone: op %d among DeleteExpired, which stands with its like only", m.Op))
		}
		bound, err := keys.DecodeBound(m.Value)
		if err != nil {
			return nil, err
		}
		stored, err := snap.Get(m.CF, m.Key)
		if err != nil {
			return nil, err
		}
		if stored == nil || touched(waiting, m) {
			continue
		}
		if _, expiry, err := keys.SplitRawValue(stored); err == nil && keys.Expired(expiry, bound) {
			deletes = append(deletes, storage.Modify{Op: storage.Delete, CF: m.CF, Key: m.Key})
		}
	}
	return deletes, nil
}

func touched(waiting []write, m storage.Modify) bool {
	for _, w := range waiting {
		for i := range w.batch {
			if w.batch[i].CF == m.CF && bytes.Equal(w.batch[i].Key, m.Key) {
				return true
			}
		}
	}
	return false
}

func addTo(batch engine.Batch, modifies []storage.Modify) {
	for _, m := range modifies {
		switch m.Op {
		case storage.Put:
			batch.Put(m.CF, m.Key, m.Value)
		case storage.Delete:
			batch.Delete(m.CF, m.Key)
		case storage.DeleteRange:
			end := m.Value
			if len(end) == 0 {
				end = nil // the region's end, and this region has none
			}
			batch.DeleteRange(m.CF, m.Key, end)
		default:
			panic(fmt.Sprintf("standalone: modify with unknown op %d on key %X", m.Op, m.Key))
		}
	}
}
