package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// A group without work may rest: whoever owns its nodes lets no ticks pass on them. To a node this is as if its clock stood still, which
// keeps every promise longer than it was given for, and never shorter; what it costs is liveness, and that is the owner's to
// see to. What a node must know and do for it is here.

// Settled tells whether the node, by all that it knows, has nothing to do and owes nothing to anybody: every entry of its log is
// durable, committed and applied, and, if it leads, all members have said the same of theirs. A node without a leader is
// never settled, nor is one that has promised to ignore campaigns since it was restarted.
func (rn *RawNode) Settled() bool {
	r := rn.Raft
	l := r.RaftLog
	last := l.LastIndex()
	switch {
	case l.applied != last || l.committed != last || l.stabled != last || l.pendingSnapshot != nil || len(l.handoff.writes) > 0:
		return false
	case rn.HasReady() || r.clock.silence > 0 || r.dismissal.leftAt > 0 || r.conf.Joint():
		return false
	case r.State == StateFollower:
		return r.Lead != None
	}
	return r.State == StateLeader && r.leaderSettled(last)
}

func (r *Raft) leaderSettled(last uint64) bool {
	if r.leadTransferee != None || r.reads.pending > 0 || r.office.held.first > 0 || r.office.departure.index > 0 || !r.isVoter() {
		return false
	}
	for _, id := range r.peers {
		pr := r.Prs[id]
		if id != r.id && (pr.State != ProgressReplicate || pr.Match != last || pr.Committed != last || pr.inflight.count > 0) {
			return false
		}
	}
	return true
}

// Beat makes a leader begin a heartbeat round now; on other nodes it has no effect.
func (rn *RawNode) Beat() {
	if rn.Raft.State == StateLeader {
		rn.step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgBeat})
	}
}

// Age lets so many ticks have passed on a follower, as far as its promise to the leader is concerned: afterwards it may vote for
// others, and campaigns at a random time within the next election timeout. The ticks must really have passed since the node was ticked last.
func (rn *RawNode) Age(ticks uint64) {
	if c := &rn.Raft.clock; rn.Raft.State == StateFollower && c.electionElapsed < rn.Raft.cfg.ElectionTick {
		c.electionElapsed = int(min(uint64(c.electionElapsed)+ticks, uint64(rn.Raft.cfg.ElectionTick)))
	}
}

// Release gives back the memory that a settled node does not need: the entries, which Storage has, and empty queues.
func (rn *RawNode) Release() {
	r := rn.Raft
	if !rn.Settled() {
		return
	}
	r.RaftLog.forget(r.RaftLog.LastIndex())
	r.RaftLog.handoff.writes, r.reads.arrived, r.reads.waiting, r.reads.answers = nil, nil, nil, nil
	r.msgs, r.promises, r.votes = nil, nil, nil
	for _, id := range r.peers {
		r.Prs[id].inflight.ring, r.Prs[id].inflight.start = nil, 0
	}
}
