package sim

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// changePeer asks the region's peer on a store for a change of the members.
func (c *Cluster) changePeer(on *store, add bool, target *store, done func(error)) error {
	if !on.p.Up() {
		return errors.New("the store is down")
	}
	v := on.st.View(c.home)
	if v == nil {
		return errors.New("the store has no peer of the region")
	}
	change := command.PeerChange{Type: eraftpb.ConfChangeType_RemoveNode, Peer: region.FindPeerOn(v.Region, target.id)}
	if add {
		change = command.PeerChange{Type: eraftpb.ConfChangeType_AddNode, Peer: &metapb.Peer{Id: c.sched.foreignID(), StoreId: target.id}}
	}
	if change.Peer == nil {
		return errors.New("there is no peer to remove")
	}
	on.st.Admin(&machine.AdminRequest{
		RegionID: c.home, Epoch: v.Region.RegionEpoch, Op: machine.ChangePeers{Changes: []command.PeerChange{change}}, Done: done,
	})
	on.pump()
	return nil
}
