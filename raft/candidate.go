package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/quorum"
)

// Beside what the paper's vote messages say, these tell what their sender knows to be committed: index (Commit) and term
// (RejectHint). A node is one membership change behind if it has the change in its log and has not heard that it is
// committed; it then asks for votes that may never come, of nodes that are gone (R4), while its log may be too good for the
// others to win without it (R14, etcd #12359). So candidate and voter teach each other.

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
	if r.cfg.PreVote && !r.conf.Voters.Singleton(r.id) {
		r.becomePreCandidate()
		r.requestVotes(eraftpb.MessageType_MsgRequestPreVote, r.Term+1, nil)
		return
	}
	r.campaign(nil)
}

// mayCampaign refuses a campaign of a node whose membership is not up to date: it would count votes of a quorum that is no
// more, and two leaders could be elected in a term (R2).
func (r *Raft) mayCampaign() bool {
	return r.promotable() && !r.RaftLog.unappliedConfChange()
}

// campaign begins a term and asks for votes in it; permit is the leader's leave to do so, if it has given it.
func (r *Raft) campaign(permit []byte) {
	r.becomeCandidate()
	if r.conf.Voters.Vote(r.votes) == quorum.VoteWon {
		r.becomeLeader()
		return
	}
	r.requestVotes(eraftpb.MessageType_MsgRequestVote, r.Term, permit)
}

func (r *Raft) requestVotes(t eraftpb.MessageType, term uint64, permit []byte) {
	m := eraftpb.Message{MsgType: t, Term: term, Context: permit, Index: r.RaftLog.LastIndex(), LogTerm: r.RaftLog.lastTerm()}
	r.teachCommit(&m)
	for _, id := range r.conf.Voters.Voters() {
		if id != r.id {
			m.To = id
			r.send(m)
		}
	}
}

// teachCommit puts into a vote message what this node knows to be committed, provided that it is durable when the message
// leaves: otherwise this node might not know it any more after a crash, when whoever has learned it from here may be gone
// (R4). What is not durable yet the next Ready makes so.
func (r *Raft) teachCommit(m *eraftpb.Message) {
	l := r.RaftLog
	if !r.async() {
		return
	}
	index := l.durable.commit
	if isPromise(m) {
		index = l.committed
	}
	if term, err := l.Term(index); err == nil {
		m.Commit, m.RejectHint = index, term
	}
	l.durable.wanted = index < l.committed && !l.handoff.writesCommit(l.committed)
}

// staysMember tells whether a node belongs to the group by all that this node knows: one who has been removed must not learn
// that from here, as long as it may be needed to elect who remains.
func (r *Raft) staysMember(id uint64) bool {
	return r.conf.Contains(id) && !r.RaftLog.unappliedConfChange()
}

// learnCommit takes in what the sender of a vote message knows to be committed. A candidate that learns of a membership
// change gives up: it has been asking the wrong members.
func (r *Raft) learnCommit(m *eraftpb.Message) {
	if r.State == StateLeader || !r.async() || !r.RaftLog.matchTerm(m.Commit, m.RejectHint) {
		return
	}
	r.RaftLog.commitTo(m.Commit)
	if r.State != StateFollower && r.RaftLog.unappliedConfChange() {
		r.becomeFollower(r.Term, None)
	}
}

// ignoresCampaign tells whether a campaign is to be left unanswered: this node has heard from its leader recently, and that
// leader may trust it not to elect another one; or it may have promised so before it was restarted (R11).
func (r *Raft) ignoresCampaign(m eraftpb.Message) bool {
	if ticket, ok := permitted(m.Context); ok && !r.transfer.isWithdrawn(ticket, r.Term+1 == m.Term) {
		return false
	}
	return r.inLease()
}

// inLease tells whether a leader may count on this node not to elect another one.
func (r *Raft) inLease() bool { return r.heardLeader() || r.clock.silence > 0 }

// heardLeader tells whether this node has heard from the leader of its term within an election timeout.
func (r *Raft) heardLeader() bool {
	return r.cfg.CheckQuorum && r.Lead != None && r.clock.electionElapsed < r.cfg.ElectionTick
}

// handleVoteRequest answers a campaign of this term, or a question about this term or a later one. A node votes also if it
// is not a member as far as it knows: it may not have applied yet that it is one (R13).
func (r *Raft) handleVoteRequest(m eraftpb.Message) {
	if r.clock.silence > 0 && r.ignoresCampaign(m) {
		return
	}
	r.learnCommit(&m)
	pre := m.MsgType == eraftpb.MessageType_MsgRequestPreVote
	free := r.Vote == m.From || r.Vote == None && r.Lead == None || pre && m.Term > r.Term
	grant := free && r.RaftLog.isUpToDate(m.Index, m.LogTerm)
	resp := eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, To: m.From, Term: r.Term, Reject: !grant}
	if pre {
		resp.MsgType = eraftpb.MessageType_MsgRequestPreVoteResponse
		if grant {
			resp.Term = m.Term
		}
	} else if grant {
		r.clock.electionElapsed, r.clock.electionTimeout = 0, r.drawTimeout()
		r.Vote = m.From
	} else if r.State == StateCandidate && r.RaftLog.isBehind(m.Index, m.LogTerm) {
		r.standBack()
	}
	if !grant && r.staysMember(m.From) {
		r.teachCommit(&resp)
	}
	r.send(resp)
}

// standBack lets a candidate with a better log, which has come too late for this node's vote in this term, go first in the next: this node campaigns after it, and would
// only spend its own vote once more. Found by the simulator (seed 503).
func (r *Raft) standBack() {
	r.clock.electionElapsed, r.clock.electionTimeout = 0, r.cfg.ElectionTick+r.drawTimeout()
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
			r.countAnswer(&m)
		}
	case eraftpb.MessageType_MsgRequestPreVoteResponse:
		if r.State == StatePreCandidate {
			r.countAnswer(&m)
		}
	case eraftpb.MessageType_MsgTimeoutNow:
		r.handleTimeoutNow(m)
	}
	return nil
}

// countAnswer takes in the answer to a request for votes.
func (r *Raft) countAnswer(m *eraftpb.Message) {
	if m.Reject {
		r.learnCommit(m)
	}
	if r.State != StateFollower {
		r.countVote(m.From, !m.Reject)
	}
}

// countVote takes in a vote; the first one of a node counts.
func (r *Raft) countVote(from uint64, granted bool) {
	if _, voted := r.votes[from]; !voted {
		r.votes[from] = granted
	}
	switch r.conf.Voters.Vote(r.votes) {
	case quorum.VoteWon:
		if r.State == StatePreCandidate {
			r.campaign(nil)
		} else {
			r.becomeLeader()
		}
	case quorum.VoteLost:
		r.becomeFollower(r.Term, None)
	}
}
