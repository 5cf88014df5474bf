package badgerdb

import (
	"bytes"
	"fmt"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Ingest reads the sources into one batch, which is committed whole, then commits Also. Badger could take in tables,
// but it has no tombstone for a range that would go in with them. Nothing has changed when a source fails.
func (d *DB) Ingest(in engine.Ingestion) error {
	if err := d.usable(); err != nil {
		return err
	}
	b := &batch{db: d}
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		r, ok := in.Replace[cf]
		if !ok || len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0 {
			continue
		}
		b.DeleteRange(cf, r.Start, r.End)
		if err := b.addSource(cf, r, in.Open); err != nil {
			return fmt.Errorf("ingest: column family %s: %w", cf, err)
		}
	}
	if err := b.Commit(true); err != nil {
		return err
	}
	if in.Also != nil {
		return in.Also.Commit(true)
	}
	return nil
}

func (b *batch) addSource(cf engine.CF, r engine.Range, open func(engine.CF) (engine.Source, error)) (err error) {
	if open == nil {
		return nil
	}
	src, err := open(cf)
	if err != nil || src == nil {
		return err
	}
	defer func() { err = firstError(err, src.Close()) }()
	var last []byte
	for first := true; src.Next(); first = false {
		key := src.Key()
		if bytes.Compare(key, r.Start) < 0 || len(r.End) > 0 && bytes.Compare(key, r.End) >= 0 {
			return fmt.Errorf("key %x is outside of the replaced range [%x, %x)", key, r.Start, r.End)
		}
		if !first && bytes.Compare(key, last) <= 0 {
			return fmt.Errorf("key %x follows key %x", key, last)
		}
		b.Put(cf, key, src.Value())
		if b.size > MaxBatchBytes {
			return &LimitError{"batch", int64(b.size), MaxBatchBytes}
		}
		last = b.ops[len(b.ops)-1].key[1:]
	}
	return nil
}
