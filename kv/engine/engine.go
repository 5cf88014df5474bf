// Package engine is the seam between Shoal and whatever library keeps its bytes.
//
// An engine is a set of ordered column families. Everything that Shoal asks of it stands on this page: atomic batches
// with an optional sync, snapshots that outlive later writes, bounded iterators in both directions, range deletes,
// ingest, checkpoints, and an explicit sync. Nothing above this package knows which library is below, and nothing
// above it may lean on what the conformance suite (package enginetest) does not ask of every engine.
//
// A store opens two engines: one for the raft log, whose batches are synced, and one for the applied state, whose batches are
// not (the log gives back what a crash takes) and which is synced explicitly before anything leans on it.
//
// Durability contract: after a batch committed with sync, or after Sync returned nil, everything committed before is
// on disk. A crash keeps a prefix of the batches that were committed since, each whole or not at all. When a write or a
// sync fails, the engine is poisoned: every later write fails too (PoisonedError), and the store must stop; it never
// retries an fsync. A read that meets damage on disk answers a CorruptionError, never something else than was written.
//
// Keys are any bytes, the empty key included. An upper bound that is nil or empty is open: no key lies below the empty
// one, so an empty bound can mean nothing else, and that is how regions write theirs.
package engine

// CF names a column family: an independent sorted key space of one engine.
type CF uint8

// The column families that every engine has.
const (
	// Default holds raw values and the values of transactions.
	Default CF = iota
	// Lock holds the locks of transactions in flight.
	Lock
	// Write holds the commit records of transactions.
	Write
	// Local holds what the store keeps about itself: ident, region, raft and apply states.
	Local
	// NumCFs is the number of column families.
	NumCFs
)

var cfNames = [NumCFs]string{"default", "lock", "write", "local"}

// String returns the name that the wire protocol uses ("default", "lock", "write"), or "local".
func (cf CF) String() string {
	if cf < NumCFs {
		return cfNames[cf]
	}
	return "unknown"
}

// DataCFs are the column families that hold users' data, in order.
var DataCFs = [...]CF{Default, Lock, Write}

// ParseCF returns the column family that a client may name; the empty name means Default. Local is not to be had.
func ParseCF(name string) (CF, bool) {
	if name == "" {
		return Default, true
	}
	for _, cf := range DataCFs {
		if cfNames[cf] == name {
			return cf, true
		}
	}
	return 0, false
}

// Engine is one open database. All methods are safe for concurrent use, Close excepted.
type Engine interface {
	// NewBatch returns an empty batch, to be closed by the caller.
	NewBatch() Batch
	// NewSnapshot returns the state as of now; batches committed later do not show in it. It must be closed.
	NewSnapshot() Snapshot
	// ApproximateSize estimates the bytes on disk and in memory of [start, end); an empty end means the end of the family.
	ApproximateSize(cf CF, start, end []byte) (uint64, error)
	// Ingest replaces ranges by sorted data at once: see Ingest's fields. It is durable when it returns.
	Ingest(in Ingestion) error
	// Checkpoint writes a consistent, independently openable copy into dir, which must not exist.
	Checkpoint(dir string) error
	// Sync makes everything that was committed so far durable.
	Sync() error
	// Close releases the engine. Snapshots, iterators and batches must be closed before.
	Close() error
}

// Snapshot is a frozen view of an engine.
type Snapshot interface {
	// Get returns a copy of the value, nil when the key is absent; an empty value is non-nil.
	Get(cf CF, key []byte) ([]byte, error)
	// NewIterator returns an unpositioned iterator over [opts.Lower, opts.Upper).
	NewIterator(cf CF, opts IterOptions) (Iterator, error)
	// Close releases the view; its iterators must be closed before.
	Close() error
}

// IterOptions bounds an iterator; an empty bound is open.
type IterOptions struct {
	Lower, Upper []byte
	// KeyOnly promises that Value will not be called.
	KeyOnly bool
}

// Iterator walks a range of one column family. A move that answers false has left the range, or failed: Close tells which.
type Iterator interface {
	// SeekGE moves to the first key ≥ key; an empty key means the lower bound.
	SeekGE(key []byte) bool
	// SeekLT moves to the last key < key; an empty key means the upper bound.
	SeekLT(key []byte) bool
	// Next and Prev move by one key; valid only after a move that answered true.
	Next() bool
	Prev() bool
	// Key and Value are valid until the next move; copy to keep.
	Key() []byte
	Value() []byte
	// Close releases the iterator and returns the error that ended it early, if any.
	Close() error
}

