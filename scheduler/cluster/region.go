package cluster

import (
	"bytes"
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// Region is what is known of one region. It is immutable: a heartbeat brings a new one.
type Region struct {
	Meta *metapb.Region
	// Leader and Term are those of the last heartbeat; nil and 0 for a region that is only known from the durable map.
	Leader *metapb.Peer
	Term   uint64
	// Down are peers that the leader has not heard of for a while, Pending those that are not yet caught up.
	Down    []DownPeer
	Pending []*metapb.Peer
	Load    Load
	// Flow is what the picture makes of one report after the other.
	Flow Flow
}

// DownPeer is a peer that its leader has not heard of for Seconds.
type DownPeer struct {
	Peer    *metapb.Peer
	Seconds uint64
}

// ID is the region's id.
func (r *Region) ID() uint64 { return r.Meta.Id }

// OnStore is the region's peer on a store, or nil.
func (r *Region) OnStore(store uint64) *metapb.Peer {
	for _, peer := range r.Meta.Peers {
		if peer.StoreId == store {
			return peer
		}
	}
	return nil
}

// Peer is the region's peer of an id, or nil.
func (r *Region) Peer(id uint64) *metapb.Peer {
	for _, peer := range r.Meta.Peers {
		if peer.Id == id {
			return peer
		}
	}
	return nil
}

// LeaderStore is the store whose peer leads, 0 if that is not known.
func (r *Region) LeaderStore() uint64 { return r.Leader.GetStoreId() }

// IsPending says that a peer is not caught up.
func (r *Region) IsPending(id uint64) bool {
	for _, peer := range r.Pending {
		if peer.Id == id {
			return true
		}
	}
	return false
}

// DownSeconds is for how long the leader has not heard of a peer; 0 if it has.
func (r *Region) DownSeconds(id uint64) uint64 {
	for _, d := range r.Down {
		if d.Peer.GetId() == id {
			return max(1, d.Seconds)
		}
	}
	return 0
}

// Covers says that the whole range of another region lies in this one's.
func (r *Region) Covers(other *Region) bool {
	return bytes.Compare(r.Meta.StartKey, other.Meta.StartKey) <= 0 &&
		(len(r.Meta.EndKey) == 0 || len(other.Meta.EndKey) > 0 && bytes.Compare(other.Meta.EndKey, r.Meta.EndKey) <= 0)
}

// Voters is how many peers vote, in both configurations if there are two.
func (r *Region) Voters() int {
	n := 0
	for _, peer := range r.Meta.Peers {
		if peer.Role != metapb.PeerRole_Learner {
			n++
		}
	}
	return n
}

// InJoint says that the region is in the middle of a change of several peers.
func (r *Region) InJoint() bool {
	for _, peer := range r.Meta.Peers {
		if peer.Role == metapb.PeerRole_IncomingVoter || peer.Role == metapb.PeerRole_DemotingVoter {
			return true
		}
	}
	return false
}

// Weight is what the region weighs when stores are compared: its size in MiB, and 1 at least, so that empty regions count too.
func (r *Region) Weight() int64 { return int64(max(1, (r.Load.Size+mebibyte-1)/mebibyte)) }

const mebibyte = 1 << 20

// StaleError says that a region report is older than what is known.
type StaleError struct{ Reported, Known *Region }

// Error names both sides.
func (e *StaleError) Error() string {
	return fmt.Sprintf("region is stale: region %d {%v} term %d, known: region %d {%v} term %d",
		e.Reported.ID(), e.Reported.Meta.RegionEpoch, e.Reported.Term, e.Known.ID(), e.Known.Meta.RegionEpoch, e.Known.Term)
}

// Change is what taking in a region changes beyond the region's load.
type Change struct {
	// Meta says that the region's meta is news: new, or with another epoch or peers. It has to be saved.
	Meta bool
	// Leader says that another peer leads.
	Leader bool
	// New says that the region was not known, nor lately taken in by others.
	New bool
	// Overlapped are the regions that the new one pushes out of the picture.
	Overlapped []*Region
}

// CheckRegion compares a reported region with the picture, without changing it. A report is stale, and the answer a
// *StaleError, if it is behind the known region of the same id in version, conf version or raft term, or behind a region
// it overlaps in version (PITFALLS P3). A deposed leader that keeps heartbeating is caught by its term.
func (p *Picture) CheckRegion(r *Region) (Change, error) {
	var change Change
	epoch := r.Meta.GetRegionEpoch()
	known := p.Region(r.ID())
	if known == nil {
		// A leader that was cut off must not fill the hole that its region has left with what it remembers (P3, P4).
		last := p.displaced[r.ID()]
		if last != nil && r.behind(last) {
			return Change{}, &StaleError{Reported: r, Known: last}
		}
		change.Meta, change.Leader, change.New = true, r.Leader != nil, last == nil
	} else {
		old := known.Meta.GetRegionEpoch()
		if r.behind(known) {
			return Change{}, &StaleError{Reported: r, Known: known}
		}
		change.Meta = epoch.GetVersion() != old.GetVersion() || epoch.GetConfVer() != old.GetConfVer() ||
			!samePeers(r.Meta.Peers, known.Meta.Peers)
		change.Leader = r.Leader.GetId() != known.Leader.GetId()
	}
	if known != nil && sameRange(r.Meta, known.Meta) {
		return change, nil
	}
	for _, other := range p.regions.overlapping(r.Meta.StartKey, r.Meta.EndKey) {
		if other.ID() == r.ID() {
			continue
		}
		if epoch.GetVersion() < other.Meta.GetRegionEpoch().GetVersion() {
			return Change{}, &StaleError{Reported: r, Known: other}
		}
		change.Overlapped = append(change.Overlapped, other)
	}
	return change, nil
}

// behind says that another picture of the same region is newer in version, conf version or raft term.
func (r *Region) behind(known *Region) bool {
	epoch, old := r.Meta.GetRegionEpoch(), known.Meta.GetRegionEpoch()
	return epoch.GetVersion() < old.GetVersion() || epoch.GetConfVer() < old.GetConfVer() || r.Term > 0 && r.Term < known.Term
}

// PutRegion takes in a region that CheckRegion let through, with the change that it found. The region is the picture's from now on: its
// flow is worked out, and what it has in common with the one before is shared with it.
func (p *Picture) PutRegion(r *Region, change Change) {
	for _, other := range change.Overlapped {
		p.dropRegion(other)
		p.displace(other)
	}
	delete(p.displaced, r.ID())
	old := p.Region(r.ID())
	if old != nil {
		r.Flow = old.Flow.after(r.Load)
		if !change.Meta && sameRange(old.Meta, r.Meta) {
			r.Meta = old.Meta
		}
	} else {
		r.Flow = Flow{}.after(r.Load)
	}
	if leader := r.Peer(r.Leader.GetId()); leader != nil && leader.StoreId == r.Leader.StoreId {
		r.Leader = leader
	}
	if r.Leader != nil && (old == nil || old.Leader == nil) {
		p.heard++
	} else if r.Leader == nil && old != nil && old.Leader != nil {
		p.heard--
	}
	if old != nil {
		p.count(old, -1)
	}
	p.count(r, +1)
	p.places.move(p.regions.put(r), old)
}

// Forget takes a region out until it reports again; false if it is not known. A report that is behind what was known stays refused.
func (p *Picture) Forget(id uint64) bool {
	r := p.Region(id)
	if r == nil {
		return false
	}
	p.dropRegion(r)
	p.displace(r)
	return true
}

func (p *Picture) dropRegion(r *Region) {
	e := p.regions.byID[r.ID()]
	p.regions.remove(r)
	p.places.clear(e)
	p.count(r, -1)
	if r.Leader != nil {
		p.heard--
	}
}

func (p *Picture) count(r *Region, sign int) {
	size := r.Load.Size * uint64(sign) // wraps around on purpose: adding it takes away
	weight := int64(sign) * r.Weight()
	for _, peer := range r.Meta.Peers {
		t := p.tallies[peer.StoreId]
		if t == nil {
			t = new(Tally)
			p.tallies[peer.StoreId] = t
		}
		t.Regions += sign
		t.RegionSize += size
		t.RegionWeight += weight
		t.Write.add(r.Flow.Write, sign)
		if peer.Role == metapb.PeerRole_Learner {
			t.Learners += sign
		}
		if r.Leader != nil && peer.Id == r.Leader.Id {
			t.Leaders += sign
			t.LeaderSize += size
			t.LeaderWeight += weight
			t.Read.add(r.Flow.Read, sign)
			t.LeaderWrite.add(r.Flow.Write, sign)
		}
	}
	for _, peer := range r.Pending {
		if t := p.tallies[peer.StoreId]; t != nil {
			t.Pending += sign
		}
	}
}

func samePeers(a, b []*metapb.Peer) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Id != b[i].Id || a[i].StoreId != b[i].StoreId || a[i].Role != b[i].Role {
			return false
		}
	}
	return true
}
