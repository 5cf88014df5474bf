package sim

import (
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Leaders are told to hand over, and peers are removed; the scheduler adds what is missing. What is asked may be refused, or come to nothing.

func memberNemeses() []nemesis {
	return []nemesis{
		{name: "transfer", every: 4 * time.Second, draw: drawMember, do: doTransfer},
		{name: "remove", every: 8 * time.Second, draw: drawMember, do: doRemove},
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
	at.admin(&machine.AdminRequest{RegionID: v.Region.Id, Op: machine.TransferLeader{To: to}})
	return nil, to.Id != v.PeerID
}

func doRemove(c *Cluster, s Step) (func(), bool) {
	v, at := c.leadership([]byte(s.Key))
	if v == nil || !at.runs() || len(v.Region.Peers) < 2 {
		return nil, false
	}
	at.admin(&machine.AdminRequest{
		RegionID: v.Region.Id,
		Op:       machine.ChangePeers{Changes: []command.PeerChange{{Type: eraftpb.ConfChangeType_RemoveNode, Peer: c.pick(v, s)}}},
	})
	return nil, true
}

func (c *Cluster) pick(v *machine.RegionView, s Step) *metapb.Peer {
	return v.Region.Peers[int(s.Amount*float64(len(v.Region.Peers)))%len(v.Region.Peers)]
}

// runs says that the store can be asked something now.
func (s *store) runs() bool { return s.p.Up() && !s.p.Suspended() }

func (s *store) admin(a *machine.AdminRequest) {
	s.st.Admin(a)
	s.pump()
}
