package pebbledb

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Tables that another engine packed are written as they come, and opened when they are complete: what a table says of itself must fit the
// range and the tables before it. That its blocks are as they left the other engine whoever carries them has verified.

var _ engine.TableStaged = (*staged)(nil)

// comingTable is a table that comes in parts; between two it has no file.
type comingTable struct {
	file *tableFile
	path string
}

func (c *comingTable) abort() {
	if c.file != nil {
		_ = c.file.Close() // nobody will read it
		c.file = nil
	}
}

// PutTable adds a part.
func (s *staged) PutTable(cf engine.CF, lane int, part []byte, end bool) error {
	if lane < 0 || lane >= len(s.came) {
		return fmt.Errorf("a table of lane %d, where there are %d", lane, len(s.came))
	}
	f, err := s.turn(cf)
	if err == nil && s.made != nil {
		err = fmt.Errorf("a table of column family %s, of which pairs have come", cf)
	}
	if err != nil {
		return err
	}
	table := &s.came[lane]
	if table.file == nil {
		f.packed = true
		if table.file, table.path, err = s.create(); err != nil {
			return err
		}
	}
	if _, err := table.file.Write(part); err != nil || !end {
		return err
	}
	file, path := table.file, table.path
	table.file = nil
	s.afterTheOneBefore(func() error {
		if err := firstError(file.Sync(), file.Close()); err != nil {
			return err
		}
		if err := s.db.withTableReader(path, func(t *sstable.Reader) error { return f.admit(lane, t) }); err != nil {
			return fmt.Errorf("a table that came for column family %s: %w", f.cf, err)
		}
		return nil
	})
	return nil
}

// Packed counts.
func (s *staged) Packed(cf engine.CF) engine.Packed {
	for i := range s.families {
		if s.families[i].cf == cf {
			return s.families[i].counts
		}
	}
	return engine.Packed{}
}

// whole says whether the tables that came replace the family's range: each lane's from where the one before ends.
func (f *family) whole() error {
	if !f.packed {
		return nil
	}
	all := f.span()
	due := all.lower
	for _, lane := range f.covered {
		if lane.upper == nil {
			continue
		}
		if !bytes.Equal(lane.lower, due) {
			return fmt.Errorf("the tables that came for column family %s go on at %x, not at %x", f.cf, lane.lower, due)
		}
		due = lane.upper
	}
	if !bytes.Equal(due, all.upper) {
		return fmt.Errorf("the tables that came for column family %s end at %x, not at %x", f.cf, due, all.upper)
	}
	return nil
}

// admit checks that a table goes on where its lane's one before ended, within the range, and holds nothing but pairs and a tombstone that covers them.
func (f *family) admit(lane int, table *sstable.Reader) error {
	ctx := context.Background()
	props, err := table.ReadPropertiesBlock(ctx, nil)
	if err != nil {
		return err
	}
	if props.NumRangeDeletions != 1 || props.NumDeletions != 1 || props.NumMergeOperands+props.NumRangeKeys() != 0 {
		return fmt.Errorf("it holds %d deletions (of ranges: %d), %d merges, %d range keys; one deletion of its range is what it may",
			props.NumDeletions, props.NumRangeDeletions, props.NumMergeOperands, props.NumRangeKeys())
	}
	covers, err := tombstone(table)
	if err != nil {
		return err
	}
	covered, all := &f.covered[lane], f.span()
	if covered.upper != nil && !bytes.Equal(covers.lower, covered.upper) {
		return fmt.Errorf("it replaces [%x, %x), where a part of [%x, %x) from its start on is due", covers.lower, covers.upper, covered.upper, all.upper)
	}
	if bytes.Compare(covers.lower, all.lower) < 0 || bytes.Compare(covers.upper, all.upper) > 0 {
		return fmt.Errorf("it replaces [%x, %x), which is no part of [%x, %x)", covers.lower, covers.upper, all.lower, all.upper)
	}
	if err := within(table, covers); err != nil {
		return err
	}
	pairs := props.NumEntries - 1
	f.counts.Pairs += pairs
	// A pair's key counts with its trailer of eight bytes and its family's one; of the tombstone its two ends count.
	f.counts.Bytes += props.RawKeySize + props.RawValueSize - uint64(len(covers.lower)+len(covers.upper)) - 9*pairs
	if covered.upper == nil {
		covered.lower = covers.lower
	}
	covered.upper = covers.upper
	return nil
}

// tombstone is the span that the table's one tombstone covers.
func tombstone(table *sstable.Reader) (span, error) {
	it, err := table.NewRawRangeDelIter(context.Background(), sstable.NoFragmentTransforms, sstable.NoReadEnv)
	if err != nil || it == nil {
		return span{}, firstError(err, errNoTombstone)
	}
	defer it.Close()
	t, err := it.First()
	if err != nil || t == nil {
		return span{}, firstError(err, errNoTombstone)
	}
	return span{bytes.Clone(t.Start), bytes.Clone(t.End)}, nil
}

var errNoTombstone = fmt.Errorf("it has no tombstone")

// within says whether the table's first and last key lie in the span.
func within(table *sstable.Reader, s span) (err error) {
	it, err := table.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, it.Close()) }()
	if kv := it.First(); kv != nil && bytes.Compare(kv.K.UserKey, s.lower) < 0 {
		return fmt.Errorf("its first key %x lies before [%x, %x)", kv.K.UserKey, s.lower, s.upper)
	}
	if kv := it.Last(); kv != nil && bytes.Compare(kv.K.UserKey, s.upper) >= 0 {
		return fmt.Errorf("its last key %x lies behind [%x, %x)", kv.K.UserKey, s.lower, s.upper)
	}
	return it.Error()
}
