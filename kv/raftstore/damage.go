package raftstore

import (
	"bytes"
	"context"
	stderrors "errors"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// FindDamage finds out whose data is damaged in a table that spans so much of each column family: perhaps nobody has read for a region, but a
// compaction. Each region's part is read, and the region's owner told (machine/op_damage.go); it may be nobody's, when nothing of what is damaged is
// in use any more. The store's own records can be had from nowhere else: when it is they that are damaged, the store stops.
func (s *Store) FindDamage(ctx context.Context, spans map[engine.CF]engine.Range) {
	if r, ok := spans[engine.Local]; ok {
		err := s.reading(func(snap engine.Snapshot) error { return readThrough(ctx, snap, engine.Local, r) })
		if engine.IsCorruption(err) && !stderrors.Is(err, engine.ErrHealed) {
			s.fail(errors.Annotate(err, "the store's own records are damaged: start a new store in its place"))
			return
		}
	}
	var views []*machine.RegionView
	s.Views(func(_ uint64, v *machine.RegionView) bool {
		if !v.Gone && v.Initialized && !v.Damaged {
			views = append(views, v)
		}
		return true
	})
	for _, v := range views {
		err := s.reading(func(snap engine.Snapshot) error { return readParts(ctx, snap, v.Region, spans) })
		if engine.IsCorruption(err) && !stderrors.Is(err, engine.ErrHealed) {
			s.Damaged(v.Region.Id, v.PeerID, err)
		}
	}
}

// reading runs f on the data as they are now.
func (s *Store) reading(f func(engine.Snapshot) error) error {
	snap := s.opts.Disk.State.NewSnapshot()
	defer func() { _ = snap.Close() }() // nothing is lost by that
	return f(snap)
}

// readParts reads what of a region lies in the spans.
func readParts(ctx context.Context, snap engine.Snapshot, r *metapb.Region, spans map[engine.CF]engine.Range) error {
	for _, cf := range engine.DataCFs {
		span, ok := spans[cf]
		if !ok {
			continue
		}
		if bytes.Compare(span.Start, r.StartKey) < 0 {
			span.Start = r.StartKey
		}
		if len(span.End) == 0 || len(r.EndKey) > 0 && bytes.Compare(r.EndKey, span.End) < 0 {
			span.End = rangeEnd(r)
		}
		if err := readThrough(ctx, snap, cf, span); err != nil {
			return err
		}
	}
	return nil
}

func readThrough(ctx context.Context, snap engine.Snapshot, cf engine.CF, r engine.Range) (err error) {
	it, err := snap.NewIterator(cf, engine.IterOptions{Lower: r.Start, Upper: r.End})
	if err != nil {
		return err
	}
	defer func() {
		if e := it.Close(); err == nil {
			err = e
		}
	}()
	for ok := it.SeekGE(nil); ok && ctx.Err() == nil; ok = it.Next() {
	}
	return nil
}

func (s *Store) reportDamage(d *machine.ReportDamage) {
	s.opts.Metrics.damages.Inc()
	s.opts.Logger.Error("a replica is damaged: it serves nobody until it is rebuilt from another store",
		zap.Uint64("region", d.RegionID), zap.Uint64("peer", d.PeerID), zap.String("reason", d.Reason))
}

// tellDamaged tells a region's owner when a task met damage in its data.
func (s *Store) tellDamaged(t machine.Task, err error) {
	if !engine.IsCorruption(err) || stderrors.Is(err, engine.ErrHealed) {
		return
	}
	mail := machine.Damaged{RegionID: regionOf(t), Reason: err.Error()}
	switch t := t.(type) {
	case *machine.ComputeHash:
		mail.PeerID = t.PeerID
	case machine.BuildSnapshot:
		mail.PeerID = t.PeerID
	case machine.MeasureRegion:
		mail.PeerID = t.PeerID
	default:
		return
	}
	s.post(machine.Addressed{RegionID: mail.RegionID, Mail: mail})
}
