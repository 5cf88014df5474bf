// Package badgerdb is the engine over the badger fork that the design names (github.com/Connor1996/badger). It is there to be
// chosen and to keep the seam honest; pebbledb is the better engine, and the default.
//
// A column family is a letter in front of every key (key.go): badger hides keys that begin with "!" from its iterators, and so never
// sees one. A snapshot is a read transaction (snapshot.go), which keeps its timestamp's versions from being compacted away.
//
// All writes go through one goroutine (writer.go), which gathers the batches that wait, works out what each range delete means by looking
// the keys up, and commits the whole group as one transaction, whose commit is synced before it is visible. So a
// batch is atomic, range deletes and all; an ingest is one batch, held in memory (ingest.go); a batch costs a sync even
// when nobody asked for one, and Sync has nothing left to do. Only an ingest's Also is a commit of its own, after the data.
//
// What badger gets wrong, and what is done about it:
//
//   - It reports a commit as done although its log could not be written or synced; in particular, when commits run side by
//     side and the log is rotated, a sync can meet a file that was closed and the commit is lost for good. Here only one
//     commit runs at a time, which leaves that race no room, and each commit carries a stamp that is read back before
//     anybody is told: a stamp that is missing poisons the engine. (With SHOAL_SHOW_BADGER_LOSS=1 a test shows the
//     library losing such commits.)
//   - It reads a damaged log up to the damage and opens as if nothing had followed. The last stamp that was acknowledged is
//     therefore noted in a file beside the log (stamp.go), and Open refuses a database that knows less. A power cut may
//     take the newest notes with it, and they know nothing of damage within tables: against both there is only
//     the replica on another store.
//   - On a full disk it hangs without an error. A commit that takes longer than Options.StallLimit poisons the engine, so that
//     the store stops instead; the files are then left as they are until the process has ended.
//   - Some of its failures end the process (an assertion, a table that cannot be built), and a read that meets a
//     damaged table may answer as if the key were absent.
//   - Its point read misses the version that a snapshot reads, or finds an older one, where a table has so many newer ones that they fill a
//     block. Keys are looked up with an iterator, which does not.
//   - Its messages go to standard error, past the store's logger.
//
// Keys are limited to MaxKeySize, a pair to a little less than a memtable, a batch to MaxBatchBytes: LimitError says which.
// There is no checkpoint in badger: Checkpoint copies every pair.
package badgerdb

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/Connor1996/badger"
	"github.com/Connor1996/badger/options"

	"github.com/shoal-kv/shoal/kv/engine"
)

// DB is an open engine.
type DB struct {
	opts  Options
	bdb   *badger.DB
	fault *fault
	notes *notes

	writes chan *request
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed when the writer has ended
	stamp  uint64        // of the last commit; the writer's

	begin     sync.Mutex // held while a transaction begins: see beginTxn
	snapshots atomic.Int64
	closed    atomic.Bool
}

var _ engine.Engine = (*DB)(nil)

// Open opens the engine in opts.Dir, or makes a new one. A database that has lost what it had acknowledged is refused with a
// LostWritesError.
func Open(opts Options) (_ *DB, err error) {
	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("open engine: %w", err)
	}
	d := &DB{
		opts: opts, fault: newFault(opts.Logger, opts.OnFatal),
		writes: make(chan *request, maxWaiting), quit: make(chan struct{}), done: make(chan struct{}),
	}
	if d.bdb, err = openBadger(opts.badger()); err != nil {
		return nil, fmt.Errorf("open engine %s: %w", opts.Dir, err)
	}
	if err := d.checkStamp(); err != nil {
		_ = d.bdb.Close()
		return nil, fmt.Errorf("open engine %s: %w", opts.Dir, err)
	}
	go d.runWriter()
	return d, nil
}

// openBadger turns a panic of the recovery into an error.
func openBadger(opts badger.Options) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("recovery panicked: %v", p)
		}
	}()
	return badger.Open(opts)
}

