package operator

import (
	"cmp"
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// members are a region's peers and their roles, by peer id: what a step changes. A list is never changed once it is made.
type members []member

type member struct {
	id, store uint64
	role      metapb.PeerRole
}

func membersOf(r *cluster.Region) members {
	m := make(members, 0, len(r.Meta.Peers))
	for _, p := range r.Meta.Peers {
		m = append(m, member{p.Id, p.StoreId, p.Role})
	}
	return m.sorted()
}

func (m members) sorted() members {
	slices.SortFunc(m, func(a, b member) int { return cmp.Compare(a.id, b.id) })
	return m
}

func (m members) with(p *metapb.Peer, role metapb.PeerRole) members {
	return append(m.without(p), member{p.Id, p.StoreId, role}).sorted()
}

func (m members) without(p *metapb.Peer) members {
	return slices.DeleteFunc(slices.Clone(m), func(x member) bool { return x.id == p.Id })
}

// left are the members after a joint configuration.
func (m members) left() members {
	m = slices.Clone(m)
	for i := range m {
		switch m[i].role {
		case metapb.PeerRole_IncomingVoter:
			m[i].role = metapb.PeerRole_Voter
		case metapb.PeerRole_DemotingVoter:
			m[i].role = metapb.PeerRole_Learner
		}
	}
	return m
}

// Influence is what operators in flight will change about a store.
type Influence struct {
	Regions, Leaders           int
	RegionWeight, LeaderWeight int64
	// Arriving counts peers that are about to be added: each is a snapshot to receive.
	Arriving int
}

// Influences are by store.
type Influences map[uint64]*Influence

func (on Influences) of(store uint64) *Influence {
	i := on[store]
	if i == nil {
		i = new(Influence)
		on[store] = i
	}
	return i
}

// Of is the influence on a store.
func (on Influences) Of(store uint64) Influence {
	if i := on[store]; i != nil {
		return *i
	}
	return Influence{}
}
