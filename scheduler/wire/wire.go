// Package wire turns what stores say and hear into the scheduler's own words and back: pdpb on one side, scheduler/cluster and
// scheduler/machine on the other. The server and the simulator share it.
package wire

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// Region is what a leader's heartbeat reports.
func Region(req *pdpb.RegionHeartbeatRequest) *cluster.Region {
	r := &cluster.Region{
		Meta: req.Region, Leader: req.Leader, Term: req.Term, Pending: req.PendingPeers,
		Load: cluster.Load{
			Size: req.ApproximateSize, Keys: req.ApproximateKeys,
			BytesWritten: req.BytesWritten, KeysWritten: req.KeysWritten,
			BytesRead: req.BytesRead, KeysRead: req.KeysRead,
		},
	}
	for _, down := range req.DownPeers {
		r.Down = append(r.Down, cluster.DownPeer{Peer: down.Peer, Seconds: down.DownSeconds})
	}
	return r
}

// Command is what a leader hears in answer, or unasked.
func Command(c *machine.Command, clusterID uint64) *pdpb.RegionHeartbeatResponse {
	return &pdpb.RegionHeartbeatResponse{
		Header:   &pdpb.ResponseHeader{ClusterId: clusterID},
		RegionId: c.Region, RegionEpoch: c.Epoch, TargetPeer: c.Leader,
		ChangePeer: &pdpb.ChangePeer{Peer: c.Add, ChangeType: eraftpb.ConfChangeType_AddNode},
	}
}

// DownPeers are a region's as clients are told of them.
func DownPeers(r *cluster.Region) []*pdpb.PeerStats {
	if len(r.Down) == 0 {
		return nil
	}
	list := make([]*pdpb.PeerStats, 0, len(r.Down))
	for _, d := range r.Down {
		list = append(list, &pdpb.PeerStats{Peer: d.Peer, DownSeconds: d.Seconds})
	}
	return list
}

// Stats is what a store's heartbeat says of the store.
func Stats(s *pdpb.StoreStats) cluster.StoreStats {
	return cluster.StoreStats{
		Capacity: s.Capacity, Available: s.Available, UsedSize: s.UsedSize,
		RegionCount: s.RegionCount, StartTime: s.StartTime,
		SendingSnapshots: s.SendingSnapCount, ReceivingSnapshots: s.ReceivingSnapCount,
		IsBusy: s.IsBusy,
	}
}

// StoreStats is Stats the other way round.
func StoreStats(s cluster.StoreStats) *pdpb.StoreStats {
	return &pdpb.StoreStats{
		Capacity: s.Capacity, Available: s.Available, UsedSize: s.UsedSize,
		RegionCount: s.RegionCount, StartTime: s.StartTime,
		SendingSnapCount: s.SendingSnapshots, ReceivingSnapCount: s.ReceivingSnapshots,
		IsBusy: s.IsBusy,
	}
}
