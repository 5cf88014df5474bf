package pebbledb

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
)

// A table that is not what was written. pebble checks a block's checksum whenever it comes from the disk, so that damage is met, never
// served. What then?
//
// A read answers a CorruptionError: whoever reads knows which data it is, and that it is to be had elsewhere.
//
// Without SurviveDamage, and that is right for a raft log, the engine is poisoned as well.
//
// With it, only what cannot go on without the damaged block poisons the engine: a flush, and a compaction of level 0, which pebble
// would try again at once and for ever while tables pile up. Below level 0 pebble leaves a failed compaction's range alone for
// minutes; the tables stay as they are. A range that is deleted and ingested anew hides the damage, and where it hides all of a table, pebble
// drops that unread.

// readError tells damage from every other failure of a read.
func readError(err error) error {
	if pebble.IsCorruptionError(err) {
		return &engine.CorruptionError{Cause: err}
	}
	return err
}

// tableDamaged is told by pebble whenever it meets damage, whoever reads.
func (d *DB) tableDamaged(info pebble.DataCorruptionInfo) {
	if !d.opts.SurviveDamage {
		d.fault.fail(fmt.Errorf("%s", info))
		return
	}
	d.opts.Logger.Error("a table is damaged", zap.String("path", info.Path), zap.Error(info.Details))
}

func (d *DB) backgroundFailed(err error) {
	if d.opts.SurviveDamage && pebble.IsCorruptionError(err) {
		return // tableDamaged, compacted or flushed has seen to it
	}
	d.fault.fail(fmt.Errorf("background work: %w", err))
}

func (d *DB) flushed(info pebble.FlushInfo) {
	if pebble.IsCorruptionError(info.Err) {
		d.fault.fail(fmt.Errorf("flush: %w", info.Err))
	}
}

func (d *DB) compacted(info pebble.CompactionInfo) {
	if !pebble.IsCorruptionError(info.Err) {
		return
	}
	for _, in := range info.Input {
		if in.Level == 0 {
			d.fault.fail(fmt.Errorf("compaction of level 0: %w", info.Err))
			return
		}
	}
}

// maxRewrite bounds what rewrite holds in memory. It is several times what a region may grow to.
const maxRewrite = 1 << 30

// rewrite is Ingest for a range whose old tables are damaged, which pebble looks into to find the level for new ones: one batch, which looks
// at nothing. It costs memory, and writes everything twice.
func (d *DB) rewrite(in engine.Ingestion) (err error) {
	b := d.NewBatch()
	defer func() { err = firstError(err, b.Close()) }()
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		r, ok := in.Replace[cf]
		if !ok || (len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0) {
			continue
		}
		b.DeleteRange(cf, r.Start, r.End)
		if in.Open == nil {
			continue
		}
		src, err := in.Open(cf)
		if err != nil {
			return err
		}
		if src == nil {
			continue
		}
		for src.Next() && b.Size() < maxRewrite {
			b.Put(cf, src.Key(), src.Value())
		}
		if err := src.Close(); err != nil {
			return err
		}
	}
	if b.Size() >= maxRewrite {
		return fmt.Errorf("the range is damaged, and what is to replace it takes more than %d bytes", maxRewrite)
	}
	return b.Commit(true)
}
