package raftstore

import (
	"bytes"
	"slices"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// eraseStray deletes the data that belongs to no region. A snapshot's tables are in the engine shortly before the batch that says whose they are; a crash in between
// leaves them, and the next snapshot of the region may have a smaller range. Nobody would ever be served them, nor would they ever go.
func (d *Disk) eraseStray(snap engine.Snapshot, regions []machine.Restored) error {
	sorted := slices.SortedFunc(slices.Values(regions), func(a, b machine.Restored) int {
		return bytes.Compare(a.Region.StartKey, b.Region.StartKey)
	})
	batch := d.State.NewBatch()
	defer func() { _ = batch.Close() }()
	erase := func(start, end []byte) error {
		for _, cf := range engine.DataCFs {
			switch found, err := holds(snap, cf, start, end); {
			case err != nil:
				return err
			case found:
				batch.DeleteRange(cf, start, end)
			}
		}
		return nil
	}
	from, last := []byte{}, false
	for _, r := range sorted {
		if bytes.Compare(from, r.Region.StartKey) < 0 {
			if err := erase(from, r.Region.StartKey); err != nil {
				return err
			}
		}
		from, last = r.Region.EndKey, len(r.Region.EndKey) == 0
	}
	if !last {
		if err := erase(from, nil); err != nil {
			return err
		}
	}
	if batch.Size() == 0 {
		return nil
	}
	return errors.Annotate(batch.Commit(true), "erase the data of no region")
}

// holds reports whether a range has a key.
func holds(snap engine.Snapshot, cf engine.CF, start, end []byte) (bool, error) {
	it, err := snap.NewIterator(cf, engine.IterOptions{Lower: start, Upper: end})
	if err != nil {
		return false, err
	}
	found := it.SeekGE(start)
	return found, it.Close()
}
