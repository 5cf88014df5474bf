package raft

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// becomeLeader takes office and appends an empty entry: once that one is committed, all earlier entries are.
func (r *Raft) becomeLeader() {
	if r.State == StateFollower {
		panic("raft: a follower cannot become leader without a campaign")
	}
	r.reset(r.Term)
	r.State = StateLeader
	r.Lead = r.id
	last := r.RaftLog.LastIndex()
	for _, id := range r.peers {
		*r.Prs[id] = r.newProgress()
	}
	if own := r.Prs[r.id]; own != nil {
		own.State, own.RecentActive = ProgressReplicate, true
		own.Match = min(last, r.RaftLog.stabled)
	}
	// Whatever this log still has to apply may hold a membership change (R3).
	r.PendingConfIndex = last
	r.appendEntries([]*eraftpb.Entry{{}})
	r.bcastAppend()
}

func (r *Raft) newProgress() Progress {
	return Progress{
		Next:     r.RaftLog.LastIndex() + 1,
		inflight: inflight{maxCount: r.cfg.MaxInflightMsgs, maxBytes: r.cfg.MaxInflightBytes},
	}
}

func (r *Raft) tickLeader() {
	if r.clock.electionElapsed >= r.cfg.ElectionTick {
		r.clock.electionElapsed = 0
		if active := r.checkQuorum(); !active && r.cfg.CheckQuorum {
			r.becomeFollower(r.Term, None)
			return
		}
		r.abortTransfer()
	}
	r.leaveJoint()
	r.clock.heartbeatElapsed++
	if r.clock.heartbeatElapsed >= r.cfg.HeartbeatTick {
		r.bcastHeartbeat()
	}
}

// activeMembers acknowledges 1 for every member that has been heard from.
type activeMembers map[uint64]*Progress

func (m activeMembers) Acked(id uint64) uint64 {
	if pr := m[id]; pr != nil && pr.RecentActive {
		return 1
	}
	return 0
}

// checkQuorum tells whether a majority has been heard from since it was last asked, and starts over.
func (r *Raft) checkQuorum() bool {
	active := r.conf.Voters.Committed(activeMembers(r.Prs)) > 0
	for _, id := range r.peers {
		pr := r.Prs[id]
		if id == r.id {
			continue
		}
		if pr.State == ProgressSnapshot && !pr.RecentActive {
			// Nobody may be left to report what became of the snapshot.
			pr.becomeProbe()
		}
		pr.RecentActive = false
	}
	return active
}

func (r *Raft) stepLeader(m eraftpb.Message) error {
	switch m.MsgType {
	case eraftpb.MessageType_MsgBeat:
		r.bcastHeartbeat()
		return nil
	case eraftpb.MessageType_MsgPropose:
		return r.propose(m.Entries)
	case eraftpb.MessageType_MsgReadIndex:
		r.reads.request(m)
		return nil
	}
	// The rest is about one member, and for a transfer the sender is the one meant.
	pr := r.Prs[m.From]
	if pr == nil {
		return nil
	}
	switch m.MsgType {
	case eraftpb.MessageType_MsgAppendResponse:
		r.handleAppendResponse(m, pr)
	case eraftpb.MessageType_MsgHeartbeatResponse:
		r.handleHeartbeatResponse(m, pr)
	case eraftpb.MessageType_MsgTransferLeader:
		r.handleTransferLeader(m.From, pr)
	case eraftpb.MessageType_MsgUnreachable:
		// An append may have been lost; in doubt, find out how far the follower is.
		if pr.State == ProgressReplicate {
			pr.becomeProbe()
		}
	case eraftpb.MessageType_MsgSnapStatus:
		r.handleSnapshotStatus(m, pr)
	}
	return nil
}

// propose appends entries to the log and sends them out, or says why not, without any effect.
func (r *Raft) propose(ents []*eraftpb.Entry) error {
	if len(ents) == 0 || !r.isVoter() || r.leadTransferee != None {
		return ErrProposalDropped
	}
	var size uint64
	confIndex := r.PendingConfIndex
	for i, e := range ents {
		size += uint64(len(e.Data))
		if isConfChange(*e) {
			if r.confChangePending() || confIndex != r.PendingConfIndex {
				return ErrConfChangePending
			}
			confIndex = r.RaftLog.LastIndex() + 1 + uint64(i)
		}
	}
	// One proposal always gets in, however large, and an empty one costs nothing.
	limit := r.cfg.MaxUncommittedEntriesSize
	if limit > 0 && size > 0 && r.office.uncommittedSize > 0 && r.office.uncommittedSize+size > limit {
		return ErrProposalDropped
	}
	r.office.uncommittedSize += size
	r.PendingConfIndex = confIndex
	r.appendEntries(ents)
	r.bcastAppend()
	return nil
}

// appendEntries adds entries to the leader's own log.
func (r *Raft) appendEntries(ents []*eraftpb.Entry) {
	r.RaftLog.appendNew(r.Term, ents)
	own := r.Prs[r.id]
	if own == nil {
		return
	}
	own.Next = r.RaftLog.LastIndex() + 1
	if !r.async() {
		own.maybeUpdate(r.RaftLog.LastIndex())
		r.advanceCommit()
	}
}

// matchIndexes acknowledges the index up to which a member's log agrees.
type matchIndexes map[uint64]*Progress

func (m matchIndexes) Acked(id uint64) uint64 {
	if pr := m[id]; pr != nil {
		return pr.Match
	}
	return 0
}

// advanceCommit commits what a majority holds, if it is of this term (R1), tells the followers, and reports whether there
// was any. Earlier terms' entries are committed by one of this term that follows them, never by counting.
func (r *Raft) advanceCommit() bool {
	l := r.RaftLog
	index, before := r.conf.Voters.Committed(matchIndexes(r.Prs)), l.committed
	if index > l.LastIndex() || index <= before || !l.matchTerm(index, r.Term) {
		return false
	}
	l.commitTo(index)
	for _, e := range l.slice(before+1, index+1) {
		if e.Term == r.Term {
			r.office.uncommittedSize -= min(r.office.uncommittedSize, uint64(len(e.Data)))
		}
	}
	if r.async() {
		r.holdCommit(before)
	}
	if !r.cfg.LazyCommit && r.announced() > before {
		r.bcastAppend()
	}
	return true
}

// committedInTerm tells whether the leader has committed an entry of its own term: before that it may not know all that is
// committed.
func (r *Raft) committedInTerm() bool {
	return r.State == StateLeader && r.RaftLog.matchTerm(r.RaftLog.committed, r.Term)
}
