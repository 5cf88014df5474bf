package machine

import (
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// RegionView is what readers may know of a region without asking its owner: immutable, published by the raft worker before any message
// leaves that could make it untrue, and replaced as a whole.
type RegionView struct {
	Region *metapb.Region
	PeerID uint64
	// Leader is the leader as far as it is known here, nil when it is not.
	Leader *metapb.Peer
	Term   uint64
	// IsLeader says that this peer leads in Term.
	IsLeader bool
	// Ready says that the leader has applied an entry of its own term, hence all that was acknowledged before it.
	Ready bool
	// LeaseEnd is when the leader must stop answering reads by itself; 0 without a lease.
	LeaseEnd Instant
	// Initialized says that the peer has its region's data, and no snapshot is about to take its place. Gone says that there is no such peer any more.
	Initialized, Gone bool
	// Siblings are what was split off the region last, as it was then: whoever asks with the epoch before that is told of them.
	Siblings []*metapb.Region
	// Asleep says that no ticks pass on the peer until something reaches it.
	Asleep bool
	// Damaged says that the engine cannot read the peer's data: it serves nobody.
	Damaged bool
	// Log is for people: applied, committed and last index, and the first that is still there.
	Log LogStatus
}

// LogStatus shows where a peer's log stands.
type LogStatus struct {
	Truncated uint64 `json:"truncated"`
	Applied   uint64 `json:"applied"`
	Committed uint64 `json:"committed"`
	Stabled   uint64 `json:"stabled"`
	Last      uint64 `json:"last"`
	LastTerm  uint64 `json:"last_term"`
	// Bytes is about what the log takes.
	Bytes uint64 `json:"bytes"`
}

// CheckPeer answers whether a request for the region, made for the given peer (0: any), can be served by this peer: by any, or as leader.
// The order of the checks is that of the wire protocol: peer, leader, initialized.
func (v *RegionView) CheckPeer(regionID, peerID uint64, anyReplica bool) error {
	switch {
	case v == nil || v.Gone:
		return &region.NotFoundError{RegionID: regionID}
	case peerID != 0 && peerID != v.PeerID:
		return &region.MismatchPeerIDError{Requested: peerID, Actual: v.PeerID}
	case !v.IsLeader && (!anyReplica || v.Leader == nil):
		return &region.NotLeaderError{RegionID: regionID, Leader: v.Leader}
	case !v.Initialized:
		return &region.NotInitializedError{RegionID: regionID}
	case v.Damaged:
		return damagedError(v.Region, v.PeerID, v.Leader)
	}
	return nil
}

// CheckTerm refuses a request whose sender saw a term more than one older than the leader's.
func (v *RegionView) CheckTerm(term uint64) error {
	if term != 0 && term+1 < v.Term {
		return &region.StaleCommandError{RegionID: v.Region.Id}
	}
	return nil
}

// CheckVersion refuses a request that was made for another range. Reads and writes do not care who the peers are.
func (v *RegionView) CheckVersion(version uint64) error {
	if version != v.Region.GetRegionEpoch().GetVersion() {
		return &region.EpochNotMatchError{RegionID: v.Region.Id, Current: withSiblings(v.Region, v.Siblings)}
	}
	return nil
}

// StillShows is the second half of a read that was granted: the engine's snapshot was taken in between, and shows the region's data only if the peer
// is the same, and neither its range nor its data was about to change when v was loaded.
func (v *RegionView) StillShows(before *RegionView) error {
	switch {
	case v == nil || v.Gone || v.PeerID != before.PeerID:
		return &region.NotFoundError{RegionID: before.Region.Id}
	case !v.Initialized:
		return &region.NotInitializedError{RegionID: before.Region.Id}
	case v.Damaged:
		return damagedError(v.Region, v.PeerID, v.Leader)
	}
	return v.CheckVersion(before.Region.GetRegionEpoch().GetVersion())
}

// HasLease reports whether a read may be served at now without asking anybody.
func (v *RegionView) HasLease(now Instant) bool {
	return v.IsLeader && v.Ready && now < v.LeaseEnd
}

// StillHolds is the second half of a read under a lease. before was loaded, then the engine's snapshot was taken, then
// v was loaded and now was read: only if nothing that matters changed, and the lease still ran at now, does the
// snapshot show everything that was acknowledged before the read began (R11: the order of these steps is the proof).
func (v *RegionView) StillHolds(before *RegionView, now Instant) bool {
	return v != nil && !v.Gone && !v.Damaged && v.Term == before.Term && v.HasLease(now) && region.SameEpoch(v.Region.RegionEpoch, before.Region.RegionEpoch)
}
