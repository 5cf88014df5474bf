package pebbledb

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// tableTarget is the size in bytes of keys and values at which a table ends; a test's engine has a smaller one.
const tableTarget = 128 << 20

// tables makes the tables that replace a range, one after the other, one at least: each holds pairs, and a tombstone over its part of the range;
// together the tombstones cover the range. Keys and ends are pebble's, with their family in front.
type tables struct {
	db         *DB
	start, end []byte // what the tables that are complete do not cover yet
	// open says where the next table goes. done is given a table that has all it will ever have, and closes it.
	open  func() (objstorage.Writable, error)
	done  func(*sstable.Writer) error
	table *sstable.Writer // nil between two tables
	size  int
}

// put adds a pair, copied. The table refuses keys that are out of order.
func (t *tables) put(key, value []byte) error {
	if t.table != nil && t.size >= t.db.tableTarget {
		if err := t.cut(bytes.Clone(key)); err != nil {
			return err
		}
	}
	if err := t.begin(); err != nil {
		return err
	}
	t.size += len(key) + len(value)
	return t.table.Set(key, value)
}

// begin makes sure that there is a table to write to.
func (t *tables) begin() error {
	if t.table != nil {
		return nil
	}
	file, err := t.open()
	if err != nil {
		return err
	}
	t.table, t.size = sstable.NewWriter(file, t.db.popts.MakeWriterOptions(0, t.db.pdb.TableFormat())), 0
	return nil
}

// cut ends the table, which covers what is behind the one before, up to end.
func (t *tables) cut(end []byte) error {
	if err := t.table.DeleteRange(t.start, end); err != nil {
		return err
	}
	table := t.table
	t.table, t.start = nil, end
	return t.done(table)
}

// finish makes sure that all of the range is covered.
func (t *tables) finish() error {
	if err := t.begin(); err != nil {
		return err
	}
	return t.cut(t.end)
}

// abort gives up the table that is being written.
func (t *tables) abort() {
	if t.table != nil {
		_ = t.table.Close() // nobody will read it
		t.table = nil
	}
}
