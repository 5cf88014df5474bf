package sim

import (
	"bytes"
	"sort"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// regionCache is what a client believes of the regions: disjoint, by start key, with holes where it knows nothing.
type regionCache struct{ regions []*cachedRegion }

// cachedRegion is a region and the peer that is asked first.
type cachedRegion struct {
	*metapb.Region
	peer int
	// tries counts the requests that this knowledge did not bring to their end.
	tries int
}

// target is the peer that a request goes to.
func (r *cachedRegion) target() *metapb.Peer { return r.Peers[r.peer] }

// nextPeer turns to another peer.
func (r *cachedRegion) nextPeer() { r.peer = (r.peer + 1) % len(r.Peers) }

// lead notes who leads; false when that is no peer that the cache knows.
func (r *cachedRegion) lead(leader *metapb.Peer) bool {
	for i, p := range r.Peers {
		if p.Id == leader.GetId() {
			r.peer = i
			return true
		}
	}
	return false
}

// find returns the region that holds the key, nil when the cache does not know.
func (x *regionCache) find(key []byte) *cachedRegion {
	i := sort.Search(len(x.regions), func(i int) bool { return bytes.Compare(x.regions[i].StartKey, key) > 0 }) - 1
	if i < 0 || !region.Contains(x.regions[i].Region, key) {
		return nil
	}
	return x.regions[i]
}

// put takes a region in, in place of all that overlap it, unless one of them is newer: news may come late (P9).
func (x *regionCache) put(r *metapb.Region, leader *metapb.Peer) {
	if len(r.Peers) == 0 {
		return
	}
	kept := make([]*cachedRegion, 0, len(x.regions)+1)
	for _, old := range x.regions {
		if !region.Overlaps(old.Region, r) {
			kept = append(kept, old)
			continue
		}
		e, now := r.RegionEpoch, old.RegionEpoch
		if e.Version < now.Version || old.Id == r.Id && region.IsEpochStale(e, now) {
			return
		}
	}
	c := &cachedRegion{Region: r}
	c.lead(leader)
	kept = append(kept, c)
	sort.Slice(kept, func(i, j int) bool { return bytes.Compare(kept[i].StartKey, kept[j].StartKey) < 0 })
	x.regions = kept
}

// drop forgets a region.
func (x *regionCache) drop(r *cachedRegion) {
	for i, c := range x.regions {
		if c == r {
			x.regions = append(x.regions[:i:i], x.regions[i+1:]...)
			return
		}
	}
}
