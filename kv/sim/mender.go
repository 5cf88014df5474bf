package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// mender puts right what nemeses make of the regions' members, where the schedulers do not do it themselves: they add what is missing. It takes away peers whose
// store is lost, and those that are too many, and makes voters of learners where there are too few. One change a region at a time, and not every time, so that
// odd states last for a while.
type mender struct {
	c   *Cluster
	rng *rand.Rand
}

const mendEvery = time.Second

// mend begins.
func (c *Cluster) mend() {
	m := &mender{c: c, rng: c.w.Rand("mender")}
	c.w.After(mendEvery, m.round)
}

func (m *mender) round() {
	all := m.c.views()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		v, at := leading(all[id])
		if v == nil || !v.Ready || isJoint(v.Region) || m.rng.IntN(2) == 0 {
			continue
		}
		if s := m.c.storeWith(at); s.runs() {
			if change := m.wanted(v); change.Peer != nil {
				s.change(v.Region, change)
			}
		}
	}
	m.c.w.After(mendEvery, m.round)
}

// wanted is the next change of a region's members; without a Peer there is none.
func (m *mender) wanted(v *machine.RegionView) pdpb.ChangePeer {
	var voters int
	var lost, learner, last *metapb.Peer
	for _, p := range v.Region.Peers {
		switch {
		case m.c.storeWith(p.StoreId) == nil:
			lost = p
		case p.Role == metapb.PeerRole_Learner:
			learner = p
		case p.Id != v.PeerID:
			last = p
		}
		if p.Role == metapb.PeerRole_Voter {
			voters++
		}
	}
	remove := func(p *metapb.Peer) pdpb.ChangePeer {
		return pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_RemoveNode, Peer: p}
	}
	want := min(m.c.cfg.Replicas, len(m.c.stores))
	switch {
	case lost != nil:
		return remove(lost)
	case learner != nil && voters < want:
		return pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddNode, Peer: &metapb.Peer{Id: learner.Id, StoreId: learner.StoreId}}
	case learner != nil:
		return remove(learner)
	case voters > want && last != nil:
		return remove(last)
	}
	return pdpb.ChangePeer{}
}
