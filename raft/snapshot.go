package raft

import (
	"errors"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// A follower that lacks entries which the leader's log no longer has receives a snapshot. The leader sends nothing else to
// it until the outcome is reported (ReportSnapshot) or the follower's acknowledgement arrives. The follower puts the
// snapshot in the place of its log, unless it holds as much already; the next Ready hands it out to be installed, and
// nothing is applied before that has been done.
//
// A follower whose log is as it should be, but whose applied state is not to be trusted any more, asks for a snapshot
// (RequestSnapshot). It takes one that reaches the end of its log, at least, although it holds all of that: so what it has acknowledged
// stays. Until then, or the end of the term, it takes in no entries, or the end would move on with every one; it votes
// and answers heartbeats as before.

// IsEmptySnap tells whether a snapshot holds nothing.
func IsEmptySnap(snap *eraftpb.Snapshot) bool {
	return snapshotIndex(snap) == 0
}

func snapshotIndex(snap *eraftpb.Snapshot) uint64 {
	return snap.GetMetadata().GetIndex()
}

// sendSnapshot sends the newest snapshot, once there is one, to a follower that is alive.
func (r *Raft) sendSnapshot(to uint64, pr *Progress) bool {
	if r.async() && !pr.RecentActive {
		return false
	}
	snap := r.RaftLog.pendingSnapshot
	if snap == nil {
		stored, err := r.RaftLog.storage.Snapshot()
		if err != nil || IsEmptySnap(&stored) {
			pr.loading = r.async() && errors.Is(err, ErrSnapshotTemporarilyUnavailable)
			return false
		}
		snap = &stored
	}
	if snapshotIndex(snap) < pr.Wanted {
		return false // asked again with the next refusal, when a newer one may be there
	}
	r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, To: to, Snapshot: snap})
	if r.async() {
		pr.becomeSnapshot(snapshotIndex(snap))
	} else {
		pr.Next = snapshotIndex(snap) + 1
	}
	return true
}

// handleSnapshotStatus learns what became of a snapshot. Either way the follower is probed, when it next answers.
func (r *Raft) handleSnapshotStatus(m eraftpb.Message, pr *Progress) {
	if pr.State != ProgressSnapshot {
		return
	}
	if m.Reject {
		pr.PendingSnapshot = 0
	}
	pr.becomeProbe()
	pr.probing = true
}

// handleSnapshot takes in a snapshot and acknowledges how far the log reaches now.
func (r *Raft) handleSnapshot(m eraftpb.Message) {
	if m.Snapshot != nil {
		r.restore(m.Snapshot)
	}
	resp := eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, To: m.From, Index: r.RaftLog.committed}
	if r.async() {
		resp.Commit = r.RaftLog.committed
	}
	r.send(resp)
}

// restore puts a snapshot in the place of the log, if it is ahead of it. A snapshot that is late, repeated, or taken of the
// very log that is held here must not roll anything back (R12); one without this node, be it as a learner, is meant for
// another configuration.
func (r *Raft) restore(snap *eraftpb.Snapshot) {
	l := r.RaftLog
	index := snapshotIndex(snap)
	renewal := r.renewal > 0 && index >= max(r.renewal, l.committed)
	if index <= l.committed && !renewal {
		return
	}
	conf, err := confchange.Restore(snap.Metadata.ConfState)
	if err != nil || !conf.Contains(r.id) {
		return
	}
	if l.matchTerm(index, snap.Metadata.Term) && !renewal {
		l.commitTo(index)
		return
	}
	r.renewal = 0
	l.restore(snap)
	if !r.async() {
		l.applied = index
	}
	r.setConf(conf)
}

// requestSnapshot asks the leader for a snapshot in place of what is applied here, and tells whether that was possible: there must be a leader, and
// the log must end with an entry of its term, which its log has too.
func (r *Raft) requestSnapshot() bool {
	l := r.RaftLog
	if !r.async() || r.State != StateFollower || r.Lead == None || l.pendingSnapshot != nil {
		return false
	}
	if r.renewal == 0 {
		last := l.LastIndex()
		if !l.matchTerm(last, r.Term) {
			return false
		}
		r.renewal = last
	}
	r.refuseForSnapshot()
	return true
}

// refuseForSnapshot asks for the snapshot, also in answer to an append. It acknowledges the log that there is: without that, the entries up to the
// index that is wanted might never be committed.
func (r *Raft) refuseForSnapshot() {
	r.send(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppendResponse, To: r.Lead, Index: r.renewal, Commit: r.RaftLog.committed, RequestSnapshot: r.renewal,
	})
}

// handleSnapshotRequest sends a snapshot, unless one is on its way.
func (r *Raft) handleSnapshotRequest(m eraftpb.Message, pr *Progress) {
	if pr.maybeUpdate(m.Index) {
		r.advanceCommit()
	}
	if !r.async() || pr.State == ProgressSnapshot {
		return
	}
	if pr.State != ProgressProbe || pr.Wanted == 0 {
		pr.becomeProbe()
	}
	pr.Wanted = m.RequestSnapshot
	r.sendAppend(m.From)
}
