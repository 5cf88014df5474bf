package raft

import (
	"errors"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// A leader sends to each follower what its Progress says. In the course's mode every append carries everything from Next
// on and Next waits for the acknowledgement. In async mode a follower is probed until it is known where the logs agree,
// then appends follow each other within the inflight window; what is lost shows as a refusal, or when a heartbeat is
// answered.

// bcastAppend sends each follower what it lacks, and the commit index.
func (r *Raft) bcastAppend() {
	for _, id := range r.peers {
		if id != r.id {
			r.sendAppend(id)
		}
	}
}

// sendAppend sends an append, which may be empty, or a snapshot, and tells whether anything was sent.
func (r *Raft) sendAppend(to uint64) bool {
	return r.maybeSendAppend(to, r.Prs[to], true)
}

func (r *Raft) maybeSendAppend(to uint64, pr *Progress, evenEmpty bool) bool {
	if pr == nil || r.async() && pr.paused() {
		return false
	}
	if pr.Wanted > 0 {
		return r.sendSnapshot(to, pr)
	}
	var ents []eraftpb.Entry
	prevTerm, err := r.RaftLog.Term(pr.Next - 1)
	if err == nil {
		ents, err = r.RaftLog.entriesFrom(pr.Next, r.cfg.MaxSizePerMsg)
	}
	switch {
	case errors.Is(err, ErrLogTemporarilyUnavailable):
		pr.loading = true
		return false
	case err != nil:
		return r.sendSnapshot(to, pr)
	case len(ents) == 0 && !evenEmpty:
		return false
	}
	r.sendEntries(to, pr.Next-1, prevTerm, ents)
	if r.async() {
		pr.sent(len(ents), r.inflightSize(ents))
	}
	return true
}

func (r *Raft) sendEntries(to, prev, prevTerm uint64, ents []eraftpb.Entry) {
	r.send(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, To: to,
		Index: prev, LogTerm: prevTerm, Entries: r.office.shared.pointers(ents), Commit: r.announced(),
	})
}

// inflightSize is the bytes an append takes of the window, if bytes are counted.
func (r *Raft) inflightSize(ents []eraftpb.Entry) (size uint64) {
	if r.cfg.MaxInflightBytes > 0 {
		for i := range ents {
			size += uint64(ents[i].Size())
		}
	}
	return size
}

// sharedEntries lets the appends to several followers share one slice of pointers. It lives from one Ready to the next, so
// that it keeps no entries in memory.
type sharedEntries struct {
	last []*eraftpb.Entry
}

func (s *sharedEntries) pointers(ents []eraftpb.Entry) []*eraftpb.Entry {
	n := len(ents)
	if n == 0 {
		return nil
	}
	if len(s.last) == n && s.last[0] == &ents[0] {
		return s.last
	}
	s.last = make([]*eraftpb.Entry, n)
	for i := range ents {
		s.last[i] = &ents[i]
	}
	return s.last
}

// handleAppendResponse learns how far a follower's log agrees.
func (r *Raft) handleAppendResponse(m eraftpb.Message, pr *Progress) {
	pr.RecentActive = true
	pr.Committed = max(pr.Committed, m.Commit)
	switch {
	case m.Index > r.RaftLog.LastIndex():
		return
	case m.RequestSnapshot > 0:
		r.handleSnapshotRequest(m, pr)
		return
	case m.Reject:
		r.handleAppendReject(m, pr)
		return
	}
	wasPaused := pr.paused()
	news := pr.maybeUpdate(m.Index)
	r.ackReplicate(m.Index, pr)
	advanced := news && r.advanceCommit()
	if r.async() {
		for r.maybeSendAppend(m.From, pr, false) {
			wasPaused = false
		}
		// The news of a commit may have gone to all others while this one could not be sent to.
		if wasPaused && !advanced && !r.cfg.LazyCommit && pr.Committed < r.RaftLog.committed {
			r.sendAppend(m.From)
		}
	} else if news && !advanced && pr.Match < r.RaftLog.LastIndex() {
		r.sendAppend(m.From)
	}
	if m.From == r.leadTransferee && !r.transfer.sent && pr.Match == r.RaftLog.LastIndex() {
		r.sendTimeoutNow(m.From)
	}
	r.spreadDeparture()
}

