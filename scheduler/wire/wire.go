// Package wire turns what stores say and hear into the scheduler's own words and back: pdpb on one side, scheduler/cluster and
// scheduler/schedule/operator on the other. The server and the simulator share it.
package wire

import (
	"math"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// Region is what a leader's heartbeat reports.
func Region(req *pdpb.RegionHeartbeatRequest) *cluster.Region {
	r := &cluster.Region{
		Meta: req.Region, Leader: req.Leader, Term: req.Term, Pending: req.PendingPeers,
		Load: cluster.Load{
			Size: req.ApproximateSize, Keys: req.ApproximateKeys,
			BytesWritten: req.BytesWritten, KeysWritten: req.KeysWritten,
			BytesRead: req.BytesRead, KeysRead: req.KeysRead,
			Seconds: seconds(req.Interval),
		},
	}
	for _, down := range req.DownPeers {
		r.Down = append(r.Down, cluster.DownPeer{Peer: down.Peer, Seconds: down.DownSeconds})
	}
	return r
}

func seconds(i *pdpb.TimeInterval) uint64 {
	if i.GetEndTimestamp() < i.GetStartTimestamp() {
		return 0
	}
	return i.GetEndTimestamp() - i.GetStartTimestamp()
}

// Command is what a leader hears in answer, or unasked.
func Command(c *operator.Command, clusterID uint64) *pdpb.RegionHeartbeatResponse {
	res := &pdpb.RegionHeartbeatResponse{
		Header:   &pdpb.ResponseHeader{ClusterId: clusterID},
		RegionId: c.Region, RegionEpoch: c.Epoch, TargetPeer: c.Leader,
	}
	switch o := c.Order.(type) {
	case operator.ChangePeer:
		res.ChangePeer = changePeer(o)
	case operator.ChangePeers:
		res.ChangePeerV2 = &pdpb.ChangePeerV2{}
		for _, change := range o.Changes {
			res.ChangePeerV2.Changes = append(res.ChangePeerV2.Changes, changePeer(change))
		}
	case operator.LeadBy:
		res.TransferLeader = &pdpb.TransferLeader{Peer: o.To, Peers: []*metapb.Peer{o.To}}
	case operator.SplitRegion:
		res.SplitRegion = &pdpb.SplitRegion{Policy: pdpb.CheckPolicy_APPROXIMATE}
		if len(o.Keys) > 0 {
			res.SplitRegion = &pdpb.SplitRegion{Policy: pdpb.CheckPolicy_USEKEY, Keys: o.Keys}
		}
	case operator.MergeRegion:
		res.Merge = &pdpb.Merge{Target: o.Target}
	}
	return res
}

func changePeer(c operator.ChangePeer) *pdpb.ChangePeer {
	return &pdpb.ChangePeer{Peer: c.Peer, ChangeType: c.Type}
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
		ApplyingSnapshots: s.ApplyingSnapCount,
		IsBusy:            s.IsBusy, SlowScore: s.SlowScore,
		Read:  rate(s.BytesRead, s.KeysRead, s.Interval),
		Write: rate(s.BytesWritten, s.KeysWritten, s.Interval),
	}
}

func rate(bytes, keys uint64, over *pdpb.TimeInterval) cluster.Rate {
	n := seconds(over)
	if n == 0 {
		return cluster.Rate{}
	}
	return cluster.Rate{Bytes: uint32(min(bytes/n, math.MaxUint32)), Keys: uint32(min(keys/n, math.MaxUint32))}
}

// StoreStats is Stats the other way round.
func StoreStats(s cluster.StoreStats) *pdpb.StoreStats {
	return &pdpb.StoreStats{
		Capacity: s.Capacity, Available: s.Available, UsedSize: s.UsedSize,
		RegionCount: s.RegionCount, StartTime: s.StartTime,
		SendingSnapCount: s.SendingSnapshots, ReceivingSnapCount: s.ReceivingSnapshots,
		ApplyingSnapCount: s.ApplyingSnapshots,
		IsBusy:            s.IsBusy, SlowScore: s.SlowScore,
	}
}