// Batch is a list of writes that take effect together, in order, or not at all. Not safe for concurrent use.
// Keys and values are copied in; a later write of a batch overrides an earlier one.
type Batch interface {
	Put(cf CF, key, value []byte)
	Delete(cf CF, key []byte)
	// DeleteRange deletes [start, end); an empty end means the end of the family.
	DeleteRange(cf CF, start, end []byte)
	// Size is the number of bytes of the encoded batch, 0 when empty.
	Size() int
	// Commit applies the batch, atomically, and syncs when asked to, also when the batch is empty. A batch is
	// committed once: the second time is ErrCommitted. After a PoisonedError nobody knows whether the batch survives.
	Commit(sync bool) error
	// Reset empties the batch for reuse, also after a Commit.
	Reset()
	// Close releases the batch.
	Close() error
}

// Ingestion is sorted data that takes the place of ranges, atomically: a crash leaves all of the old or all of the new.
// Whatever was committed before it is durable when it is.
type Ingestion struct {
	// Replace lists, for each column family, the one range whose present content is removed first.
	Replace map[CF]Range
	// Open returns, for a column family, its sorted, duplicate-free content, all inside Replace; nil means empty.
	Open func(cf CF) (Source, error)
	// Also is committed with the same durability after the data is in: the marker that says so. A crash between the two
	// leaves the data without it. May be nil.
	Also Batch
}

// Stager is an engine that can take an ingestion's data in long before it takes effect, while it comes. Not every engine can.
type Stager interface {
	// Stage begins an ingestion that will replace these ranges.
	Stage(replace map[CF]Range) (Staged, error)
}

// Staged is an ingestion that has not taken effect: nothing of it shows, and a crash leaves nothing of it. It ends in Commit or Discard.
// Not safe for concurrent use. The order of its steps: Put …, Finish, Commit.
type Staged interface {
	// Put adds a pair, inside the replaced range: the column families in order, within each the keys strictly ascending. Key and value are
	// copied. After an error only Discard may follow.
	Put(cf CF, key, value []byte) error
	// Finish ends the data, and makes it durable, so that Commit is short. After an error only Discard may follow.
	Finish() error
	// Commit puts the data in place of the ranges as they are then, and also behind it, as Engine.Ingest does; also may be nil.
	Commit(also Batch) error
	// Discard gives the data up. After Commit it does nothing.
	Discard()
}

// Packer is a Snapshot that hands ranges over as tables, in the engine's own form. An engine that stages tables of this form (TableStager) takes
// them in as they are, so that pairs are packed once and not at both ends. Not every engine's snapshot is one.
type Packer interface {
	// TableForm names the form: equal names, equal form.
	TableForm() string
	// Pack writes what a range holds as tables, one at least, that together replace the range when they are ingested. A large range is cut into lanes, of which
	// each goes to a sink of its own, at the same time as the others. A sink's error ends the packing, and is returned; no table that is not whole is
	// ever ended.
	Pack(cf CF, r Range, to [TableLanes]TableSink) (Packed, error)
}

// TableLanes is how many tables of a range are made, and come, side by side: the first lane's replace the beginning of the range, each other's what
// follows. Two make use of two cores, and leave the others to clients.
const TableLanes = 2

// TableSink takes tables one after the other.
type TableSink interface {
	// Write takes a table's next bytes, which it must not keep.
	Write(p []byte) error
	// EndTable says that the table is whole.
	EndTable() error
}

// Packed counts what tables hold: pairs, and the bytes of their keys and values.
type Packed struct{ Pairs, Bytes uint64 }

// TableStager is a Stager whose ingestions also take tables.
type TableStager interface {
	Stager
	// TableForm names the form of the tables that are taken, as Packer does.
	TableForm() string
}

// TableStaged is a Staged of a TableStager. A column family comes either as pairs or as tables.
type TableStaged interface {
	Staged
	// PutTable adds the next part of the tables that one Pack gave to the sink of that lane. It is copied.
	PutTable(cf CF, lane int, part []byte, end bool) error
	// Packed counts what the tables of a family hold, once Finish has found that they are whole, lie within the replaced range and replace all of it.
	Packed(cf CF) Packed
}

// Range is [Start, End); an empty End is the end of the family.
type Range struct{ Start, End []byte }

// Source yields sorted pairs. Next answers false at the end or on an error, which Close returns.
type Source interface {
	Next() bool
	Key() []byte
	Value() []byte
	Close() error
}
