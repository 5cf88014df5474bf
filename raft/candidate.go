package raft

import (
	"bytes"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/quorum"
)

// campaignTransfer marks the requests of a campaign that the leader itself has asked for: it passes the protections that
// keep a working leader in office (R6).
var campaignTransfer = []byte("CampaignTransfer")

func (r *Raft) becomeCandidate() {
	if r.State == StateLeader {
		panic("raft: a leader cannot become a candidate")
	}
	r.reset(r.Term + 1)
	r.State = StateCandidate
	r.Vote = r.id
	r.votes = make(map[uint64]bool, len(r.peers))
	if !r.async() {
		r.votes[r.id] = true
	}
}

// becomePreCandidate asks for votes without having a new term.
func (r *Raft) becomePreCandidate() {
	r.reset(r.Term)
	r.State = StatePreCandidate
	r.votes = make(map[uint64]bool, len(r.peers))
	r.votes[r.id] = true
}

// hup campaigns because there seems to be no leader. As long as this node ignores the campaigns of others it does not
// campaign itself: that promise was given to the leader.
func (r *Raft) hup() {
	if r.State == StateLeader || !r.mayCampaign() || r.inLease() {
		return
	}
	if r.cfg.PreVote && !r.voters.Singleton(r.id) {
		r.becomePreCandidate()
		r.requestVotes(eraftpb.MessageType_MsgRequestPreVote, r.Term+1, nil, 0)
		return
	}
	r.campaign(nil, 0)
}

// mayCampaign refuses a campaign of a node whose membership is not up to date: it would count votes of a quorum that is no
// more, and two leaders could be elected in a term (R2).
func (r *Raft) mayCampaign() bool {
	return r.promotable() && !r.RaftLog.unappliedConfChange()
}

// campaign begins a term and asks for votes in it.
func (r *Raft) campaign(kind []byte, ticket uint64) {
	r.becomeCandidate()
	if r.voters.Vote(r.votes) == quorum.VoteWon {
		r.becomeLeader()
		return
	}
	r.requestVotes(eraftpb.MessageType_MsgRequestVote, r.Term, kind, ticket)
}

func (r *Raft) requestVotes(t eraftpb.MessageType, term uint64, kind []byte, ticket uint64) {
	for _, id := range r.peers {
		if id == r.id {
			continue
		}
		r.send(eraftpb.Message{
			MsgType: t, To: id, Term: term, Context: kind, Commit: ticket,
			Index: r.RaftLog.LastIndex(), LogTerm: r.RaftLog.lastTerm(),
		})
	}
}

// ignoresCampaign tells whether a campaign is to be left unanswered: this node has heard from its leader recently, and that
// leader may trust it not to elect another one; or it may have promised so before it was restarted (R11).
func (r *Raft) ignoresCampaign(m eraftpb.Message) bool {
	if bytes.Equal(m.Context, campaignTransfer) && !r.transfer.isWithdrawn(m.Commit, r.Term+1 == m.Term) {
		return false
	}
	return r.inLease()
}

// inLease tells whether a leader may count on this node not to elect another one.
func (r *Raft) inLease() bool {
	heard := r.cfg.CheckQuorum && r.Lead != None && r.clock.electionElapsed < r.cfg.ElectionTick
	return heard || r.clock.silence > 0
}

// handleVoteRequest answers a campaign of this term, or a question about this term or a later one. A node votes also if it
// is not a member as far as it knows: it may not have applied yet that it is one (R13).
func (r *Raft) handleVoteRequest(m eraftpb.Message) {
	if r.clock.silence > 0 && r.ignoresCampaign(m) {
		return
	}
	pre := m.MsgType == eraftpb.MessageType_MsgRequestPreVote
	free := r.Vote == m.From || r.Vote == None && r.Lead == None || pre && m.Term > r.Term
	grant := free && r.acceptsLog(&m)
	resp := eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, To: m.From, Term: r.Term, Reject: !grant}
	if pre {
		resp.MsgType = eraftpb.MessageType_MsgRequestPreVoteResponse
		if grant {
			resp.Term = m.Term
		}
	} else if grant {
		r.clock.electionElapsed = 0
		r.Vote = m.From
	}
	r.send(resp)
}

// acceptsLog tells whether a candidate's log holds all that may be committed. What this log has beyond its commit index may
// be; but not if the candidate is the only voter that is left, since then nothing was committed without it. Only such a
// candidate asks a node that has left the group: it was one of two, does not know that the other one's removal is
// committed, and could never win without this vote, should that one's log be the longer one (R4).
func (r *Raft) acceptsLog(m *eraftpb.Message) bool {
	l := r.RaftLog
	if l.isUpToDate(m.Index, m.LogTerm) {
		return true
	}
	if !r.async() || r.id == m.From || !r.voters.Singleton(m.From) {
		return false
	}
	term, err := l.Term(l.committed)
	return err == nil && (m.LogTerm > term || m.LogTerm == term && m.Index >= l.committed)
}

func (r *Raft) stepCandidate(m eraftpb.Message) error {
	switch m.MsgType {
	case eraftpb.MessageType_MsgPropose:
		return ErrProposalDropped
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat, eraftpb.MessageType_MsgSnapshot:
		// Somebody else has won this term.
		r.becomeFollower(r.Term, m.From)
		return r.stepFollower(m)
	case eraftpb.MessageType_MsgRequestVoteResponse:
		if r.State == StateCandidate {
			r.countVote(m.From, !m.Reject)
		}
	case eraftpb.MessageType_MsgRequestPreVoteResponse:
		if r.State == StatePreCandidate {
			r.countVote(m.From, !m.Reject)
		}
	case eraftpb.MessageType_MsgTimeoutNow:
		r.handleTimeoutNow(m)
	}
	return nil
}

// countVote takes in a vote; the first one of a node counts.
func (r *Raft) countVote(from uint64, granted bool) {
	if _, voted := r.votes[from]; !voted {
		r.votes[from] = granted
	}
	switch r.voters.Vote(r.votes) {
	case quorum.VoteWon:
		if r.State == StatePreCandidate {
			r.campaign(nil, 0)
		} else {
			r.becomeLeader()
		}
	case quorum.VoteLost:
		r.becomeFollower(r.Term, None)
	}
}
