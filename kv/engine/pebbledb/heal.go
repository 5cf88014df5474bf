package pebbledb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"go.uber.org/zap"
)

// Ingest for a range whose old tables are damaged.
//
// A tombstone would hide the damage and leave it where compactions meet it again. So the range is cut out: pebble makes of each old table two that
// share its file and leave out what lies between. One family after the other: a crash between two leaves families of different age, and
// whoever ingests must be able to begin again, or to repeat what happened in between. What is cut out is gone for open snapshots too; the
// snapshots know (healed).
//
// To find where the two new tables begin and end, pebble reads the old one at the borders of the range, and where that fails takes it that
// nothing is there. That would lose others' keys without a word: the borders are read here first. If they are what is damaged, all is
// written through a batch behind a tombstone instead, which looks at nothing.

// heal replaces the ranges of an ingestion whose tables have been written.
func (s *staged) heal() error {
	d := s.db
	d.damage.replaced.Add(1)
	var spans []span
	for i := range s.families {
		spans = append(spans, s.families[i].span())
	}
	for _, each := range spans {
		if err := d.readBorders(each); err != nil {
			d.opts.Logger.Warn("damage at the border of a range: it is hidden, not cut out", zap.Error(err))
			return s.rewrite()
		}
	}
	d.damage.healed.begin(spans)
	for i := range s.families {
		cut := pebble.KeyRange{Start: spans[i].lower, End: spans[i].upper}
		if _, err := d.pdb.IngestAndExcise(context.Background(), s.families[i].paths, nil, nil, cut); err != nil {
			return fmt.Errorf("cut out what is damaged: %w", err)
		}
	}
	d.damage.healed.end()
	d.opts.Logger.Info("a damaged range has been replaced")
	return nil
}

// readBorders reads, in every table that goes beyond the span, the keys on both sides of its ends.
func (d *DB) readBorders(s span) error {
	levels, err := d.pdb.SSTables(pebble.WithKeyRangeFilter(s.lower, s.upper))
	if err != nil {
		return err
	}
	for _, tables := range levels {
		for _, t := range tables {
			if bytes.Compare(t.Smallest.UserKey, s.lower) >= 0 && bytes.Compare(t.Largest.UserKey, s.upper) < 0 {
				continue // it goes as a whole
			}
			path := d.opts.FS.PathJoin(d.opts.Dir, t.BackingSSTNum.String()+".sst")
			if err := d.readBordersIn(path, s); err != nil && !errors.Is(err, os.ErrNotExist) { // a compaction may have read it to the end
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

func (d *DB) readBordersIn(path string, s span) error {
	return d.withTable(path, func(it sstable.Iterator) error {
		if it.SeekLT(s.lower, 0); it.Error() == nil {
			it.SeekGE(s.upper, 0)
		}
		return it.Error()
	})
}

// withTable reads the pairs of one table's file.
func (d *DB) withTable(path string, read func(sstable.Iterator) error) error {
	return d.withTableReader(path, func(table *sstable.Reader) (err error) {
		it, err := table.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
		if err != nil {
			return err
		}
		defer func() { err = firstError(err, it.Close()) }()
		return read(it)
	})
}

// withTableReader opens one table's file.
func (d *DB) withTableReader(path string, read func(*sstable.Reader) error) (err error) {
	file, err := d.opts.FS.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(file)
	if err != nil {
		return firstError(err, file.Close())
	}
	table, err := sstable.NewReader(context.Background(), readable, d.popts.MakeReaderOptions())
	if err != nil {
		return err // it has closed the file
	}
	defer func() { err = firstError(err, table.Close()) }()
	return read(table)
}

// maxRewrite bounds what rewrite holds in memory. It is several times what a region may grow to.
const maxRewrite = 1 << 30

// rewrite puts what the tables hold into one batch. It costs memory, and writes everything twice.
func (s *staged) rewrite() (err error) {
	b := s.db.pdb.NewBatch()
	defer func() { err = firstError(err, b.Close()) }()
	for i := range s.families {
		f := &s.families[i]
		if err := b.DeleteRange(f.span().lower, f.span().upper, nil); err != nil {
			return err
		}
		for _, path := range f.paths {
			err := s.db.withTable(path, func(it sstable.Iterator) error {
				for kv := it.First(); kv != nil && b.Len() < maxRewrite; kv = it.Next() {
					value, _, err := kv.Value(nil)
					if err == nil {
						err = b.Set(kv.K.UserKey, value, nil)
					}
					if err != nil {
						return err
					}
				}
				return it.Error()
			})
			if err != nil {
				return err
			}
		}
	}
	if b.Len() >= maxRewrite {
		return fmt.Errorf("the range is damaged, and what is to replace it takes more than %d bytes", maxRewrite)
	}
	return b.Commit(s.db.writeOptions(true))
}
