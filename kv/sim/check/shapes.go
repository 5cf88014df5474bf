package check

import (
	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

type epoch struct{ version, confVer uint64 }

// takeShape takes in the region as a peer shows it.
func (c *Checker) takeShape(st *store, rec *regionRecord, p *peer, r *metapb.Region) {
	if r.RegionEpoch == nil || p.region == r {
		return // no data yet, or no change
	}
	at := epoch{r.RegionEpoch.Version, r.RegionEpoch.ConfVer}
	known := rec.shapes[at]
	switch {
	case known == nil:
		rec.shapes[at] = r
		c.Changes++
		if before := rec.shapes[epoch{at.version, at.confVer - 1}]; before != nil && !oneStep(before, r) {
			c.fail("store %d: region %d changes more than one peer at once: from %v to %v", st.id, rec.id, before.Peers, r.Peers)
		}
	case known != r && !proto.Equal(known, r):
		c.fail("store %d: region %d has two shapes at epoch %v: %v and %v", st.id, rec.id, r.RegionEpoch, known, r)
	}
	if p.region != nil && region.IsEpochStale(r.RegionEpoch, p.region.RegionEpoch) {
		c.fail("store %d: region %d peer %d goes back from epoch %v to %v", st.id, rec.id, p.id, p.region.RegionEpoch, r.RegionEpoch)
	}
	p.region, p.former = r, p.region
	c.reshaped = append(c.reshaped, p)
	if known == nil {
		c.owns(st, r)
	}
}

// oneStep says that two configurations differ by one voter at most, or that there is a joint one among them.
func oneStep(a, b *metapb.Region) bool {
	var differ int
	for _, pair := range [][2]*metapb.Region{{a, b}, {b, a}} {
		for _, p := range pair[0].Peers {
			if p.Role == metapb.PeerRole_IncomingVoter || p.Role == metapb.PeerRole_DemotingVoter {
				return true
			}
			if q := region.FindPeer(pair[1], p.Id); p.Role == metapb.PeerRole_Voter && (q == nil || q.Role != p.Role) {
				differ++
			}
		}
	}
	return differ <= 1
}

// lookAround looks, when a round is over, for regions of the store that share keys with those that changed in it.
func (c *Checker) lookAround(st *store) {
	for _, p := range c.reshaped {
		if p.region == nil {
			continue // it went away in the same round
		}
		least := uint64(0)
		for id, q := range st.peers { // order-free: the least is told
			if q != p && q.region != nil && region.Overlaps(p.region, q.region) && (least == 0 || id < least) {
				least = id
			}
		}
		if least != 0 {
			c.fail("store %d: regions %d and %d overlap: %v and %v", st.id, p.region.Id, least, p.region, st.peers[least].region)
		}
	}
	c.reshaped = c.reshaped[:0]
}

// stands looks at where a peer's log stands.
func (c *Checker) stands(st *store, rec *regionRecord, p *peer, v *machine.RegionView) {
	l := v.Log
	if l.Applied > l.Committed || l.Applied > l.Stabled || l.Stabled > l.Last || l.Committed > l.Last {
		c.fail("store %d: region %d peer %d: its log stands at applied %d, committed %d, stabled %d, last %d", st.id, rec.id, p.id, l.Applied, l.Committed, l.Stabled, l.Last)
	}
}
