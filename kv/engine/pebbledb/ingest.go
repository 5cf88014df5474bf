package pebbledb

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
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

var _ engine.TableStager = (*DB)(nil)

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
	return s, nil
}

// staged writes the tables of an ingestion, one after the other. While one is being made durable the next is filled.
type staged struct {
	db       *DB
	replace  map[engine.CF]engine.Range
	families []family
	at       int // the family that comes
	key      []byte
	// made are the tables that are made of its pairs, or came the tables that come in parts.
	made *tables
	came [engine.TableLanes]comingTable
	// closed holds the outcome of the table before: taken by whoever closes the next.
	closed chan error
}

// family is a replaced range, and the tables that replace it.
type family struct {
	cf engine.CF
	engine.Range
	paths []string
	// packed says that it comes as tables. covered is what of the range those that have been closed replace, by lane, counts what they hold: both
	// belong to whoever closes a table.
	packed  bool
	covered [engine.TableLanes]span
	counts  engine.Packed
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
	f, err := s.turn(cf)
	switch {
	case err != nil:
		return err
	case f.packed:
		return fmt.Errorf("a pair of column family %s, of which tables have come", cf)
	case !f.holds(key):
		return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", key, f.Start, f.End)
	}
	s.key = appendKey(s.key[:0], cf, key)
	return s.make().put(s.key, value)
}

// turn moves on to a family, and ends those before it.
func (s *staged) turn(cf engine.CF) (*family, error) {
	for s.at < len(s.families) && s.families[s.at].cf != cf {
		if err := s.leave(); err != nil {
			return nil, err
		}
	}
	if s.at == len(s.families) {
		return nil, fmt.Errorf("column family %s, which is not replaced or not in its turn", cf)
	}
	return &s.families[s.at], nil
}

// make returns the tables of the family whose pairs come.
func (s *staged) make() *tables {
	if s.made == nil {
		span := s.families[s.at].span()
		s.made = &tables{
			db: s.db, start: span.lower, end: span.upper,
			open: func() (objstorage.Writable, error) {
				file, _, err := s.create()
				if err != nil {
					return nil, err
				}
				return objstorageprovider.NewFileWritable(file), nil
			},
			done: func(table *sstable.Writer) error { s.afterTheOneBefore(table.Close); return nil },
		}
	}
	return s.made
}

// create opens the file of the family's next table.
func (s *staged) create() (_ *tableFile, path string, err error) {
	fs := s.db.opts.FS
	path = fs.PathJoin(s.db.ingestDir(), fmt.Sprintf("%d.sst", s.db.ingests.Add(1)))
	f := &s.families[s.at]
	f.paths = append(f.paths, path)
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, "", err
	}
	return newTableFile(file), path, nil
}

// afterTheOneBefore has a table closed, which syncs its file, when the one before has been. It returns at once.
func (s *staged) afterTheOneBefore(closeTable func() error) {
	before := <-s.closed
	go func() { s.closed <- firstError(before, closeTable()) }() // joined by the next, Finish or Discard
}

// leave ends a family.
func (s *staged) leave() error {
	for _, table := range s.came {
		if table.file != nil {
			return fmt.Errorf("column family %s ends within a table", s.families[s.at].cf)
		}
	}
	if !s.families[s.at].packed {
		if err := s.make().finish(); err != nil {
			return err
		}
	}
	s.made = nil
	s.at++
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
	for i := 0; err == nil && i < len(s.families); i++ {
		err = s.families[i].whole()
	}
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
	if s.made != nil { // given up half way
		s.made.abort()
	}
	for i := range s.came {
		s.came[i].abort()
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
