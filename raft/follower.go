package raft

import "github.com/pingcap/kvproto/pkg/eraftpb"

func (r *Raft) stepFollower(m eraftpb.Message) error {
	switch m.MsgType {
	case eraftpb.MessageType_MsgPropose:
		return ErrProposalDropped
	case eraftpb.MessageType_MsgAppend:
		r.follow(m.From)
		r.handleAppendEntries(m)
	case eraftpb.MessageType_MsgHeartbeat:
		r.follow(m.From)
		r.handleHeartbeat(m)
	case eraftpb.MessageType_MsgSnapshot:
		r.follow(m.From)
		r.handleSnapshot(m)
	case eraftpb.MessageType_MsgTransferLeader, eraftpb.MessageType_MsgReadIndex:
		if r.Lead != None {
			m.To = r.Lead
			r.send(m)
		}
	case eraftpb.MessageType_MsgTimeoutNow:
		r.handleTimeoutNow(m)
	case eraftpb.MessageType_MsgReadIndexResp:
		r.reads.answers = append(r.reads.answers, ReadState{Index: m.Index, RequestCtx: m.Context})
	}
	return nil
}

// follow takes in that the leader of this term has been heard.
func (r *Raft) follow(leader uint64) {
	r.Lead = leader
	r.clock.electionElapsed = 0
}

// handleAppendEntries adds the leader's entries and acknowledges them, or tells where the logs may agree.
func (r *Raft) handleAppendEntries(m eraftpb.Message) {
	resp := eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, To: m.From}
	if r.renewal > 0 {
		r.refuseForSnapshot()
		return
	}
	if m.Index < r.RaftLog.committed {
		// What is committed agrees with every leader's log: no need to look at it.
		resp.Index = r.RaftLog.committed
	} else if last, ok := r.RaftLog.maybeAppend(m.Index, m.LogTerm, m.Entries); ok {
		r.heardCommit(min(m.Commit, last))
		resp.Index = last
	} else {
		r.rejectAppend(m, &resp)
	}
	if r.async() {
		resp.Commit = r.RaftLog.committed
	}
	r.send(resp)
}

// heardCommit takes in a commit index that the leader has announced.
func (r *Raft) heardCommit(index uint64) {
	r.RaftLog.commitTo(index)
	r.dismissal.told = max(r.dismissal.told, index)
}

// rejectAppend says where the leader should try next. All of the leader's entries up to m.Index have at most the term
// m.LogTerm, so that this node's entries with a higher term cannot be the leader's: one answer skips all of them (R16).
func (r *Raft) rejectAppend(m eraftpb.Message, resp *eraftpb.Message) {
	resp.Reject = true
	if !r.async() {
		resp.Index = min(m.Index-1, r.RaftLog.LastIndex())
		return
	}
	resp.Index = m.Index
	hint := min(m.Index, r.RaftLog.LastIndex())
	resp.RejectHint, resp.LogTerm = r.RaftLog.findConflictByTerm(hint, m.LogTerm, r.RaftLog.committed)
}

// handleHeartbeat learns the commit index and echoes the round.
func (r *Raft) handleHeartbeat(m eraftpb.Message) {
	resp := eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeatResponse, To: m.From, Context: m.Context}
	if r.async() {
		r.heardCommit(m.Commit)
		r.transfer.withdrawn = max(r.transfer.withdrawn, m.Index)
		resp.Commit = r.RaftLog.committed
	}
	r.send(resp)
}
