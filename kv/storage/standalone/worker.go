package standalone

import (
	"fmt"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
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
		waiting = s.gather(batch, append(waiting[:0], first))
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
func (s *Storage) gather(batch engine.Batch, waiting []write) []write {
	addTo(batch, waiting[0].batch)
	for batch.Size() < s.opts.BatchBytes {
		select {
		case w, open := <-s.queue:
			if !open {
				return waiting
			}
			addTo(batch, w.batch)
			waiting = append(waiting, w)
		default:
			return waiting
		}
	}
	return waiting
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
