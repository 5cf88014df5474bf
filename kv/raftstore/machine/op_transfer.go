package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A transfer of leadership needs no entry: raft brings the transferee up to date and tells it to campaign at once.
//
// check    checkTransferee (R6, R7): the transferee is a voter that stays one, no snapshot is on its way to it, it lacks little, and no change of peers is
//          pending: it would have to apply that before it may campaign (R2). One transfer at a time.
// propose  raft's TransferLeader; until it ends, proposals are refused with the transferee as the leader to ask, and there is no lease.
// after    the transferee wins, or raft gives up after an election timeout, or when a change takes the transferee's vote.

// maxTransferLag is how many entries the transferee may lack: the region stands still while they are sent.
const maxTransferLag = 1024

func (m *RaftMachine) transferLeader(p *peer, to *metapb.Peer, done func(error)) error {
	if to.GetId() != p.id {
		if err := p.checkTransferee(to.GetId()); err != nil {
			return err
		}
		p.node.TransferLeader(to.Id)
	}
	m.reply(done, nil)
	return nil
}

func (p *peer) checkTransferee(id uint64) error {
	q := region.FindPeer(p.region, id)
	pr, known := p.node.GetProgress()[id]
	under := p.node.Raft.LeadTransferee()
	last := p.node.Raft.RaftLog.LastIndex()
	switch {
	case q == nil || !known:
		return errors.Errorf("region %d has no peer %d to lead it", p.regionID, id)
	case q.Role != metapb.PeerRole_Voter && q.Role != metapb.PeerRole_IncomingVoter:
		return errors.Errorf("region %d: peer %d is a %s and cannot lead", p.regionID, id, roleName(q.Role))
	case under != raft.None && under != id:
		return errors.Errorf("region %d is being handed over to peer %d", p.regionID, under)
	case p.node.Raft.PendingConfIndex > p.applied.Index:
		return &region.ChangingError{RegionID: p.regionID, Change: "change of peers", Index: p.node.Raft.PendingConfIndex}
	case pr.Committed < p.node.Raft.PendingConfIndex:
		return errors.Errorf("region %d: peer %d does not know yet who belongs to the region, and cannot lead", p.regionID, id)
	case pr.State == raft.ProgressSnapshot:
		return errors.Errorf("region %d: peer %d is receiving a snapshot and cannot lead yet", p.regionID, id)
	case pr.Match < p.log.truncated.Index || last-pr.Match > maxTransferLag:
		return errors.Errorf("region %d: peer %d lacks %d entries and cannot lead yet", p.regionID, id, last-pr.Match)
	}
	return nil
}

// roleName is a role in words.
func roleName(r metapb.PeerRole) string {
	switch r {
	case metapb.PeerRole_Learner:
		return "learner"
	case metapb.PeerRole_DemotingVoter:
		return "voter on its way out"
	case metapb.PeerRole_IncomingVoter:
		return "voter on its way in"
	default:
		return "voter"
	}
}
