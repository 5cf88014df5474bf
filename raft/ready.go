package raft

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// SoftState is what the outside may want to know at once and nobody has to store.
type SoftState struct {
	Lead      uint64
	RaftState StateType
}

// Ready is what has to be written, sent and applied, and in which order. Nothing in it may be changed by the receiver, nor
// is it changed later by the node.
//
// HardState, Entries and Snapshot of a Ready are one atomic write, and Readies are written in their order. One whose
// MustSync is false may reach the disk late, together with the next one, but not after it: a membership change that is
// durable must never be without the commit of the one before it.
type Ready struct {
	// Number counts the Readies of a node from 1 on, in async mode; Persisted takes it back.
	Number uint64

	// SoftState is nil if it has not changed.
	*SoftState

	// HardState is to be made durable, together with Entries and Snapshot; it is empty if it has not changed.
	HardState eraftpb.HardState
	// Entries are to be made durable. Whatever the log holds at and after the first of them is replaced.
	Entries []eraftpb.Entry
	// Snapshot, unless empty, replaces the state machine and the whole log before Entries are written.
	Snapshot eraftpb.Snapshot

	// CommittedEntries are to be applied. In async mode they are durable here already; none are handed out again.
	CommittedEntries []eraftpb.Entry

	// Messages may leave at once; in the course's mode only after Entries, HardState and Snapshot are durable.
	Messages []eraftpb.Message
	// PersistedMessages vouch for durable state: they must not leave before this Ready and all earlier ones are durable.
	PersistedMessages []eraftpb.Message

	// ReadStates answer reads.
	ReadStates []ReadState

	// MustSync tells that the write must have reached the disk to count; otherwise, when only a commit index has changed,
	// it may be lost, or ride along with a later write. Async mode only.
	MustSync bool
}

// IsEmptyHardState tells whether nothing is in it.
func IsEmptyHardState(st eraftpb.HardState) bool {
	return isHardStateEqual(st, eraftpb.HardState{})
}

func isHardStateEqual(a, b eraftpb.HardState) bool {
	return a.Term == b.Term && a.Vote == b.Vote && a.Commit == b.Commit
}

// reported is what earlier Readies have said.
type reported struct {
	soft   SoftState
	hard   eraftpb.HardState
	number uint64
}

// HasReady tells whether Ready would hold anything.
func (rn *RawNode) HasReady() bool {
	r := rn.Raft
	l := r.RaftLog
	if len(r.msgs) > 0 || len(r.promises) > 0 || l.durable.wanted || len(r.reads.answers) > 0 || r.readsToFlush() {
		return true
	}
	if r.softState() != rn.reported.soft || !isHardStateEqual(r.hardState(), rn.reported.hard) {
		return true
	}
	if r.async() {
		return l.pendingSnapshot != nil && !l.handoff.snapshot || l.handoff.entries < l.LastIndex() || l.hasApplicable()
	}
	return l.pendingSnapshot != nil || l.stabled < l.LastIndex() || l.applied < l.committed
}

// Ready collects what is to be done. In async mode the node takes it as accepted: the next Ready holds only what is new. In
// the course's mode it shows the same work until Advance.
func (rn *RawNode) Ready() Ready {
	r := rn.Raft
	r.flushReads()
	var rd Ready
	if soft := r.softState(); soft != rn.reported.soft {
		rd.SoftState = &soft
	}
	if hard := r.hardState(); !isHardStateEqual(hard, rn.reported.hard) {
		rd.HardState = hard
	}
	if len(r.msgs) > 0 {
		rd.Messages, r.msgs = r.msgs, nil
	}
	rd.ReadStates, r.reads.answers = r.reads.answers, nil
	r.office.shared = sharedEntries{}
	if r.async() {
		rn.handOff(&rd)
		return rd
	}
	rd.Entries = r.RaftLog.unstableEntries()
	rd.CommittedEntries = limitSize(r.RaftLog.nextEnts(), r.cfg.MaxCommittedSizePerReady)
	if snap := r.RaftLog.pendingSnapshot; snap != nil {
		rd.Snapshot = *snap
	}
	return rd
}

