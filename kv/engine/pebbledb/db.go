// Package pebbledb is the engine over pebble, the default for the raft log and for the applied state.
//
// What it adds to pebble is small. A column family is one byte in front of every key (key.go). Batches and reads go
// straight to pebble's own (batch.go, snapshot.go, pin.go). Ranges are replaced by tables that carry a tombstone (ingest.go).
// Failures are caught below pebble, at the file system, where they poison the engine and nothing else (disk.go, fault.go). And the
// length of every log that is known to be durable is noted beside it, so that Open can tell a damaged log from one
// that a crash cut short (synced.go).
//
// The order of Open: lock the directory, check the logs and the manifest against the notes, clear away tables of ingests
// that never happened, let pebble recover, and see whether the disk has failed meanwhile.
package pebbledb

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/shoal-kv/shoal/kv/engine"
)

// DB is an open engine.
type DB struct {
	opts  Options
	popts *pebble.Options
	pdb   *pebble.DB
	disk  *disk
	fault *fault

	damage  damage
	pin     pin
	closed  atomic.Bool
	stalls  atomic.Uint64
	ingests atomic.Uint64
	// tableTarget is that of the tables which are made here, halvedFrom that of the ranges which are packed.
	tableTarget int
	halvedFrom  uint64
	bufs        sync.Pool // *[]byte, for keys with their family's byte
}

var _ engine.Engine = (*DB)(nil)

// Open opens the engine in opts.Dir, or makes a new one. It refuses a directory that another engine has open, and one whose
// files are damaged, naming the file; nothing has been changed then.
func Open(opts Options) (*DB, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &DB{opts: opts, fault: &fault{onFatal: opts.OnFatal, logger: opts.Logger}, tableTarget: tableTarget, halvedFrom: halvedFrom}
	d.damage.tables = make(map[string]*damagedTable)
	d.bufs.New = func() any { return new([]byte) }
	synced := &syncedLengths{fs: opts.FS, path: opts.FS.PathJoin(opts.Dir, syncedName)}
	d.disk = &disk{FS: opts.FS, dir: opts.Dir, fault: d.fault, synced: synced, logger: opts.Logger}
	d.popts = opts.pebble(d)
	err = d.prepare()
	if err == nil {
		d.pdb, err = openPebble(opts.Dir, d.popts)
	}
	if fatal := d.fault.err(); fatal != nil { // the cause of any other error
		if d.pdb != nil {
			_ = d.pdb.Close()
		}
		err = fatal
	}
	if err != nil {
		_ = d.release()
		return nil, fmt.Errorf("open engine %s: %w", opts.Dir, err)
	}
	return d, nil
}

// prepare looks at a directory that is there already: it takes the lock, which pebble would otherwise take, so that the
// files are nobody else's, checks them, and clears away tables of ingests that never happened.
func (d *DB) prepare() error {
	fs, dir := d.opts.FS, d.opts.Dir
	if _, err := fs.Stat(dir); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil // pebble makes the directory, and its name durable
		}
		return err
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return fmt.Errorf("is it open elsewhere? %w", err)
	}
	d.popts.Lock = lock
	if err := d.disk.synced.check(dir); err != nil {
		return err
	}
	if err := fs.RemoveAll(d.ingestDir()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// release gives back what is not pebble's.
func (d *DB) release() error {
	err := d.disk.synced.close()
	if d.popts.Lock != nil {
		err = firstError(err, d.popts.Lock.Close())
	}
	return err
}

// openPebble adds to an error what pebble says beside it: which log, and where in it. A panic of the recovery is an error too: the
// data on disk is not ours to trust, and nothing is left running that could be in a strange state.
func openPebble(dir string, opts *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("recovery panicked: %v", p)
		}
	}()
	db, err = pebble.Open(dir, opts)
	var detailed interface{ ErrorDetail() string }
	if errors.As(err, &detailed) {
		err = fmt.Errorf("%s: %w", detailed.ErrorDetail(), err)
	}
	return db, err
}

func (d *DB) ingestDir() string { return d.opts.FS.PathJoin(d.opts.Dir, "ingest") }

// usable is nil while writes are taken.
func (d *DB) usable() error {
	if err := d.fault.err(); err != nil {
		return err
	}
	if d.closed.Load() {
		return engine.ErrClosed
	}
	return nil
}

func (d *DB) writeOptions(sync bool) *pebble.WriteOptions {
	if sync && !d.opts.UnsafeNoSync {
		return pebble.Sync
	}
	return pebble.NoSync
}

// NewBatch returns an empty batch; its buffer comes from pebble's pool and returns there when it is closed.
func (d *DB) NewBatch() engine.Batch { return &batch{db: d, b: d.pdb.NewBatch()} }

// NewSnapshot returns the state as of now.
func (d *DB) NewSnapshot() engine.Snapshot {
	healed, replaced := d.damage.healed.done.Load(), d.damage.replaced.Load() // before: what changes later must be noticed
	return &snapshot{db: d, healed: healed, replaced: replaced, snap: d.pin.newSnapshot(d.pdb)}
}

// Sync writes an empty record to the log and syncs it, and with it all that stands before: records of the same log go to
// disk in order, and a log is synced in full before the next one begins.
func (d *DB) Sync() error {
	if err := d.usable(); err != nil {
		return err
	}
	if d.opts.UnsafeNoSync {
		return nil
	}
	if err := d.pdb.LogData(nil, pebble.Sync); err != nil {
		d.fault.fail(err)
	}
	return d.fault.err()
}

// maxCounted bounds the keys that ApproximateSize looks at.
const maxCounted = 4096

// ApproximateSize is what pebble estimates for the tables. Where that is less than what memtables can hold, the first keys
// are also counted one by one, and the larger figure is the answer: so a small range is measured well although all of it
// is in memory, and a large one is short by what its memtable holds at most.
func (d *DB) ApproximateSize(cf engine.CF, start, end []byte) (uint64, error) {
	lower, upper := appendKey(nil, cf, start), appendEnd(nil, cf, end)
	if bytes.Compare(lower, upper) >= 0 {
		return 0, nil
	}
	tables, err := d.pdb.EstimateDiskUsage(lower, upper)
	if err != nil || tables >= uint64(d.opts.MemTableBytes) {
		return tables, readError(err)
	}
	it, err := d.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, readError(err)
	}
	var counted uint64
	for i, ok := 0, it.First(); ok && i < maxCounted; i, ok = i+1, it.Next() {
		counted += uint64(len(it.Key()) + len(it.Value()))
	}
	return max(tables, counted), readError(it.Close())
}

// Checkpoint links the tables into dir and copies the log, which is synced first. It must lie outside of the engine's own
// directory, on the same file system when it is to be cheap. The failure of a checkpoint does not poison the engine.
func (d *DB) Checkpoint(dir string) error {
	if err := d.usable(); err != nil {
		return err
	}
	err := d.pdb.Checkpoint(dir, pebble.WithFlushedWAL())
	if fatal := d.fault.err(); fatal != nil {
		return fatal
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Close syncs the log and releases everything. It reports what was left open, and the failure that poisoned the engine.
func (d *DB) Close() error {
	if d.closed.Swap(true) {
		return engine.ErrClosed
	}
	d.pin.drop()
	err := d.pdb.Close()
	err = firstError(err, d.release())
	if fatal := d.fault.err(); fatal != nil {
		return fatal
	}
	return err
}

func (d *DB) getBuf() *[]byte    { return d.bufs.Get().(*[]byte) }
func (d *DB) putBuf(buf *[]byte) { d.bufs.Put(buf) }
