package raft

import (
	"bytes"
	"encoding/binary"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// A transfer brings the transferee's log up to date and then tells it, by MsgTimeoutNow, to campaign at once. That campaign
// passes the protections of a working leader: no pre-vote, and voters answer it although they have just heard from the
// leader (R6). While it is under way proposals are refused, or the transferee would never catch up; it is given up after an
// election timeout, or if the transferee is no voter any more (R7). While a membership change may be pending none begins: the
// transferee would refuse to campaign before it has applied it (R2), or the change might remove the new leader.
//
// A MsgTimeoutNow that is out cannot be taken back: it may arrive, or its campaign may, long after the transfer was given
// up, when the leader trusts its lease again. So each one has a ticket, numbered within the term; heartbeats tell which
// tickets are withdrawn, and the campaign of a withdrawn ticket has no privilege with whoever has heard so. A lease counts
// again from the first round that carries the withdrawal (R11).
type transfer struct {
	// ticket is the last one given out in this term; sent tells that its transfer is under way.
	ticket uint64
	sent   bool
	// withdrawn is the last ticket that is void, also as a follower has heard it from its leader.
	withdrawn uint64
	// floor is the last round before that withdrawal.
	floor uint64
}

func (t *transfer) isWithdrawn(ticket uint64, sameTerm bool) bool {
	return sameTerm && t.withdrawn > 0 && ticket <= t.withdrawn
}

// handleTransferLeader hands the leadership over to a member. A transfer to the leader itself only ends one under way.
func (r *Raft) handleTransferLeader(to uint64, pr *Progress) {
	if to == r.leadTransferee {
		return
	}
	r.abortTransfer()
	if to == r.id || !r.mayTakeOver(to) || r.async() && r.PendingConfIndex > r.RaftLog.applied {
		return
	}
	r.leadTransferee = to
	r.clock.electionElapsed = 0
	if pr.Match == r.RaftLog.LastIndex() {
		r.sendTimeoutNow(to)
		return
	}
	pr.probing = false
	r.sendAppend(to)
}

// mayTakeOver tells whether a member can lead for longer: a learner cannot, nor a voter on its way out.
func (r *Raft) mayTakeOver(id uint64) bool {
	return r.conf.Voters[0].Contains(id)
}

func (r *Raft) sendTimeoutNow(to uint64) {
	m := eraftpb.Message{MsgType: eraftpb.MessageType_MsgTimeoutNow, To: to}
	r.transfer.sent = true
	if r.async() {
		r.transfer.ticket++
		m.Index = r.transfer.ticket
	}
	r.send(m)
}

func (r *Raft) abortTransfer() {
	r.leadTransferee = None
	if r.transfer.sent {
		r.transfer.sent = false
		r.transfer.withdrawn = r.transfer.ticket
		r.transfer.floor = r.reads.round
	}
}

// handleTimeoutNow campaigns because the leader asks for it.
func (r *Raft) handleTimeoutNow(m eraftpb.Message) {
	if r.transfer.isWithdrawn(m.Index, true) || !r.mayCampaign() {
		return
	}
	if !r.async() && !r.cfg.CheckQuorum {
		r.campaign(nil)
		return
	}
	r.campaign(permit(m.Index))
}

// campaignTransfer, with the ticket behind it, marks the requests of a campaign that the leader itself has asked for: it
// passes the protections that keep a working leader in office (R6).
const campaignTransfer = "CampaignTransfer"

func permit(ticket uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(campaignTransfer), ticket)
}

// permitted tells whether a campaign has the leader's leave, and by which ticket.
func permitted(context []byte) (ticket uint64, ok bool) {
	rest, ok := bytes.CutPrefix(context, []byte(campaignTransfer))
	if !ok || len(rest) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(rest), true
}

// leaseRound is the last round that a lease may rest on. There is none while a membership change may be pending or once the
// leader has lost its vote: the group might consist of a single other voter by then, who promises nothing to anybody.
func (r *Raft) leaseRound() uint64 {
	if r.State != StateLeader || r.transfer.sent || r.confChangePending() || !r.isVoter() || r.reads.acked <= r.transfer.floor {
		return 0
	}
	return r.reads.acked
}
