package cluster

import (
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// AddReplica says which peer the leader of a region should add, judged from the region's last heartbeat: one, on an Up
// store that has none of the region, while the region has too few voters and every peer it has is well. Nil: nothing to
// do, or nothing that can be done now.
//
// A peer with id 0 is a new proposal: give it an id, then call Propose. Until a heartbeat shows that the region's members
// have changed, or its store is no longer Up, every heartbeat is answered with the same peer, so that a lost answer costs nothing and a
// repeated one adds nothing.
func (p *Picture) AddReplica(region uint64, now time.Time) *metapb.Peer {
	r := p.regions.byID[region]
	if r == nil || r.Leader == nil || len(r.Down) > 0 || len(r.Pending) > 0 {
		return nil
	}
	voters := 0
	for _, peer := range r.Meta.Peers {
		switch peer.Role {
		case metapb.PeerRole_Voter:
			voters++
		case metapb.PeerRole_IncomingVoter, metapb.PeerRole_DemotingVoter:
			return nil // in the middle of another change of its members
		}
	}
	if voters >= p.replicas {
		return nil
	}
	if peer := p.proposed[region]; peer != nil {
		if s := p.stores[peer.StoreId]; s != nil && s.State(now) == Up {
			return peer
		}
	}
	if store := p.emptiest(r, now); store != nil {
		return &metapb.Peer{StoreId: store.Meta.Id}
	}
	return nil
}

// Lacking are the regions that have fewer peers than they should, in the order of their keys.
func (p *Picture) Lacking() []uint64 {
	var ids []uint64
	for _, r := range p.Scan(nil, nil, 0) {
		if len(r.Meta.Peers) < p.replicas {
			ids = append(ids, r.ID())
		}
	}
	return ids
}

// Propose records the peer that the region's leader is about to be told to add.
func (p *Picture) Propose(region uint64, peer *metapb.Peer) {
	p.forgetProposal(region)
	p.proposed[region] = peer
	p.awaited[peer.StoreId]++
}

func (p *Picture) forgetProposal(region uint64) {
	if peer := p.proposed[region]; peer != nil {
		delete(p.proposed, region)
		p.awaited[peer.StoreId]--
	}
}

// emptiest is the Up store without a peer of r that holds, or awaits, the fewest regions; the least id among equals.
func (p *Picture) emptiest(r *Region, now time.Time) *Store {
	var best *Store
	var fewest int
	for _, s := range p.Stores() {
		if s.State(now) != Up || r.OnStore(s.Meta.Id) != nil {
			continue
		}
		if n := p.tallies[s.Meta.Id].Regions + p.awaited[s.Meta.Id]; best == nil || n < fewest {
			best, fewest = s, n
		}
	}
	return best
}
