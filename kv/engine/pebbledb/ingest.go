package pebbledb

import (
	"bufio"
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Ingest writes tables for each column family, which hold tombstones over the replaced range and the new pairs, and hands
// them to pebble, which takes all of them in with one edit: within a table the tombstone hides what is older than the table
// and nothing of the table itself. Excising the range instead would be cheaper, but it removes what open snapshots still
// show; here the old data goes when they are closed.
//
// The order: the tables are written and synced, under a name that Open clears away; the log is synced, so that nothing
// committed earlier can be lost when the tables are not; pebble links the tables in and makes that durable; Also is
// committed with a sync. A failure before the link changes nothing. A crash before Also leaves the data without it: whoever ingests puts
// down a marker beforehand, and Also takes it away.
func (d *DB) Ingest(in engine.Ingestion) error {
	if err := d.usable(); err != nil {
		return err
	}
	paths, err := d.writeTables(in)
	defer func() {
		for _, path := range paths { // pebble has linked and removed them, unless something failed
			_ = d.opts.FS.Remove(path)
		}
	}()
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	if len(paths) > 0 {
		if err := d.Sync(); err != nil {
			return err
		}
		err := d.pdb.Ingest(context.Background(), paths)
		d.pin.drop()
		if fatal := d.fault.err(); fatal != nil {
			return fatal
		}
		if err != nil {
			return fmt.Errorf("ingest: %w", err)
		}
	}
	if in.Also != nil {
		return in.Also.Commit(true)
	}
	return nil
}

func (d *DB) writeTables(in engine.Ingestion) (paths []string, err error) {
	if err := d.opts.FS.MkdirAll(d.ingestDir(), 0o755); err != nil {
		return nil, err
	}
	w := &tableWriter{db: d, closed: make(chan error, 1)}
	w.closed <- nil
	for cf := engine.CF(0); cf < engine.NumCFs && err == nil; cf++ {
		r, ok := in.Replace[cf]
		if !ok || (len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0) {
			continue
		}
		if err = w.replace(cf, r, in.Open); err != nil {
			err = fmt.Errorf("column family %s: %w", cf, err)
		}
	}
	if w.table != nil { // given up half way
		err = firstError(err, w.table.Close())
	}
	return w.paths, firstError(err, <-w.closed)
}

const (
	// tableTarget is the size in bytes of keys and values at which a table ends.
	tableTarget = 128 << 20
	// tableBuffer is how much of a table goes to the kernel at once, tableWriteback after how many bytes it is asked to write back.
	tableBuffer, tableWriteback = 256 << 10, 1 << 20
)

// tableWriter writes the tables of an ingestion, one after the other. While one is being made durable the next is filled.
type tableWriter struct {
	db    *DB
	paths []string
	table *sstable.Writer // nil between two tables
	size  int
	// closed holds the outcome of the table before: taken by whoever closes the next.
	closed chan error
}

// replace writes the tables that take the place of a family's range: together their tombstones cover it.
func (w *tableWriter) replace(cf engine.CF, r engine.Range, open func(engine.CF) (engine.Source, error)) error {
	src := engine.Source(nothing{})
	if open != nil {
		s, err := open(cf)
		if err != nil {
			return err
		}
		if s != nil {
			src = s
		}
	}
	err := w.fill(cf, r, src)
	return firstError(err, src.Close())
}

func (w *tableWriter) fill(cf engine.CF, r engine.Range, src engine.Source) error {
	start, key := appendKey(nil, cf, r.Start), []byte(nil)
	for src.Next() {
		k := src.Key()
		if bytes.Compare(k, r.Start) < 0 || (len(r.End) > 0 && bytes.Compare(k, r.End) >= 0) {
			return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", k, r.Start, r.End)
		}
		key = appendKey(key[:0], cf, k)
		if w.table != nil && w.size >= tableTarget {
			end := bytes.Clone(key)
			if err := w.finish(start, end); err != nil {
				return err
			}
			start = end
		}
		if err := w.begin(); err != nil {
			return err
		}
		value := src.Value()
		if err := w.table.Set(key, value); err != nil { // also refuses keys that are out of order
			return err
		}
		w.size += len(key) + len(value)
	}
	if err := w.begin(); err != nil {
		return err
	}
	return w.finish(start, appendEnd(nil, cf, r.End))
}

// begin makes sure that there is a table to write to.
func (w *tableWriter) begin() error {
	if w.table != nil {
		return nil
	}
	d := w.db
	path := d.opts.FS.PathJoin(d.ingestDir(), fmt.Sprintf("%d.sst", d.ingests.Add(1)))
	w.paths = append(w.paths, path)
	file, err := d.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	file = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: tableWriteback})
	file = &bufferedFile{File: file, buf: bufio.NewWriterSize(file, tableBuffer)}
	w.table = sstable.NewWriter(objstorageprovider.NewFileWritable(file), d.popts.MakeWriterOptions(0, d.pdb.TableFormat()))
	w.size = 0
	return nil
}

// finish ends a table, whose tombstone covers [start, end), and lets it be closed, which syncs its file, when the one before has been.
func (w *tableWriter) finish(start, end []byte) error {
	if err := w.table.DeleteRange(start, end); err != nil {
		return err
	}
	table := w.table
	w.table = nil
	before := <-w.closed
	go func() { w.closed <- firstError(before, table.Close()) }() // joined by the next finish, or by writeTables
	return nil
}

// bufferedFile gathers the blocks of a table, which are small.
type bufferedFile struct {
	vfs.File
	buf *bufio.Writer
}

func (f *bufferedFile) Write(p []byte) (int, error) { return f.buf.Write(p) }
func (f *bufferedFile) Sync() error                 { return firstError(f.buf.Flush(), f.File.Sync()) }

func (f *bufferedFile) Close() error { return firstError(f.buf.Flush(), f.File.Close()) }

// nothing is the Source of a family that is only emptied.
type nothing struct{}

func (nothing) Next() bool    { return false }
func (nothing) Key() []byte   { return nil }
func (nothing) Value() []byte { return nil }
func (nothing) Close() error  { return nil }

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
