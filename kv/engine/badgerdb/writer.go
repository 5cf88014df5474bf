package badgerdb

import (
	"bytes"
	"fmt"
	"time"

	"github.com/shoal-kv/shoal/kv/engine"
)

// The writer takes what waits and commits it as one transaction; meanwhile others queue up for the next. Nothing else
// writes, so what it looks up for a range delete cannot change before the commit, no transaction conflicts, and badger
// never has two commits under way.
const (
	// maxWaiting bounds the batches that wait for the writer; more than that wait at its door.
	maxWaiting = 256
	// maxGroupBytes ends a group: what comes later is not to wait for a transaction of any length.
	maxGroupBytes = 4 << 20
)

// request is a batch on its way.
type request struct {
	ops  []op
	size int
	done chan error // holds one
}

// commit hands the operations to the writer and waits. They are applied, rejected, or, after a PoisonedError, undetermined.
func (d *DB) commit(ops []op, size int) error {
	r := &request{ops: ops, size: size, done: make(chan error, 1)}
	select {
	case d.writes <- r:
	case <-d.quit:
		return engine.ErrClosed
	case <-d.fault.failed:
		return d.fault.err()
	}
	select {
	case err := <-r.done:
		return err
	case <-d.done:
		return firstError(d.fault.err(), engine.ErrClosed)
	case <-d.fault.failed: // the writer may be stuck in badger for good
		return d.fault.err()
	}
}

func (d *DB) runWriter() {
	defer close(d.done)
	for {
		select {
		case r := <-d.writes:
			if !d.commitGroup(d.gather(r)) {
				return
			}
		case <-d.quit:
			return
		}
	}
}

// gather adds to a request those that wait already.
func (d *DB) gather(first *request) []*request {
	group, size := []*request{first}, first.size
	for size < maxGroupBytes {
		select {
		case r := <-d.writes:
			group, size = append(group, r), size+r.size
		default:
			return group
		}
	}
	return group
}

// commitGroup answers false when the engine is poisoned.
func (d *DB) commitGroup(group []*request) bool {
	stalled := time.AfterFunc(d.opts.StallLimit, func() {
		d.fault.fail(fmt.Errorf("a commit takes more than %s: is the disk full?", d.opts.StallLimit))
	})
	defer stalled.Stop()
	var g groupWrites
	accepted := group[:0]
	for _, r := range group {
		if err := d.merge(&g, r.ops); err != nil {
			r.done <- err
			continue
		}
		accepted = append(accepted, r)
	}
	if len(g.changes) > 0 {
		if err := d.commitChanges(g.changes); err != nil {
			d.fault.fail(err)
		}
	}
	err := d.fault.err() // also when it was too late
	for _, r := range accepted {
		r.done <- err
	}
	return err == nil
}

// groupWrites is what a group comes to: the last word on each physical key.
type groupWrites struct {
	changes map[string]change
}

type change struct {
	value   []byte
	deleted bool
}

// merge adds the operations of a batch, in order. An error has added nothing.
func (d *DB) merge(g *groupWrites, ops []op) error {
	found, err := d.lookUpRanges(ops)
	if err != nil {
		return err
	}
	if g.changes == nil {
		g.changes = make(map[string]change, len(ops))
	}
	for _, o := range ops {
		switch o.kind {
		case opPut:
			g.changes[string(o.key)] = change{value: o.value}
		case opDelete:
			g.changes[string(o.key)] = change{deleted: true}
		case opDeleteRange:
			for key := range g.changes {
				if key >= string(o.key) && key < string(o.value) {
					g.changes[key] = change{deleted: true}
				}
			}
			for _, key := range found[0] {
				g.changes[key] = change{deleted: true}
			}
			found = found[1:]
		}
	}
	return nil
}

// lookUpRanges lists, for each range delete, the keys that are there to be deleted. (Those that only the group has written are
// found in the group.)
func (d *DB) lookUpRanges(ops []op) (found [][]string, err error) {
	var s *snapshot
	size := int64(0)
	for _, o := range ops {
		if o.kind != opDeleteRange {
			continue
		}
		if s == nil {
			s = d.newSnapshot()
			defer func() { err = firstError(err, s.Close()) }()
		}
		it := s.newIterator(o.key, o.value)
		var keys []string
		for ok := it.SeekGE(nil); ok && size <= MaxBatchBytes; ok = it.Next() {
			key := it.physical()
			keys = append(keys, string(key))
			size += int64(len(key)) + opOverhead
		}
		if err := it.Close(); err != nil {
			return nil, err
		}
		found = append(found, keys)
	}
	if size > MaxBatchBytes {
		return nil, &LimitError{"batch", size, MaxBatchBytes}
	}
	return found, nil
}

// commitChanges writes one transaction and sees for itself that it is there: badger's Commit does not tell when its log fails.
// Every error is a reason to stop.
func (d *DB) commitChanges(changes map[string]change) error {
	txn := d.beginTxn(true)
	defer txn.Discard()
	for key, c := range changes {
		var err error
		if c.deleted {
			err = txn.Delete([]byte(key))
		} else {
			err = txn.Set([]byte(key), c.value)
		}
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	stamp := d.stamp + 1
	if err := txn.Set(stampKey, encodeStamp(stamp)); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := txn.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	found, err := d.readStamp()
	if err != nil {
		return err
	}
	if found != stamp {
		return fmt.Errorf("commit %d is said to be done, but the last one is %d: the log could not be written", stamp, found)
	}
	d.stamp = stamp
	if d.notes != nil {
		return d.notes.note(stamp)
	}
	return nil
}

// within says whether a physical key lies in [start, end).
func within(key, start, end []byte) bool {
	return bytes.Compare(key, start) >= 0 && bytes.Compare(key, end) < 0
}
