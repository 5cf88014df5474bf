package pebbledb

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-kv/shoal/kv/engine"
)

// An ingestion is staged as tables for each column family, which hold tombstones over the replaced range and the new pairs. They are handed
// to pebble, which takes all of them in with one edit: within a table the tombstone hides what is older than the table
// and nothing of the table itself. Excising the range instead would be cheaper, but it removes what open snapshots still
// show; here the old data goes when they are closed.
//
// The order: the tables are written and synced, under a name that Open clears away; the log is synced, so that nothing
// committed earlier can be lost when the tables are not; pebble links the tables in, which neither reads nor copies them, and makes that durable; Also is
// committed with a sync. A failure before the link changes nothing. A crash before Also leaves the data without it: whoever ingests puts
// down a marker beforehand, and Also takes it away. Where old tables are damaged it is heal.go that replaces them.

var _ engine.Stager = (*DB)(nil)

// Ingest stages the sources, and commits.
func (d *DB) Ingest(in engine.Ingestion) error {
	if err := d.usable(); err != nil {
		return err
	}
	s, err := d.stage(in.Replace)
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	defer s.Discard()
	for i := range s.families {
		if err := s.putAll(s.families[i].cf, in.Open); err != nil {
			return fmt.Errorf("ingest: column family %s: %w", s.families[i].cf, err)
		}
	}
	if err := s.Finish(); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	return s.Commit(in.Also)
}

// Stage begins an ingestion whose pairs go to tables as they come.
func (d *DB) Stage(replace map[engine.CF]engine.Range) (engine.Staged, error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	return d.stage(replace)
}

func (d *DB) stage(replace map[engine.CF]engine.Range) (*staged, error) {
	if err := d.opts.FS.MkdirAll(d.ingestDir(), 0o755); err != nil {
		return nil, err
	}
	s := &staged{db: d, replace: replace, closed: make(chan error, 1)}
	s.closed <- nil
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		r, ok := replace[cf]
		if ok && (len(r.End) == 0 || bytes.Compare(r.Start, r.End) < 0) {
			s.families = append(s.families, family{cf: cf, Range: r})
		}
	}
	s.enter(0)
	return s, nil
}

// tableTarget is the size in bytes of keys and values at which a table ends.
const tableTarget = 128 << 20

// staged writes the tables of an ingestion, one after the other. While one is being made durable the next is filled.
type staged struct {
	db       *DB
	replace  map[engine.CF]engine.Range
	families []family
	at       int    // the family whose pairs come
	start    []byte // from where on its range is not covered by tombstones yet
	key      []byte
	table    *sstable.Writer // nil between two tables
	size     int
	// closed holds the outcome of the table before: taken by whoever closes the next.
	closed chan error
}

// family is a replaced range, and the tables that replace it.
type family struct {
	cf engine.CF
	engine.Range
	paths []string
}

func (f *family) span() span { return span{appendKey(nil, f.cf, f.Start), appendEnd(nil, f.cf, f.End)} }

func (f *family) holds(key []byte) bool {
	return bytes.Compare(key, f.Start) >= 0 && (len(f.End) == 0 || bytes.Compare(key, f.End) < 0)
}

// putAll puts what a source gives.
func (s *staged) putAll(cf engine.CF, open func(engine.CF) (engine.Source, error)) error {
	if open == nil {
		return nil
	}
	src, err := open(cf)
	if err != nil || src == nil {
		return err
	}
	for err == nil && src.Next() {
		err = s.Put(cf, src.Key(), src.Value())
	}
	return firstError(err, src.Close())
}

// Put adds a pair.
func (s *staged) Put(cf engine.CF, key, value []byte) error {
	for s.at < len(s.families) && s.families[s.at].cf != cf {
		if err := s.leave(); err != nil {
			return err
		}
	}
	if s.at == len(s.families) {
		return fmt.Errorf("a pair of column family %s, which is not replaced or not in its turn", cf)
	}
	if f := &s.families[s.at]; !f.holds(key) {
		return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", key, f.Start, f.End)
	}
	s.key = appendKey(s.key[:0], cf, key)
	if s.table != nil && s.size >= tableTarget {
		end := bytes.Clone(s.key)
		if err := s.end(end); err != nil {
			return err
		}
		s.start = end
	}
	if err := s.begin(); err != nil {
		return err
	}
	s.size += len(s.key) + len(value)
	return s.table.Set(s.key, value) // also refuses keys that are out of order
}

// enter begins a family, if there is one.
func (s *staged) enter(i int) {
	if s.at = i; i < len(s.families) {
		s.start = appendKey(nil, s.families[i].cf, s.families[i].Start)
	}
}

// leave ends a family: together the tombstones of its tables, one at least, cover its range.
func (s *staged) leave() error {
	if err := s.begin(); err != nil {
		return err
	}
	f := &s.families[s.at]
	if err := s.end(appendEnd(nil, f.cf, f.End)); err != nil {
		return err
	}
	s.enter(s.at + 1)
	return nil
}

// begin makes sure that there is a table to write to.
func (s *staged) begin() error {
	if s.table != nil {
		return nil
	}
	d := s.db
	path := d.opts.FS.PathJoin(d.ingestDir(), fmt.Sprintf("%d.sst", d.ingests.Add(1)))
	f := &s.families[s.at]
	f.paths = append(f.paths, path)
	file, err := d.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	s.table = sstable.NewWriter(objstorageprovider.NewFileWritable(newTableFile(file)), d.popts.MakeWriterOptions(0, d.pdb.TableFormat()))
	s.size = 0
	return nil
}

// end ends a table, whose tombstone covers what is behind the one before, up to end, and lets it be closed, which syncs its file, when the
// one before has been.
func (s *staged) end(end []byte) error {
	if err := s.table.DeleteRange(s.start, end); err != nil {
		return err
	}
	table := s.table
	s.table = nil
	before := <-s.closed
	go func() { s.closed <- firstError(before, table.Close()) }() // joined by the next end, Finish or Discard
	return nil
}

// Finish writes what is left, and waits until all is durable.
func (s *staged) Finish() error {
	for s.at < len(s.families) {
		if err := s.leave(); err != nil {
			return err
		}
	}
	err := <-s.closed
	s.closed <- err
	return err
}

// Commit links the tables in.
func (s *staged) Commit(also engine.Batch) error {
	defer s.Discard()
	d := s.db
	if err := d.usable(); err != nil {
		return err
	}
	if len(s.families) > 0 {
		if err := d.Sync(); err != nil {
			return err
		}
		var err error
		damaged := d.damagedIn(s.replace)
		if !damaged {
			err = d.pdb.Ingest(context.Background(), s.paths())
			damaged = d.opts.SurviveDamage && pebble.IsCorruptionError(err) // met while a place was sought for the tables
		}
		if damaged {
			err = s.heal()
		}
		d.pin.drop()
		if fatal := d.fault.err(); fatal != nil {
			return fatal
		}
		if err != nil {
			return fmt.Errorf("ingest: %w", err)
		}
	}
	if also != nil {
		return also.Commit(true)
	}
	return nil
}

// Discard removes the tables; pebble has removed those that it linked. What remains all the same the next Open clears away.
func (s *staged) Discard() {
	if s.table != nil { // given up half way
		_ = s.table.Close()
		s.table = nil
	}
	s.closed <- <-s.closed
	for _, path := range s.paths() {
		_ = s.db.opts.FS.Remove(path)
	}
	s.families = nil
}

// paths are the tables of all families.
func (s *staged) paths() (paths []string) {
	for i := range s.families {
		paths = append(paths, s.families[i].paths...)
	}
	return paths
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
