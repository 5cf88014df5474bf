package raftstore

import (
	"context"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// reporter turns leaders' reports into the scheduler's form. The estimate of a region's size may read the disk, hence a worker.
type reporter struct {
	s       *Store
	reports []machine.SchedulerCall
}

func (w *reporter) waiting() bool { return w.s.reports.waiting() }

func (w *reporter) step() bool {
	w.reports = w.s.reports.take(w.reports)
	for _, one := range w.reports {
		switch call := one.(type) {
		case machine.RegionHeartbeat:
			hb := w.s.heartbeat(&call)
			w.s.opts.Metrics.beats.WithLabelValues("region").Inc()
			w.s.opts.Metrics.orders.WithLabelValues("send").Inc()
			w.s.opts.Metrics.regionSize.Observe(float64(hb.ApproximateSize))
			w.s.opts.Scheduler.RegionHeartbeat(hb)
		case machine.AskSplit:
			w.s.askSplit(call)
		case machine.ReportSplit:
			w.s.opts.Scheduler.ReportBatchSplit(call.Regions)
		default:
			panic(errors.Errorf("raftstore: the scheduler cannot be told a %T", one))
		}
	}
	return true
}

func (s *Store) heartbeat(r *machine.RegionHeartbeat) *pdpb.RegionHeartbeatRequest {
	hb := &pdpb.RegionHeartbeatRequest{Region: r.Region, Leader: r.Leader, Term: r.Term, PendingPeers: r.Pending}
	for _, d := range r.Down {
		hb.DownPeers = append(hb.DownPeers, &pdpb.PeerStats{
			Peer: d.Peer, DownSeconds: uint64((time.Duration(d.Ticks) * s.opts.Tick).Seconds()),
		})
	}
	hb.ApproximateSize, hb.ApproximateKeys = r.Size, r.Keys
	if r.Size == 0 {
		// Until the region has been measured; the scheduler would take it for empty.
		hb.ApproximateSize, _ = s.opts.Disk.estimate(r.Region)
	}
	if s.opts.Flow != nil {
		s.opts.Flow(hb)
	}
	return hb
}

// Answer takes what the scheduler wants of a region. A region that has changed meanwhile refuses, and reports again.
func (s *Store) Answer(resp *pdpb.RegionHeartbeatResponse) {
	a := &machine.AdminRequest{RegionID: resp.RegionId, Epoch: resp.RegionEpoch}
	a.Done = func(err error) {
		if err != nil {
			s.opts.Logger.Info("the scheduler's wish was not done", zap.Uint64("region", resp.RegionId), zap.Error(err))
		}
	}
	order := ""
	switch {
	case resp.ChangePeer != nil:
		order, a.Op = "change_peer", changePeers(resp.ChangePeer)
	case len(resp.ChangePeerV2.GetChanges()) > 0: // without one it asks to leave a joint configuration, which the group does by itself
		order, a.Op = "change_peer", changePeers(resp.ChangePeerV2.Changes...)
	case resp.TransferLeader != nil:
		order, a.Op = "transfer_leader", machine.TransferLeader{To: resp.TransferLeader.Peer}
	case resp.SplitRegion != nil:
		// SCAN and APPROXIMATE ask for the middle, USEKEY brings keys.
		order, a.Op = "split", machine.Split{Keys: resp.SplitRegion.Keys}
	case resp.Merge != nil:
		order, a.Op = "merge", machine.Merge{Target: resp.Merge.Target}
	default:
		return
	}
	s.opts.Metrics.orders.WithLabelValues(order).Inc()
	s.Admin(a)
}

func (s *Store) askSplit(call machine.AskSplit) {
	mail, began := machine.SplitIDs{RegionID: call.Region.Id, Version: call.Region.RegionEpoch.Version}, time.Now()
	s.opts.Scheduler.AskBatchSplit(call.Region, call.Count, func(ids []*pdpb.SplitID, err error) {
		s.opts.Metrics.askedFor("ask_batch_split", began)
		if err != nil {
			s.opts.Logger.Info("the scheduler gave no ids for a split", zap.Uint64("region", mail.RegionID), zap.Error(err))
		}
		for _, id := range ids {
			mail.IDs = append(mail.IDs, machine.SplitID{RegionID: id.NewRegionId, PeerIDs: id.NewPeerIds})
		}
		s.post(machine.Addressed{RegionID: mail.RegionID, Mail: mail})
	})
}

func changePeers(wanted ...*pdpb.ChangePeer) machine.ChangePeers {
	var op machine.ChangePeers
	for _, w := range wanted {
		op.Changes = append(op.Changes, command.PeerChange{Type: w.ChangeType, Peer: w.Peer})
	}
	return op
}

// sweepSnapshots removes what was received and never installed, and lets go of what is held and may not be sent any more.
func (s *Store) sweepSnapshots() {
	if s.opts.SnapshotAge == 0 {
		return
	}
	if err := s.opts.Disk.Snapshots.Sweep(time.Now(), s.opts.SnapshotAge); err != nil {
		s.opts.Logger.Warn("old snapshots", zap.Error(err))
	}
}

func (s *Store) runStoreHeartbeats(done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-done
		cancel()
	}()
	defer cancel()
	ticker := time.NewTicker(s.opts.StoreHeartbeatInterval)
	defer ticker.Stop()
	start := uint32(time.Now().Unix())
	for {
		s.sweepSnapshots()
		stats := s.storeStats(start)
		once, end := context.WithTimeout(ctx, 5*time.Second)
		began := time.Now()
		if err := s.opts.Scheduler.StoreHeartbeat(once, stats); err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("store heartbeat", zap.Error(err))
		}
		end()
		s.opts.Metrics.beats.WithLabelValues("store").Inc()
		s.opts.Metrics.askedFor("store_heartbeat", began)
		select {
		case <-ticker.C:
		case <-s.beat:
		case <-done:
			return
		}
	}
}

func (s *Store) storeStats(start uint32) *pdpb.StoreStats {
	stats := &pdpb.StoreStats{StoreId: s.storeID, StartTime: start}
	s.Views(func(id uint64, v *machine.RegionView) bool {
		stats.RegionCount++
		if v.Damaged {
			stats.DamagedRegionsId = append(stats.DamagedRegionsId, id)
		}
		return true
	})
	slices.Sort(stats.DamagedRegionsId)
	s.opts.Stats(stats)
	return stats
}