// ackReplicate moves on once it is known where the logs agree, and frees the window.
func (r *Raft) ackReplicate(index uint64, pr *Progress) {
	switch {
	case !r.async():
	case pr.State == ProgressProbe && index == pr.Match:
		pr.becomeReplicate()
	case pr.State == ProgressSnapshot && pr.Wanted > 0 && index < pr.PendingSnapshot: // an acknowledgement of its log
	case pr.State == ProgressSnapshot && pr.Match+1 >= r.RaftLog.firstIndex():
		pr.Wanted = 0
		pr.becomeReplicate()
	case pr.State == ProgressReplicate:
		pr.inflight.acked(index)
	}
}

// handleAppendReject goes back to where the logs may agree. The follower has told the last place in its log at which the
// term is not too high; the leader skips its own entries whose term is too high for that place. So one round trip passes
// over a term, not over an entry (R16).
func (r *Raft) handleAppendReject(m eraftpb.Message, pr *Progress) {
	if !r.async() {
		pr.Next = max(pr.Match, min(m.Index, pr.Next-1)) + 1
		r.sendAppend(m.From)
		return
	}
	hint := min(m.RejectHint, r.RaftLog.LastIndex())
	if m.LogTerm > 0 {
		hint, _ = r.RaftLog.findConflictByTerm(hint, m.LogTerm, pr.Match)
	}
	if pr.maybeDecrease(m.Index, hint) {
		r.sendAppend(m.From)
	}
}

// bcastHeartbeat begins a round and sends it to all followers.
func (r *Raft) bcastHeartbeat() {
	r.clock.heartbeatElapsed = 0
	r.reads.begin(r.async())
	for _, id := range r.peers {
		if id != r.id {
			r.sendHeartbeat(id)
		}
	}
	r.confirmReads()
}

// sendHeartbeat sends the current round, with as much of the commit index as the follower is known to have the log for.
func (r *Raft) sendHeartbeat(to uint64) {
	m := eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, To: to}
	if pr := r.Prs[to]; r.async() && pr != nil {
		m.Commit = min(pr.Match, r.announced())
		m.Context = r.reads.context
		m.Index = r.transfer.withdrawn
	}
	r.send(m)
}

// handleHeartbeatResponse confirms a round, and looks after a follower that lags: whatever was on the way to it may be lost.
func (r *Raft) handleHeartbeatResponse(m eraftpb.Message, pr *Progress) {
	pr.RecentActive = true
	pr.Committed = max(pr.Committed, m.Commit)
	if !r.async() {
		if pr.Match < r.RaftLog.LastIndex() {
			r.sendAppend(m.From)
		}
		return
	}
	if pr.acknowledge(m.Context, r.reads.round) {
		r.confirmReads()
	}
	pr.probing, pr.loading = false, false
	switch {
	case pr.State == ProgressReplicate && pr.inflight.full():
		r.probeWindow(m.From, pr)
	case pr.Match < r.RaftLog.LastIndex() || pr.State == ProgressProbe:
		r.sendAppend(m.From)
	}
	r.spreadDeparture()
}

// probeWindow finds out, by an empty append, whether all that fills a follower's window has been lost. Without the log to
// ask with, the follower is taken back to what it has acknowledged.
func (r *Raft) probeWindow(to uint64, pr *Progress) {
	prevTerm, err := r.RaftLog.Term(pr.Next - 1)
	if err == nil {
		r.sendEntries(to, pr.Next-1, prevTerm, nil)
		return
	}
	pr.becomeProbe()
	r.sendAppend(to)
}
