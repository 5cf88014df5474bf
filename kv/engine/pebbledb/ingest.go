package pebbledb

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Ingest writes one table per column family, which holds a tombstone over the replaced range and the new pairs, and hands
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
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		r, ok := in.Replace[cf]
		if !ok || (len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0) {
			continue
		}
		path := d.opts.FS.PathJoin(d.ingestDir(), fmt.Sprintf("%d.sst", d.ingests.Add(1)))
		paths = append(paths, path)
		if err := d.writeTable(path, cf, r, in.Open); err != nil {
			return paths, fmt.Errorf("column family %s: %w", cf, err)
		}
	}
	return paths, nil
}

func (d *DB) writeTable(path string, cf engine.CF, r engine.Range, open func(engine.CF) (engine.Source, error)) error {
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
	file, err := d.opts.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return firstError(err, src.Close())
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(file), d.popts.MakeWriterOptions(0, d.pdb.TableFormat()))
	err = fillTable(w, cf, r, src)
	err = firstError(err, src.Close())
	return firstError(err, w.Close()) // Close syncs the file
}

func fillTable(w *sstable.Writer, cf engine.CF, r engine.Range, src engine.Source) error {
	if err := w.DeleteRange(appendKey(nil, cf, r.Start), appendEnd(nil, cf, r.End)); err != nil {
		return err
	}
	var key []byte
	for src.Next() {
		k := src.Key()
		if bytes.Compare(k, r.Start) < 0 || (len(r.End) > 0 && bytes.Compare(k, r.End) >= 0) {
			return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", k, r.Start, r.End)
		}
		key = appendKey(key[:0], cf, k)
		if err := w.Set(key, src.Value()); err != nil { // also refuses keys that are out of order
			return err
		}
	}
	return nil
}

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
