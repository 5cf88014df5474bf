package test_raftstore

import (
	"context"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// AllocPeer names a peer that there was never before.
func (c *Cluster) AllocPeer(store uint64) *metapb.Peer {
	id, err := c.Scheduler.AllocID(context.Background())
	require.NoError(c.t, err)
	return &metapb.Peer{Id: id, StoreId: store}
}

func addPeer(p *metapb.Peer) command.PeerChange {
	return command.PeerChange{Type: eraftpb.ConfChangeType_AddNode, Peer: p}
}

func addLearner(p *metapb.Peer) command.PeerChange {
	return command.PeerChange{Type: eraftpb.ConfChangeType_AddLearnerNode, Peer: p}
}

func removePeer(p *metapb.Peer) command.PeerChange {
	return command.PeerChange{Type: eraftpb.ConfChangeType_RemoveNode, Peer: p}
}

// admin asks a region's leader for an operation and waits for the answer.
func (c *Cluster) admin(regionID uint64, epoch *metapb.RegionEpoch, op machine.AdminOp) error {
	leader := c.LeaderOfRegion(regionID)
	if leader == nil {
		return &region.NotLeaderError{RegionID: regionID}
	}
	n := c.node(leader.StoreId)
	if n == nil {
		return &region.NotLeaderError{RegionID: regionID}
	}
	answer := make(chan error, 1)
	n.store.Admin(&machine.AdminRequest{RegionID: regionID, Epoch: epoch, Op: op, Done: func(err error) { answer <- err }})
	select {
	case err := <-answer:
		return err
	case <-time.After(requestTimeout):
		return errors.New("no answer")
	}
}

// shape is a region as its leader has it, nil without a leader.
func (c *Cluster) shape(regionID uint64) *metapb.Region {
	leader := c.LeaderOfRegion(regionID)
	if leader == nil {
		return nil
	}
	if n := c.node(leader.StoreId); n != nil {
		if v := n.store.View(regionID); v != nil && !v.Gone && v.IsLeader {
			return v.Region
		}
	}
	return nil
}

// MustChangePeers asks for changes until the region has them; a leader that may not go hands over first.
func (c *Cluster) MustChangePeers(regionID uint64, changes ...command.PeerChange) {
	c.t.Helper()
	c.Eventually(func() bool {
		r := c.shape(regionID)
		if r == nil || region.IsJoint(r) {
			return false
		}
		if changed(r, changes) {
			return true
		}
		_ = c.change(r, changes...)
		return false
	}, "region %d: %v", regionID, changes)
}

// change makes one attempt.
func (c *Cluster) change(r *metapb.Region, changes ...command.PeerChange) error {
	if leader := c.LeaderOfRegion(r.Id); len(r.Peers) == 2 && leader.GetId() == changes[0].Peer.Id {
		for _, p := range r.Peers {
			if p.Id != leader.Id {
				return c.admin(r.Id, nil, machine.TransferLeader{To: p})
			}
		}
	}
	return c.admin(r.Id, r.RegionEpoch, machine.ChangePeers{Changes: changes})
}

// changed says that a region is as the changes want it.
func changed(r *metapb.Region, changes []command.PeerChange) bool {
	for _, ch := range changes {
		p := region.FindPeer(r, ch.Peer.Id)
		switch ch.Type {
		case eraftpb.ConfChangeType_RemoveNode:
			if p != nil {
				return false
			}
		case eraftpb.ConfChangeType_AddNode:
			if p == nil || p.Role != metapb.PeerRole_Voter {
				return false
			}
		default:
			if p == nil || p.Role != metapb.PeerRole_Learner {
				return false
			}
		}
	}
	return true
}

// MustAddPeer adds a voter.
func (c *Cluster) MustAddPeer(regionID uint64, p *metapb.Peer) {
	c.t.Helper()
	c.MustChangePeers(regionID, addPeer(p))
}

// MustRemovePeer removes a peer.
func (c *Cluster) MustRemovePeer(regionID uint64, p *metapb.Peer) {
	c.t.Helper()
	c.MustChangePeers(regionID, removePeer(p))
}

// MustHavePeer waits until the leader counts a peer among the region's.
func (c *Cluster) MustHavePeer(regionID uint64, p *metapb.Peer) {
	c.t.Helper()
	c.Eventually(func() bool {
		r := c.shape(regionID)
		return r != nil && region.FindPeer(r, p.Id) != nil
	}, "region %d has peer %d", regionID, p.Id)
}

// MustNonePeer waits until the leader does not count a peer among the region's, and its store has neither it nor key.
func (c *Cluster) MustNonePeer(regionID uint64, p *metapb.Peer, key []byte) {
	c.t.Helper()
	c.Eventually(func() bool {
		r := c.shape(regionID)
		return r != nil && region.FindPeer(r, p.Id) == nil
	}, "region %d has no peer %d", regionID, p.Id)
	c.Eventually(func() bool {
		n := c.node(p.StoreId)
		if n == nil {
			return false
		}
		v := n.store.View(regionID)
		return (v == nil || v.Gone) && c.engineValue(p.StoreId, key) == nil
	}, "store %d holds nothing of region %d", p.StoreId, regionID)
}

// GetRandomRegion returns one of the regions, nil when none has a leader.
func (c *Cluster) GetRandomRegion() *metapb.Region {
	ids := c.Scheduler.regionIDs()
	c.mu.Lock()
	id := ids[c.rng.IntN(len(ids))]
	c.mu.Unlock()
	return c.shape(id)
}

// MustHaveValue waits until a store's own engine holds a value.
func (c *Cluster) MustHaveValue(store uint64, key, value string) {
	c.t.Helper()
	c.Eventually(func() bool { return string(c.engineValue(store, []byte(key))) == value }, "store %d has %s = %q", store, key, value)
}