// handOff completes a Ready of the async mode and keeps account of what it gives out.
func (rn *RawNode) handOff(rd *Ready) {
	r := rn.Raft
	l := r.RaftLog
	rn.reported.number++
	rd.Number = rn.reported.number
	rd.MustSync = r.Term != rn.reported.hard.Term || r.Vote != rn.reported.hard.Vote ||
		r.office.held.last > rn.reported.hard.Commit || l.durable.wanted
	tell := rd.MustSync || l.committed >= l.handoff.commit+r.cfg.CommitLag || l.pendingSnapshot != nil
	rn.reported.soft, rn.reported.hard = r.softState(), r.hardState()
	if l.durable.wanted {
		// An earlier Ready may have told it, which nobody had to write.
		rd.HardState = rn.reported.hard
		l.durable.wanted = false
	}

	// Applicable are only entries that are durable, so none of those that are handed out to be written now.
	if lo, hi := l.applicable(); lo < hi {
		rd.CommittedEntries = limitSize(l.slice(lo+1, hi+1), r.cfg.MaxCommittedSizePerReady)
		l.handoff.apply += uint64(len(rd.CommittedEntries))
	}
	if l.pendingSnapshot != nil && !l.handoff.snapshot {
		rd.Snapshot = *l.pendingSnapshot
		l.handoff.snapshot = true
		rd.MustSync = true
	}
	if ents := l.toWrite(); len(ents) > 0 {
		tell = tell || slices.ContainsFunc(ents, isConfChange)
		rd.Entries = ents
		l.handoff.entries = l.LastIndex()
		rd.MustSync = true
	}
	if rd.MustSync {
		rn.tellCommit(rd, tell)
		l.handoff.writes = append(l.handoff.writes, write{
			number: rd.Number, last: l.handoff.entries, term: r.Term, vote: r.Vote, commit: l.handoff.commit,
			snapshot: snapshotIndex(&rd.Snapshot),
		})
	}
	rn.handOffPromises(rd)
}

// tellCommit decides whether a write makes the commit index durable. It need not: a node that has forgotten it commits the same entries again. But a membership
// change is never durable without the commit of the one before, which came with it: who has the one and has forgotten the other would campaign among members that
// are two changes old (R2; found by the simulator, seed 1011). And R4's protections go by the account that is kept here and ask for a durable commit by MustSync.
func (rn *RawNode) tellCommit(rd *Ready, tell bool) {
	r := rn.Raft
	switch {
	case r.cfg.CommitLag == 0: // what an earlier Ready has told rides along
	case tell:
		rd.HardState = rn.reported.hard
	default:
		rd.HardState = eraftpb.HardState{}
		return
	}
	r.RaftLog.handoff.commit = r.RaftLog.committed
}

// handOffPromises gives out the messages that vouch for durable state; if everything is durable, they may leave at once.
func (rn *RawNode) handOffPromises(rd *Ready) {
	r := rn.Raft
	promises := r.promises
	r.promises = nil
	switch {
	case len(promises) == 0:
	case len(r.RaftLog.handoff.writes) > 0:
		rd.PersistedMessages = promises
	case len(rd.Messages) == 0:
		rd.Messages = promises
	default:
		rd.Messages = append(rd.Messages, promises...)
	}
}

// Advance says, in the course's mode, that everything of the last Ready has been done.
func (rn *RawNode) Advance(rd Ready) {
	r := rn.Raft
	l := r.RaftLog
	if r.async() {
		panic("raft: Advance belongs to the course's mode; report with Persisted and Applied")
	}
	if rd.SoftState != nil {
		rn.reported.soft = *rd.SoftState
	}
	if !IsEmptyHardState(rd.HardState) {
		rn.reported.hard = rd.HardState
	}
	if n := len(rd.Entries); n > 0 {
		if last := rd.Entries[n-1]; l.matchTerm(last.Index, last.Term) {
			l.stabled = max(l.stabled, last.Index)
		}
	}
	if l.pendingSnapshot != nil && snapshotIndex(&rd.Snapshot) == snapshotIndex(l.pendingSnapshot) {
		l.pendingSnapshot = nil
	}
	if n := len(rd.CommittedEntries); n > 0 {
		l.applied = max(l.applied, rd.CommittedEntries[n-1].Index)
	}
	l.maybeCompact()
	r.leaveJoint()
}

// Persisted says, in async mode, that the Ready of this number and all earlier ones are durable.
func (rn *RawNode) Persisted(number uint64) {
	if number > rn.reported.number {
		panic("raft: a Ready was reported as durable that has not been handed out")
	}
	for {
		w, ok := rn.Raft.RaftLog.handoff.takeWritten(number)
		if !ok {
			return
		}
		rn.Raft.persisted(w)
	}
}

// Applied says, in async mode, that the state machine has applied everything up to index. Reports that are late or
// repeated do no harm.
func (rn *RawNode) Applied(index uint64) {
	rn.Raft.RaftLog.appliedTo(index)
	rn.Raft.releaseCommit()
	rn.Raft.releaseReads()
	rn.Raft.spreadDeparture()
	rn.Raft.leaveJoint()
}
