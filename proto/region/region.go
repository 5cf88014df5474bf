// Package region holds the rules about a region that every room shares: which keys it covers, when an epoch is stale,
// who its peers are, and the errors that say why a request could not be served by it.
//
// A region is a key range [StartKey, EndKey) (an empty EndKey is open), a set of peers and an epoch. ConfVer grows with every change
// of its peers, Version with every change of its range. metapb.Region values are immutable once published.
package region

import (
	"bytes"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// Contains reports whether key lies in the region's range.
func Contains(r *metapb.Region, key []byte) bool {
	return bytes.Compare(key, r.StartKey) >= 0 && (len(r.EndKey) == 0 || bytes.Compare(key, r.EndKey) < 0)
}

// ContainsRange reports whether all of [start, end) lies in the region's range; an empty end is the end of the key space.
func ContainsRange(r *metapb.Region, start, end []byte) bool {
	if bytes.Compare(start, r.StartKey) < 0 {
		return false
	}
	if len(r.EndKey) == 0 {
		return true
	}
	return len(end) > 0 && bytes.Compare(end, r.EndKey) <= 0 && bytes.Compare(start, r.EndKey) <= 0
}

// Overlaps reports whether the ranges of two regions share a key.
func Overlaps(a, b *metapb.Region) bool {
	return (len(b.EndKey) == 0 || bytes.Compare(a.StartKey, b.EndKey) < 0) &&
		(len(a.EndKey) == 0 || bytes.Compare(b.StartKey, a.EndKey) < 0)
}

// FindPeer returns the region's peer with that id, or nil.
func FindPeer(r *metapb.Region, peerID uint64) *metapb.Peer {
	for _, p := range r.Peers {
		if p.Id == peerID {
			return p
		}
	}
	return nil
}

// FindPeerOn returns the region's peer on that store, or nil.
func FindPeerOn(r *metapb.Region, storeID uint64) *metapb.Peer {
	for _, p := range r.Peers {
		if p.StoreId == storeID {
			return p
		}
	}
	return nil
}

// IsJoint reports whether a change of several peers is under way: the old majority and the new one must both agree until it is over.
func IsJoint(r *metapb.Region) bool {
	for _, p := range r.Peers {
		if p.Role == metapb.PeerRole_IncomingVoter || p.Role == metapb.PeerRole_DemotingVoter {
			return true
		}
	}
	return false
}

// Clone returns a deep copy that the caller may change.
func Clone(r *metapb.Region) *metapb.Region {
	c := &metapb.Region{Id: r.Id, StartKey: r.StartKey, EndKey: r.EndKey, Peers: make([]*metapb.Peer, len(r.Peers))}
	if e := r.RegionEpoch; e != nil {
		c.RegionEpoch = &metapb.RegionEpoch{ConfVer: e.ConfVer, Version: e.Version}
	}
	for i, p := range r.Peers {
		q := *p
		c.Peers[i] = &q
	}
	return c
}

// IsEpochStale reports whether epoch e is older than known in either part.
func IsEpochStale(e, known *metapb.RegionEpoch) bool {
	return e.GetVersion() < known.GetVersion() || e.GetConfVer() < known.GetConfVer()
}

// SameEpoch reports whether both parts of two epochs are equal.
func SameEpoch(a, b *metapb.RegionEpoch) bool {
	return a.GetVersion() == b.GetVersion() && a.GetConfVer() == b.GetConfVer()
}
