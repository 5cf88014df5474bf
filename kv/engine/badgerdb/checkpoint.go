package badgerdb

import (
	"fmt"
	"os"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Checkpoint copies every pair, as of now, into a new database, which takes as long as writing them did. A copy that fails is
// removed, and does not poison the engine.
func (d *DB) Checkpoint(dir string) error {
	if err := d.usable(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := d.copyTo(dir); err != nil {
		_ = os.RemoveAll(dir)
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// copyTo needs no sync on the way: closing the copy writes all of it into tables, which are synced.
func (d *DB) copyTo(dir string) (err error) {
	opts := d.opts
	opts.Dir, opts.UnsafeNoSync, opts.NoCompaction, opts.OnFatal = dir, true, true, nil
	target, err := Open(opts)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, target.Close()) }()
	s := d.newSnapshot()
	defer func() { err = firstError(err, s.Close()) }()
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		if err := copyFamily(target, s, cf); err != nil {
			return err
		}
	}
	return nil
}

func copyFamily(target *DB, s *snapshot, cf engine.CF) error {
	it := s.newIterator(physicalStart(cf, nil), physicalEnd(cf, nil))
	b := target.NewBatch()
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		b.Put(cf, it.Key(), it.Value())
		if b.Size() < maxGroupBytes {
			continue
		}
		if err := b.Commit(false); err != nil {
			return firstError(err, it.Close())
		}
		b.Reset()
	}
	return firstError(it.Close(), b.Commit(false))
}
