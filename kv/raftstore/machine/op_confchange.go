package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// A change of a region's peers, one voter at a time.
//
// check    checkChange: the epoch is the region's, the change makes sense, it does not take away the leader of a group of two (R4).
// propose  a raft configuration change that carries the command; raft refuses a second one while one is pending (R3).
// apply    applier.applyConfChange: epoch and sense are judged again; a change that lost its ground does nothing.
// after    afterConfChange: raft counts by the new voters; a removed peer leaves; the scheduler is told at once.

func (m *RaftMachine) proposeChange(p *peer, c ChangePeer, done func(error)) error {
	if err := p.checkChange(c); err != nil {
		return err
	}
	cmd := command.Command{
		Kind: command.ChangePeer, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeChangePeer(c.Type, c.Peer),
	}
	cc := eraftpb.ConfChange{ChangeType: c.Type, NodeId: c.Peer.Id, Context: command.Encode(cmd)}
	if err := p.node.ProposeConfChange(cc); err != nil {
		return errors.Annotatef(err, "region %d: cannot change peers now", p.regionID)
	}
	m.awaitAdmin(p, command.ChangePeer, done)
	return nil
}

func (p *peer) checkChange(c ChangePeer) error {
	switch c.Type {
	case eraftpb.ConfChangeType_AddNode:
		if q := region.FindPeerOn(p.region, c.Peer.StoreId); q != nil {
			return errors.Errorf("region %d has peer %d on store %d already", p.regionID, q.Id, c.Peer.StoreId)
		}
	case eraftpb.ConfChangeType_RemoveNode:
		if region.FindPeer(p.region, c.Peer.Id) == nil {
			return errors.Errorf("region %d has no peer %d", p.regionID, c.Peer.Id)
		}
		if c.Peer.Id == p.id && len(p.region.Peers) <= 2 {
			return errors.Errorf("region %d: peer %d leads a group of %d and cannot be removed; transfer the leadership first",
				p.regionID, p.id, len(p.region.Peers))
		}
	default:
		return errors.Errorf("region %d: a change of type %s is not supported", p.regionID, c.Type)
	}
	return nil
}

// confChanged is what apply reports of a configuration change; Region is nil when it did nothing.
type confChanged struct {
	change  eraftpb.ConfChange
	region  *metapb.Region
	removed bool
}

func (m *RaftMachine) afterConfChange(p *peer, c *confChanged) {
	cc := c.change
	if c.region == nil {
		cc = eraftpb.ConfChange{} // node 0: raft learns that the pending change came to nothing
	}
	p.node.ApplyConfChange(cc)
	if c.region == nil {
		return
	}
	p.region = c.region
	m.dropBuilt(p) // a snapshot without the new peer is of no use to it
	p.duties.reportNow = true
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{Region: c.region}})
	p.removed = c.removed
}

// leave ends a peer whose removal is applied. A removed leader stays until the others know of the commit, or its group would wait for
// somebody who is gone (R4); raft says when by stepping down.
func (m *RaftMachine) leave(p *peer) {
	if p.removed && !p.isLeader() {
		m.destroy(p)
	}
}

// applyConfChange changes the region's peers, if epoch and sense still hold (R3: a check at propose is a best effort only).
func (a *applier) applyConfChange(c *command.Command, batch engine.Batch, change *eraftpb.ConfChange) error {
	kind, peer, err := command.DecodeChangePeer(c.Body)
	if err != nil {
		return err
	}
	next := region.Clone(a.region)
	next.RegionEpoch.ConfVer++
	switch kind {
	case eraftpb.ConfChangeType_AddNode:
		if region.FindPeerOn(next, peer.StoreId) != nil || region.FindPeer(next, peer.Id) != nil {
			return errors.Errorf("region %d has a peer on store %d already", a.region.Id, peer.StoreId)
		}
		next.Peers = append(next.Peers, peer)
	case eraftpb.ConfChangeType_RemoveNode:
		if region.FindPeer(next, peer.Id) == nil {
			return errors.Errorf("region %d has no peer %d", a.region.Id, peer.Id)
		}
		kept := next.Peers[:0]
		for _, q := range next.Peers {
			if q.Id != peer.Id {
				kept = append(kept, q)
			}
		}
		next.Peers = kept
	default:
		return errors.Errorf("region %d: a change of type %s is not supported", a.region.Id, kind)
	}
	a.region = next
	removed := region.FindPeer(next, a.peerID) == nil
	if removed {
		putTombstone(batch, next, &metapb.Peer{Id: a.peerID, StoreId: a.storeID}, nil)
	} else {
		a.putRegion(batch)
	}
	a.results.Change = &confChanged{change: *change, region: next, removed: removed}
	return nil
}
