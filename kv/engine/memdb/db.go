// Package memdb is an engine in memory, for the simulator and for tests: deterministic, without goroutines, clock or
// randomness of its own, and with a disk that can crash and fail when it is told to.
//
// Each column family is a copy-on-write tree, so that a snapshot is a clone that costs nothing until the next write. The disk below
// is modelled by two things: the trees as they were at the last sync, and the batches since. A crash (Crash) keeps a
// prefix of these batches, of a length that the caller chooses, each batch whole; that is exactly what the seam promises
// and no more. FailWrites and FailSyncs poison the engine as a real failure does.
package memdb

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/google/btree"

	"github.com/shoal-kv/shoal/kv/engine"
)

// maxUnsynced bounds the batches that a crash can take. An engine that is never synced keeps no more: the oldest become
// durable, as they do when a system writes back its caches.
const maxUnsynced = 1 << 14

// ErrCrashed is the cause that poisons an engine after Crash: whoever still holds it writes to a machine that is gone.
var ErrCrashed = errors.New("memdb: crashed")

type pair struct{ key, value []byte }

func less(a, b pair) bool { return bytes.Compare(a.key, b.key) < 0 }

// trees is the content of an engine, one tree for each column family.
type trees [engine.NumCFs]*btree.BTreeG[pair]

func newTrees() *trees {
	var t trees
	for cf := range t {
		t[cf] = btree.NewG(32, less)
	}
	return &t
}

func (t *trees) clone() *trees {
	var c trees
	for cf := range t {
		c[cf] = t[cf].Clone()
	}
	return &c
}

// DB is an open engine in memory.
type DB struct {
	mu       sync.Mutex
	now      *trees // what reads see
	view     *trees // a clone of now that snapshots share; nil after a write
	durable  *trees // what a crash cannot take
	unsynced [][]op // the batches that lead from durable to now

	failWrite, failSync error
	poisoned            *engine.PoisonedError
	closed              bool
	checkpoints         map[string]*DB
}

var _ engine.Engine = (*DB)(nil)

// New returns an empty engine.
func New() *DB { return newDB(newTrees(), make(map[string]*DB)) }

func newDB(content *trees, checkpoints map[string]*DB) *DB {
	return &DB{now: content, durable: content.clone(), checkpoints: checkpoints}
}

// NewBatch returns an empty batch.
func (d *DB) NewBatch() engine.Batch { return &batch{db: d} }

// NewSnapshot returns the state as of now. Snapshots with no write between them share one clone.
func (d *DB) NewSnapshot() engine.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.view == nil {
		d.view = d.now.clone()
	}
	return &snapshot{trees: d.view}
}

// ApproximateSize adds up the keys and values of the range.
func (d *DB) ApproximateSize(cf engine.CF, start, end []byte) (uint64, error) {
	snap := d.NewSnapshot()
	it, err := snap.NewIterator(cf, engine.IterOptions{Lower: start, Upper: end})
	if err != nil {
		return 0, err
	}
	var size uint64
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		size += uint64(len(it.Key()) + len(it.Value()))
	}
	return size, it.Close()
}

// Ingest reads the sources first, and changes nothing when one of them fails.
func (d *DB) Ingest(in engine.Ingestion) error {
	if err := d.commit(nil, false); err != nil {
		return err
	}
	ops, err := ingestOps(in)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	if len(ops) > 0 {
		if err := d.commit(ops, true); err != nil {
			return err
		}
	}
	if in.Also != nil {
		return in.Also.Commit(true)
	}
	return nil
}

// Checkpoint keeps a copy in memory, under the name of dir; OpenCheckpoint returns it.
func (d *DB) Checkpoint(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if _, ok := d.checkpoints[dir]; ok {
		return fmt.Errorf("checkpoint: %s exists", dir)
	}
	if err := d.sync(); err != nil {
		return err
	}
	d.checkpoints[dir] = newDB(d.now.clone(), make(map[string]*DB))
	return nil
}

// OpenCheckpoint returns the engine that Checkpoint wrote into dir, as an engine of its own.
func (d *DB) OpenCheckpoint(dir string) (*DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.checkpoints[dir]
	if !ok {
		return nil, fmt.Errorf("memdb: no checkpoint in %s", dir)
	}
	return c, nil
}

// Sync makes everything that was committed so far durable.
func (d *DB) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return d.sync()
}

// Close syncs; Reopen opens the engine again.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return engine.ErrClosed
	}
	var err error
	if d.poisoned != nil {
		err = d.poisoned
	} else {
		err = d.sync()
	}
	d.closed = true
	return err
}

// commit applies the batch and syncs when asked to. The engine keeps ops and what they point to.
func (d *DB) commit(ops []op, sync bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if len(ops) > 0 {
		if d.failWrite != nil {
			return d.poison(d.failWrite)
		}
		d.now.apply(ops)
		d.view = nil
		d.unsynced = append(d.unsynced, ops)
		if len(d.unsynced) > maxUnsynced {
			d.durable.apply(d.unsynced[0])
			d.unsynced = d.unsynced[1:]
		}
	}
	if sync {
		return d.sync()
	}
	return nil
}

func (d *DB) sync() error {
	if d.failSync != nil {
		return d.poison(d.failSync)
	}
	if len(d.unsynced) > 0 {
		d.durable, d.unsynced = d.now.clone(), nil
	}
	return nil
}

func (d *DB) usable() error {
	if d.poisoned != nil {
		return d.poisoned
	}
	if d.closed {
		return engine.ErrClosed
	}
	return nil
}

func (d *DB) poison(cause error) error {
	d.poisoned = &engine.PoisonedError{Cause: cause}
	return d.poisoned
}
