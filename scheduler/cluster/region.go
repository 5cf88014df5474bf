package cluster

import (
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
}

// DownPeer is a peer that its leader has not heard of for Seconds.
type DownPeer struct {
	Peer    *metapb.Peer
	Seconds uint64
}

// Load is a region's estimated size and its traffic since the heartbeat before, in bytes and keys.
type Load struct {
	Size, Keys                uint64
	BytesWritten, KeysWritten uint64
	BytesRead, KeysRead       uint64
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
	// Overlapped are the regions that the new one pushes out of the picture.
	Overlapped []*Region
}

// CheckRegion compares a reported region with the picture, without changing it. A report is stale, and the answer a
// *StaleError, if it is behind the known region of the same id in version, conf version or raft term, or behind a region
// it overlaps in version (PITFALLS P3). A deposed leader that keeps heartbeating is caught by its term.
func (p *Picture) CheckRegion(r *Region) (Change, error) {
	var change Change
	epoch := r.Meta.GetRegionEpoch()
	known := p.regions.byID[r.ID()]
	if known == nil {
		// A leader that was cut off must not fill the hole that its region has left with what it remembers (P3, P4).
		if last := p.displaced[r.ID()]; last != nil && r.behind(last) {
			return Change{}, &StaleError{Reported: r, Known: last}
		}
		change.Meta, change.Leader = true, r.Leader != nil
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

// PutRegion takes in a region that CheckRegion let through, with the change that it found.
func (p *Picture) PutRegion(r *Region, change Change) {
	for _, other := range change.Overlapped {
		p.dropRegion(other)
		p.displaced[other.ID()] = other
	}
	delete(p.displaced, r.ID())
	if old := p.regions.byID[r.ID()]; old != nil {
		p.count(old, -1)
		if old.Meta.GetRegionEpoch().GetConfVer() != r.Meta.GetRegionEpoch().GetConfVer() {
			// What was proposed is a member now, or was one and has been removed before any heartbeat showed it: its id must not be used
			// again, for its store has buried it (S7, P5).
			p.forgetProposal(r.ID())
		}
	}
	p.regions.put(r)
	p.count(r, +1)
}

func (p *Picture) dropRegion(r *Region) {
	p.regions.remove(r)
	p.count(r, -1)
	p.forgetProposal(r.ID())
}

func (p *Picture) count(r *Region, sign int) {
	size := r.Load.Size * uint64(sign) // wraps around on purpose: adding it takes away
	for _, peer := range r.Meta.Peers {
		t := p.tallies[peer.StoreId]
		t.Regions += sign
		t.RegionSize += size
		if r.Leader != nil && peer.Id == r.Leader.Id {
			t.Leaders += sign
			t.LeaderSize += size
		}
		p.tallies[peer.StoreId] = t
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
