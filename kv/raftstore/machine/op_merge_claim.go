package machine

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
)

// The store's side of a merge: what becomes of a source whose target has got ahead of it by a snapshot, or has left the store (S3, S8).
//
// A snapshot claims its range. What stands in its way is another region's, and the claim is refused; unless that region was taken in by the
// snapshot's, as the records say that came with it. Then its peer is asked to yield, the claim waits for that, and the install absorbs it. A region that
// was taken in goes even if it is not in the way: nobody else might ever come for it. But as long as the target that took it in may come to its merge in the
// log on this store, it needs the source, and keeps it.

// mergeDuties is what the StoreMachine remembers of merges.
type mergeDuties struct {
	// into is, for each region of the store that is prepared for a merge, its target.
	into map[uint64]uint64
	// yielded are those that wait to be absorbed; waiting are the claims that wait for others to yield.
	yielded map[uint64]bool
	waiting []Claim
}

func newMergeDuties(restored []Restored) mergeDuties {
	d := mergeDuties{into: make(map[uint64]uint64), yielded: make(map[uint64]bool)}
	for _, r := range restored {
		if r.Merge != nil {
			d.into[r.Region.Id] = r.Merge.Target.GetId()
		}
	}
	return d
}

func (d *mergeDuties) note(regionID, into uint64) {
	if into == 0 {
		delete(d.into, regionID)
	} else {
		d.into[regionID] = into
	}
}

func (d *mergeDuties) forget(regionID uint64) {
	delete(d.into, regionID)
	delete(d.yielded, regionID)
}

func (d *mergeDuties) unclaim(regionID uint64) {
	d.waiting = slices.DeleteFunc(d.waiting, func(c Claim) bool { return c.Region.Id == regionID })
}

func (m *StoreMachine) handleClaim(round *Round, c Claim) {
	id := c.Region.Id
	absorbs := m.absorbs(c)
	if m.taken(c.Region, absorbs) {
		m.forward(round, id, ClaimGranted{RegionID: id})
		m.contest(round, c.Region, absorbs)
		return
	}
	m.claims[id] = c.Region
	ready := true
	for _, s := range absorbs {
		if !m.merges.yielded[s] {
			m.forward(round, s, Yield{s})
			ready = false
		}
	}
	if !ready {
		m.merges.waiting = append(m.merges.waiting, c)
		return
	}
	m.forward(round, id, ClaimGranted{RegionID: id, Granted: true, Absorbs: absorbs})
}

// retryClaims looks again at the claims that waited for others to yield.
func (m *StoreMachine) retryClaims(round *Round) {
	waiting := m.merges.waiting
	m.merges.waiting = nil
	for _, c := range waiting {
		delete(m.claims, c.Region.Id)
		m.handleClaim(round, c)
	}
}

// absorbs returns the regions of this store that a snapshot's region took in, or somebody whom it took in did, and whom nobody here needs for his log.
func (m *StoreMachine) absorbs(c Claim) (found []uint64) {
	for more := true; more; {
		more = false
		for _, r := range c.Records {
			s := r.SourceRegionId
			if m.index.byID[s] == nil || slices.Contains(found, s) {
				continue
			}
			if t := r.TargetRegionId; t == c.Region.Id || slices.Contains(found, t) || !m.mayNeed(t, r.TargetPeers) {
				found, more = append(found, s), true
			}
		}
	}
	return found
}

// mayNeed reports whether a target of which these were the peers may still come to its merge here, by its log.
func (m *StoreMachine) mayNeed(target uint64, peers []*metapb.Peer) bool {
	self := region.FindPeerOn(&metapb.Region{Peers: peers}, m.storeID)
	return self != nil && m.tombstones[target].PeerID < self.Id
}

// taken says that another region of the store, or a snapshot for one, has some of the range; but for those that are given up for it, and those
// that are going to be.
func (m *StoreMachine) taken(r *metapb.Region, but []uint64) bool {
	taken := false
	m.index.eachOverlapping(r, func(o *metapb.Region) bool {
		taken = !slices.Contains(but, o.Id)
		return !taken
	})
	for id, c := range m.claims { // order-free: any overlap refuses
		if id != r.Id && region.Overlaps(c, r) {
			taken = true
		}
	}
	return taken
}

// sourcesOf returns the regions of the store that are going to vanish in a region.
func (m *StoreMachine) sourcesOf(id uint64) (found []uint64) {
	for source, into := range m.merges.into { // order-free: a set
		if into == id {
			found = append(found, source)
		}
	}
	return found
}

// handleInherits moves the range of a region that ends to the one that has it from now on.
func (m *StoreMachine) handleInherits(mail Inherits) {
	m.index.remove(mail.From)
	m.merges.forget(mail.From)
	if _, ok := m.present[mail.Region.Id]; ok {
		m.index.put(mail.Region)
	}
}

// handleMergedAway decides what becomes of a peer that has heard from another store that its region was taken in.
func (m *StoreMachine) handleMergedAway(round *Round, mail MergedAway) {
	if m.present[mail.RegionID] != mail.PeerID {
		return
	}
	target := mail.Into.Target
	if _, ok := m.present[target.GetId()]; !ok {
		if !m.mayNeed(target.GetId(), target.GetPeers()) {
			m.forward(round, mail.RegionID, Discard(mail))
			return
		}
		m.seek(round, target)
	}
	// Its log has all that it takes to be what the target needs; and it may stand in others' way as long as it does not know its own range.
	m.forward(round, mail.RegionID, CatchUp{RegionID: mail.RegionID, PeerID: mail.PeerID, Index: mail.Into.Commit})
}

// seek makes the target's peer on this store, for it to ask what has become of it. No region is left here that it could be split off from, and it may itself have been removed
// before anybody made it: then nobody would say so, and its source would wait for it for ever. Found by the simulator (seed 1764).
func (m *StoreMachine) seek(round *Round, target *metapb.Region) {
	if m.taken(target, m.sourcesOf(target.Id)) {
		return
	}
	self := region.FindPeerOn(target, m.storeID)
	guide := &raft_serverpb.RaftMessage{
		RegionId: target.Id, FromPeer: self, ToPeer: self, RegionEpoch: target.RegionEpoch,
		ExtraMsg: &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse, CheckPeers: target.Peers},
	}
	m.create(round, guide)
	m.forward(round, target.Id, Contested{target.Id})
}

// tellMerged tells a member of a region that was taken in what became of it.
func tellMerged(round *Round, msg *raft_serverpb.RaftMessage, t Tombstone) {
	round.Send = append(round.Send, &raft_serverpb.RaftMessage{
		RegionId: msg.RegionId, FromPeer: msg.ToPeer, ToPeer: msg.FromPeer, RegionEpoch: msg.RegionEpoch, IsTombstone: true,
		MergeTarget: t.Into.Target,
		ExtraMsg:    &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse, Index: t.Into.Commit},
	})
}