// checkStamp compares the last stamp in the database with the one that was noted beside it.
func (d *DB) checkStamp() (err error) {
	if d.stamp, err = d.readStamp(); err != nil {
		return err
	}
	if d.opts.UnsafeNoSync {
		return nil // notes would promise what nobody has synced
	}
	var noted uint64
	if d.notes, noted, err = openNotes(filepath.Join(d.opts.Dir, notesName)); err != nil {
		return err
	}
	if noted > d.stamp {
		_ = d.notes.close()
		return &LostWritesError{Acknowledged: noted, Found: d.stamp}
	}
	return nil
}

// badger translates the options. Values stay in the tables: value files of their own would be a second thing to lose.
func (o Options) badger() badger.Options {
	b := badger.DefaultOptions
	b.Dir, b.ValueDir = o.Dir, o.Dir
	b.SyncWrites = !o.UnsafeNoSync
	b.ValueThreshold = 0
	b.TableLoadingMode = options.MemoryMap
	b.MaxTableSize = o.MemTableBytes
	b.NumMemtables = 3
	b.NumCompactors = 2
	b.DoNotCompact = o.NoCompaction
	b.MaxCacheSize = o.BlockCacheBytes
	b.ValueLogFileSize = o.LogFileBytes
	b.TableBuilderOptions.Compression = o.Compression.badger()
	return b
}

// beginTxn begins a transaction under a lock. Between reading its timestamp and registering it a transaction is unknown to the
// compaction, which would take a younger one that has ended in the meantime as leave to drop what the older still reads.
func (d *DB) beginTxn(update bool) *badger.Txn {
	d.begin.Lock()
	defer d.begin.Unlock()
	return d.bdb.NewTransaction(update)
}

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

// NewBatch returns an empty batch.
func (d *DB) NewBatch() engine.Batch { return &batch{db: d} }

// NewSnapshot returns the state as of now.
func (d *DB) NewSnapshot() engine.Snapshot {
	if d.closed.Load() {
		return closedSnapshot{}
	}
	return d.newSnapshot()
}

func (d *DB) newSnapshot() *snapshot {
	d.snapshots.Add(1)
	return &snapshot{db: d, txn: d.beginTxn(false)}
}

// Sync has nothing to do: every commit is synced before it is acknowledged.
func (d *DB) Sync() error { return d.usable() }

// maxCounted bounds the keys that ApproximateSize looks at.
const maxCounted = 1 << 20

// ApproximateSize adds up the keys and values of the range, up to a million of them: some 150 ms at worst.
func (d *DB) ApproximateSize(cf engine.CF, start, end []byte) (size uint64, err error) {
	if d.closed.Load() {
		return 0, engine.ErrClosed
	}
	s := d.newSnapshot()
	it := s.newIterator(physicalStart(cf, start), physicalEnd(cf, end))
	for i, ok := 0, it.SeekGE(nil); ok && i < maxCounted; i, ok = i+1, it.Next() {
		size += uint64(len(it.Key()) + it.at.Item().ValueSize())
	}
	return size, firstError(it.Close(), s.Close())
}

// DiskBytes is what tables and log take on disk, counted once a minute. A log that was just begun counts whole.
func (d *DB) DiskBytes() uint64 {
	tables, log := d.bdb.Size()
	return uint64(tables + log)
}

// Close writes what is in memory into a table and releases everything. It refuses while snapshots are open, whose reads would
// fault. A poisoned engine keeps its files until the process ends: badger could hang on them.
func (d *DB) Close() error {
	if d.closed.Swap(true) {
		return engine.ErrClosed
	}
	close(d.quit)
	if err := d.fault.err(); err != nil {
		return err
	}
	<-d.done
	if err := d.fault.err(); err != nil {
		return err
	}
	if n := d.snapshots.Load(); n != 0 {
		return fmt.Errorf("badgerdb: closed with %d open snapshots", n)
	}
	err := d.bdb.Close()
	if d.notes != nil {
		err = firstError(err, d.notes.close())
	}
	return err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
