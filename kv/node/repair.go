package node

import (
	"context"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// inspectBy bounds how long somebody who looks at a region waits for its owner.
const inspectBy = 2 * time.Second

// inspect asks a region's owner for what it knows.
func (n *Node) inspect(id uint64) *machine.PeerReport {
	told := make(chan *machine.PeerReport, 1)
	n.store.Inspect(id, func(r *machine.PeerReport) { told <- r })
	select {
	case r := <-told:
		return r
	case <-time.After(inspectBy):
		return nil
	}
}

// compare begins a comparison of a region's replicas.
func (n *Node) compare(ctx context.Context, id uint64) error {
	return n.admin(ctx, id, machine.CheckConsistency{})
}

// rebuild takes a region's peer on a store away and adds a new one, which gets the region's data from the leader. What is left of the
// region must be a majority, in good health, without the peer: who asks for it has seen to that.
func (n *Node) rebuild(ctx context.Context, id, storeID uint64) error {
	v := n.store.View(id)
	if v == nil || v.Gone {
		return &region.NotFoundError{RegionID: id}
	}
	if !v.IsLeader {
		return &region.NotLeaderError{RegionID: id, Leader: v.Leader}
	}
	odd := region.FindPeerOn(v.Region, storeID)
	if odd == nil {
		return errors.Errorf("region %d has no peer on store %d", id, storeID)
	}
	if len(v.Region.Peers) < 3 {
		return errors.Errorf("region %d has %d peers; to rebuild one of them at least two others must remain", id, len(v.Region.Peers))
	}
	if odd.Id == v.PeerID {
		return n.giveWay(ctx, v)
	}
	if err := n.admin(ctx, id, change(eraftpb.ConfChangeType_RemoveNode, odd)); err != nil {
		return errors.Annotatef(err, "cannot remove peer %d", odd.Id)
	}
	peerID, err := n.cp.AllocID(ctx)
	if err != nil {
		return errors.Annotatef(err, "peer %d is removed; its successor has no id", odd.Id)
	}
	fresh := &metapb.Peer{Id: peerID, StoreId: storeID}
	return errors.Annotatef(n.admin(ctx, id, change(eraftpb.ConfChangeType_AddNode, fresh)), "peer %d is removed; its successor cannot be added", odd.Id)
}

// giveWay makes another voter lead, whose store can then be asked. The error says so.
func (n *Node) giveWay(ctx context.Context, v *machine.RegionView) error {
	for _, p := range v.Region.Peers {
		if p.Id == v.PeerID || p.Role != metapb.PeerRole_Voter {
			continue
		}
		if err := n.admin(ctx, v.Region.Id, machine.TransferLeader{To: p}); err != nil {
			return errors.Annotatef(err, "peer %d leads region %d and cannot rebuild itself", v.PeerID, v.Region.Id)
		}
		return errors.Errorf("peer %d led region %d and cannot rebuild itself; ask store %d, which is to lead", v.PeerID, v.Region.Id, p.StoreId)
	}
	return errors.Errorf("region %d has no other voter", v.Region.Id)
}

func change(kind eraftpb.ConfChangeType, p *metapb.Peer) machine.AdminOp {
	return machine.ChangePeers{Changes: []command.PeerChange{{Type: kind, Peer: p}}}
}

// admin asks for a change of a region and waits for its end.
func (n *Node) admin(ctx context.Context, id uint64, op machine.AdminOp) error {
	done := make(chan error, 1)
	n.store.Admin(&machine.AdminRequest{RegionID: id, Op: op, Done: func(err error) { done <- err }})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.Annotatef(ctx.Err(), "region %d: it is not known whether it was done", id)
	}
}
