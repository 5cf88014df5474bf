package sim

import (
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

// AskBatchSplit implements raftstore.Scheduler.
func (s *store) AskBatchSplit(r *metapb.Region, count int, answer func([]*pdpb.SplitID, error)) {
	life := s.p.Life()
	s.c.sched.askSplit(s.p, r, count, func(list []machine.SplitIDs) {
		if s.p.Life() != life {
			return
		}
		var ids []*pdpb.SplitID
		for _, id := range list {
			ids = append(ids, &pdpb.SplitID{NewRegionId: id.Region, NewPeerIds: id.Peers})
		}
		answer(ids, nil)
		s.pump()
	})
}

// ReportBatchSplit implements raftstore.Scheduler. The schedulers learn no more from it than from the parts' heartbeats, and keep nothing of it.
func (s *store) ReportBatchSplit([]*metapb.Region) {}
