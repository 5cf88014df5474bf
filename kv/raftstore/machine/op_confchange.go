package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// A change of a region's peers, one voter at a time.
//
// check    checkChange: the epoch is the region's, the change makes sense, it does not take away the leader of a group of two (R4).
// propose  a raft configuration change that carries the command; raft refuses a second one while one is pending (R3).
// apply    applier.applyConfChange: epoch and sense are judged again; a change that lost its ground does nothing.
// after    afterConfChange: raft counts by the new voters; a removed peer leaves; the scheduler is told at once.

func (m *RaftMachine) handleAdmin(a *AdminRequest) {
	p := m.peers[a.RegionID]
	if p == nil {
		m.reply(a.Done, &region.NotFoundError{RegionID: a.RegionID})
		return
	}
	if err := m.admitAdmin(p, a); err != nil {
		m.reply(a.Done, err)
		return
	}
	if a.TransferTo != nil {
		m.reply(a.Done, m.transferLeader(p, a.TransferTo))
	} else {
		m.proposeChange(p, a)
	}
	m.touch(p)
}

func (m *RaftMachine) admitAdmin(p *peer, a *AdminRequest) error {
	if err := p.checkLeader(0); err != nil {
		return err
	}
	if a.Epoch != nil && !region.SameEpoch(a.Epoch, p.region.RegionEpoch) {
		return p.epochNotMatch()
	}
	return nil
}

func (m *RaftMachine) proposeChange(p *peer, a *AdminRequest) {
	if err := p.checkChange(a.Change); err != nil {
		m.reply(a.Done, err)
		return
	}
	cmd := command.Command{
		Kind: command.ChangePeer, Epoch: command.EpochOf(p.region.RegionEpoch),
		Body: command.EncodeChangePeer(a.Change.Type, a.Change.Peer),
	}
	cc := eraftpb.ConfChange{ChangeType: a.Change.Type, NodeId: a.Change.Peer.Id, Context: command.Encode(cmd)}
	if err := p.node.ProposeConfChange(cc); err != nil {
		m.reply(a.Done, errors.Annotatef(err, "region %d: cannot change peers now", p.regionID))
		return
	}
	at := Pair{p.node.Raft.RaftLog.LastIndex(), p.term()}
	done := a.Done
	if done == nil {
		done = func(error) {}
	}
	p.pending = append(p.pending, pendingEntry{Pair: at, proposals: []*Proposal{{RegionID: p.regionID, Done: done}}})
}

func (p *peer) checkChange(c *PeerChange) error {
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
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{c.region}})
	p.removed = c.removed
}

// leave ends a peer whose removal is applied. A removed leader stays until the others know of the commit, or its group would wait for
// somebody who is gone (R4); raft says when by stepping down.
func (m *RaftMachine) leave(p *peer) {
	if p.removed && !p.isLeader() {
		m.destroy(p)
	}
}
