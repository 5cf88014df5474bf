package sim

import (
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Leaders are told to hand over, and a region's peers are removed, added, moved, promoted and demoted; the schedulers put it right.
// What is asked may be refused, or come to nothing. Key says which region is meant.

func memberNemeses() []nemesis {
	return []nemesis{
		{name: "transfer", every: 4 * time.Second, draw: drawMember, do: doTransfer, aimed: true},
		{name: "remove", every: 8 * time.Second, draw: drawMember, do: doRemove, aimed: true},
		{name: "member", every: 4 * time.Second, draw: drawChange, do: doChange, aimed: true},
	}
}

// drawMember: Amount in [0,1) says which of the region's peers is meant.
func drawMember(d *draft) Step { return Step{Amount: d.rng.Float64()} }

func doTransfer(c *Cluster, s Step) (func(), bool) {
	v, at := c.leadership([]byte(s.Key))
	if v == nil || !at.runs() || len(v.Region.Peers) < 2 {
		return nil, false
	}
	to := c.pick(v, s)
	at.order(v.Region, &pdpb.RegionHeartbeatResponse{TransferLeader: &pdpb.TransferLeader{Peer: to}})
	return nil, to.Id != v.PeerID
}

func doRemove(c *Cluster, s Step) (func(), bool) {
	v, at := c.leadership([]byte(s.Key))
	if v == nil || !at.runs() || len(v.Region.Peers) < 2 {
		return nil, false
	}
	who := c.pick(v, s)
	if !c.bears(v.Region, who) {
		return nil, false
	}
	at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_RemoveNode, Peer: who})
	return nil, true
}

// drawChange: Amount says which peer, or which store.
func drawChange(d *draft) Step {
	return Step{How: pick(d.rng, "add", "learner", "promote", "demote", "move", "move"), Amount: d.rng.Float64()}
}

func doChange(c *Cluster, s Step) (func(), bool) {
	v, at := c.leadership([]byte(s.Key))
	if v == nil || !at.runs() || region.IsJoint(v.Region) {
		return nil, false
	}
	who := c.pick(v, s)
	free := c.storesWithout(v.Region)
	switch s.How {
	case "promote":
		if who.Role != metapb.PeerRole_Learner {
			return nil, false
		}
		at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddNode, Peer: &metapb.Peer{Id: who.Id, StoreId: who.StoreId}})
	case "demote":
		if who.Role != metapb.PeerRole_Voter || len(v.Region.Peers) < 2 || !c.bears(v.Region, who) {
			return nil, false
		}
		at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, Peer: asLearner(who)})
	default:
		if len(free) == 0 || s.How == "move" && (who.Role != metapb.PeerRole_Voter || !c.bears(v.Region, who)) {
			return nil, false
		}
		to := free[int(s.Amount*1000)%len(free)]
		if s.How == "move" {
			c.movePeer(v, at, who, to)
		} else {
			c.addPeer(v, at, to, s.How == "learner")
		}
	}
	return nil, true
}

func asLearner(p *metapb.Peer) *metapb.Peer {
	return &metapb.Peer{Id: p.Id, StoreId: p.StoreId, Role: metapb.PeerRole_Learner}
}

func (c *Cluster) pick(v *machine.RegionView, s Step) *metapb.Peer {
	return v.Region.Peers[int(s.Amount*float64(len(v.Region.Peers)))%len(v.Region.Peers)]
}

// storesWithout are the ids of the stores that have no peer of a region.
func (c *Cluster) storesWithout(r *metapb.Region) (ids []uint64) {
	for _, s := range c.stores {
		if s.id != 0 && region.FindPeerOn(r, s.id) == nil {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// bears says that a region can do without a voter: of the others more than half are not lost for good, and two at least once a store was lost. The schedulers
// do not know of it at once, and would put a second voter there.
func (c *Cluster) bears(r *metapb.Region, without *metapb.Peer) bool {
	rest := region.Clone(r)
	rest.Peers = slices.DeleteFunc(rest.Peers, func(p *metapb.Peer) bool { return p.Id == without.Id })
	alive, ok := c.outlives(rest, nil)
	return ok && (alive >= 2 || c.result.Counts.Faults["replace"] == 0)
}

// addPeer makes a new peer on a store, when the schedulers have given it an id.
func (c *Cluster) addPeer(v *machine.RegionView, at *store, to uint64, learner bool) {
	c.newID(func(id uint64) {
		change := pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddNode, Peer: &metapb.Peer{Id: id, StoreId: to}}
		if learner {
			change = pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, Peer: asLearner(change.Peer)}
		}
		at.change(v.Region, change)
	})
}

// movePeer puts a new voter in the place of another, in one change: both majorities must agree until it is over. The other becomes a learner.
func (c *Cluster) movePeer(v *machine.RegionView, at *store, from *metapb.Peer, to uint64) {
	if from.Role == metapb.PeerRole_Learner {
		at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_RemoveNode, Peer: from})
		return
	}
	c.newID(func(id uint64) {
		at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddNode, Peer: &metapb.Peer{Id: id, StoreId: to}},
			pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, Peer: asLearner(from)})
	})
}

// newID asks the schedulers for an id; nothing happens when nobody answers.
func (c *Cluster) newID(then func(id uint64)) {
	g := c.sched
	g.allocIDs(g.founder, 1, func(id uint64) {
		if id != 0 && !c.w.Halted() {
			then(id)
		}
	})
}

// change asks for a change of a region's members.
func (s *store) change(r *metapb.Region, changes ...pdpb.ChangePeer) {
	if len(changes) == 1 {
		s.order(r, &pdpb.RegionHeartbeatResponse{ChangePeer: &changes[0]})
		return
	}
	v2 := &pdpb.ChangePeerV2{}
	for i := range changes {
		v2.Changes = append(v2.Changes, &changes[i])
	}
	s.order(r, &pdpb.RegionHeartbeatResponse{ChangePeerV2: v2})
}

// order tells a store what a scheduler would tell it of a region, as it was when it was seen; nobody hears it where the store does not run.
func (s *store) order(r *metapb.Region, what *pdpb.RegionHeartbeatResponse) {
	if s.id != 0 && s.runs() {
		what.RegionId, what.RegionEpoch = r.Id, r.RegionEpoch
		s.answer(what)
	}
}

// runs says that the store can be asked something now.
func (s *store) runs() bool { return s.p.Up() && !s.p.Suspended() }
