package pebbledb

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
// With it, OnDamage is told what the table spans, for nobody may ever read the block that a compaction has met. A range of such a table that is
// ingested anew is cut out of it (heal.go); after that the damage is met no more. Only what cannot go on without the damaged block
// poisons the engine: a flush, and a compaction of level 0 that has failed for L0Patience: pebble tries that again at once
// and for ever, while tables pile up. Below level 0 pebble leaves a failed compaction's tables alone for minutes, and all goes on.

// L0Patience is how long compactions of level 0 may fail before the engine gives up. It is many times what it takes to rebuild what is damaged.
const L0Patience = 2 * time.Minute

// tellAgain is how often OnDamage hears of the same table.
const tellAgain = 10 * time.Second

// damage is what the engine knows of its damaged tables.
type damage struct {
	mu     sync.Mutex
	tables map[string]*damagedTable // by path
	// failing is when the compactions of level 0 began to fail; zero while they do not.
	failing time.Time
	healed  healed
	// replaced counts the damaged ranges that are being, or have been, replaced.
	replaced atomic.Int64
}

type damagedTable struct {
	spans map[engine.CF]engine.Range
	told  time.Time
}

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
	now := time.Now()
	d.damage.mu.Lock()
	t, known := d.damage.tables[info.Path]
	if !known {
		t = &damagedTable{spans: make(map[engine.CF]engine.Range)}
		d.damage.tables[info.Path] = t
	}
	widen(t.spans, info.Bounds.Start, info.Bounds.End.Key)
	tell := now.Sub(t.told) >= tellAgain
	if tell {
		t.told = now
	}
	spans := make(map[engine.CF]engine.Range, len(t.spans))
	for cf, r := range t.spans { // order-free
		spans[cf] = r
	}
	d.damage.mu.Unlock()
	if !known {
		d.opts.Logger.Error("a table is damaged", zap.String("path", info.Path), zap.Error(info.Details))
	}
	if tell && d.opts.OnDamage != nil {
		d.opts.OnDamage(spans)
	}
}

// widen adds the span of pebble's keys from first to last to what is known of each family.
func widen(spans map[engine.CF]engine.Range, first, last []byte) {
	if len(first) == 0 || len(last) == 0 {
		first, last = []byte{0}, []byte{byte(engine.NumCFs)} // not known: all
	}
	for cf := engine.CF(first[0]); cf < engine.NumCFs && byte(cf) <= last[0]; cf++ {
		r := engine.Range{}
		if byte(cf) == first[0] {
			r.Start = first[1:]
		}
		if byte(cf) == last[0] {
			r.End = append(bytes.Clone(last[1:]), 0) // the last key belongs to it
		}
		if old, ok := spans[cf]; ok {
			if bytes.Compare(old.Start, r.Start) < 0 {
				r.Start = old.Start
			}
			if len(old.End) == 0 || len(r.End) > 0 && bytes.Compare(old.End, r.End) > 0 {
				r.End = old.End
			}
		}
		spans[cf] = r
	}
}

func overlap(a, b engine.Range) bool {
	return (len(b.End) == 0 || bytes.Compare(a.Start, b.End) < 0) && (len(a.End) == 0 || bytes.Compare(b.Start, a.End) < 0)
}

// damagedIn reports whether a table that is known to be damaged has, or had, a part in the ranges.
func (d *DB) damagedIn(replace map[engine.CF]engine.Range) bool {
	d.damage.mu.Lock()
	defer d.damage.mu.Unlock()
	found := false
	for path, t := range d.damage.tables { // order-free
		if _, err := d.opts.FS.Stat(path); err != nil {
			delete(d.damage.tables, path)
			continue
		}
		for cf, r := range replace { // order-free
			if span, ok := t.spans[cf]; ok && overlap(span, r) {
				found = true
			}
		}
	}
	return found
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

// compacted watches for how long level 0 has not been compacted.
func (d *DB) compacted(info pebble.CompactionInfo) {
	ofL0 := false
	for _, in := range info.Input {
		ofL0 = ofL0 || in.Level == 0
	}
	if !ofL0 || info.Err != nil && !pebble.IsCorruptionError(info.Err) {
		return
	}
	now := time.Now()
	d.damage.mu.Lock()
	switch {
	case info.Err == nil:
		d.damage.failing = time.Time{}
	case d.damage.failing.IsZero():
		d.damage.failing = now
	}
	failing := d.damage.failing
	d.damage.mu.Unlock()
	if !failing.IsZero() && now.Sub(failing) > L0Patience {
		d.fault.fail(fmt.Errorf("level 0 cannot be compacted: what is damaged was not rebuilt in %s: %w", L0Patience, info.Err))
	}
}

// healed are the ranges that were cut out of damaged tables, oldest first. A snapshot from before shows nothing there: it must not be read.
type healed struct {
	begun, done atomic.Int64
	mu          sync.Mutex
	spans       []span
}

type span struct{ lower, upper []byte }

// begin notes ranges that will be cut out.
func (h *healed) begin(spans []span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spans = append(h.spans, spans...)
	h.begun.Store(int64(len(h.spans)))
}

// end says that it has been done: snapshots from now on show what is there instead.
func (h *healed) end() { h.done.Store(h.begun.Load()) }

// check fails when part of a range, or a key if there is no upper bound, was cut out since done was seen. It is asked after the read.
func (h *healed) check(seen int64, lower, upper []byte) error {
	if h.begun.Load() == seen {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spans[seen:] {
		begins := bytes.Compare(lower, s.upper) < 0
		ends := upper == nil && bytes.Compare(s.lower, lower) <= 0 || bytes.Compare(s.lower, upper) < 0
		if begins && ends {
			return &engine.CorruptionError{Cause: engine.ErrHealed}
		}
	}
	return nil
}
