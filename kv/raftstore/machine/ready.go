package machine

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/raft"
)

// What raft wants done, a Ready, leaves for the log writer, the ApplyMachine and the transport, and what they have done comes back to raft. The promises of a Ready leave
// behind its write; what raft needs of the old log or of the state is asked for and comes as mail.

// takeReady turns one Ready into the round's deeds.
func (m *RaftMachine) takeReady(p *peer, rd *raft.Ready) {
	m.round.Send = m.envelopes(p, m.round.Send, rd.Messages)
	if len(rd.Entries)+len(rd.CommittedEntries)+len(rd.ReadStates) > 0 || rd.SoftState != nil {
		p.sleep.busyAt = p.ticks
	}
	for i := range rd.ReadStates {
		m.confirmRead(p, rd.ReadStates[i].RequestCtx, rd.ReadStates[i].Index)
	}
	if !raft.IsEmptySnap(&rd.Snapshot) {
		m.installSnapshot(p, rd)
		return
	}
	m.write(p, rd)
	if len(rd.CommittedEntries) > 0 {
		m.apply(p, rd.CommittedEntries)
	}
}

// write hands a Ready's entries and hard state to the log writer. A commit index alone is not worth a write: it rides on the next, and not on
// each, so that most entries are written without a raft state (commitLag). A crash takes nothing that counts with it: term and vote are written as soon as
// they change, the last entry tells where the log ends, and a commit index is volatile but for R2 and R4, whose protections raft keeps by what was told.
func (m *RaftMachine) write(p *peer, rd *raft.Ready) {
	after := m.envelopes(p, nil, rd.PersistedMessages)
	if !rd.MustSync && p.persist.given == p.persist.done {
		m.round.Send = append(m.round.Send, after...) // all that these messages promise is durable already
		return
	}
	if !rd.MustSync && len(after) == 0 {
		return
	}
	task := WriteTask{PeerID: p.id, Number: p.persist.base + rd.Number, After: after}
	task.RegionID, task.Sync = p.regionID, rd.MustSync
	if rd.MustSync {
		task.OldLast = p.log.last.Index
		p.log.appended(rd.Entries)
		task.Entries = rd.Entries
		if !raft.IsEmptyHardState(rd.HardState) {
			task.State = p.localState()
		}
	}
	p.persist.given = task.Number
	m.round.Write = append(m.round.Write, task)
}

// localState is what must be durable of raft beside the entries: its commit index is one of the log that it is written with. That of a snapshot which raft has accepted
// and which is not in place yet belongs to no entry of the old log, of which only what is applied, or was written as agreed to before, is known to be so. It never becomes
// less: a membership change rests on the commit of the one before (R2).
func (p *peer) localState() *raft_serverpb.RaftLocalState {
	hs := p.node.Raft.HardState()
	hs.Commit = min(hs.Commit, p.log.last.Index)
	if p.snap.claimed || p.snap.installing {
		hs.Commit = max(min(hs.Commit, p.applied.Index), p.persist.commit)
	}
	p.persist.commit = hs.Commit
	return &raft_serverpb.RaftLocalState{HardState: &hs, LastIndex: p.log.last.Index}
}

func (m *RaftMachine) handlePersisted(mail Persisted) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	p.persist.done = max(p.persist.done, mail.Number)
	m.reload(p)
	if mail.Number > p.persist.base {
		p.node.Persisted(mail.Number - p.persist.base)
	}
	if p.snap.installing && p.snap.number == mail.Number {
		m.snapshotInstalled(p)
	}
	m.touch(p)
}

// apply hands committed entries to the ApplyMachine, each with those who wait for it.
func (m *RaftMachine) apply(p *peer, entries []eraftpb.Entry) {
	task := ApplyTask{RegionID: p.regionID, PeerID: p.id, Entries: entries}
	for i := range entries {
		at := Pair{entries[i].Index, entries[i].Term}
		if len(p.pending) == 0 || p.pending[0].Index > at.Index {
			continue
		}
		if waiting := m.takePending(p, at); len(waiting) > 0 {
			task.Waiting = append(task.Waiting, pendingEntry{Pair: at, proposals: waiting})
		}
	}
	m.round.Apply = append(m.round.Apply, task)
}

func (m *RaftMachine) handleApplied(mail Applied) {
	p, res := m.peers[mail.RegionID], &mail.Results
	if p == nil || p.id != mail.PeerID {
		return
	}
	if res.Split != nil {
		m.afterSplit(p, res.Split) // also when the peer is ending: the new regions have come to be
	}
	if p.ending {
		return
	}
	if res.Installed {
		m.resetLog(p, res)
		return
	}
	if c := res.Change; c != nil {
		m.afterConfChange(p, c)
	}
	if res.Forced != nil {
		m.afterForce(p, res.Forced)
	}
	if c := res.Merge; c != nil {
		m.afterMerge(p, c)
	}
	p.applied = res.Applied
	p.node.Applied(res.Applied.Index)
	m.countWritten(p, res)
	if res.HashAt > 0 {
		p.check.Asked = res.HashAt
	}
	if res.Verify != nil {
		m.afterVerify(p, res.Verify)
	}
	if res.Truncated.Index > 0 {
		m.afterCompact(p, res.Truncated)
	}
	m.touch(p)
}

// askStorage starts the loading of what raft found missing.
func (m *RaftMachine) askStorage(p *peer) {
	if w := &p.log.wanted; w.hi > 0 && !w.asked {
		w.asked = true
		m.round.Tasks = append(m.round.Tasks, ReadLog{RegionID: p.regionID, PeerID: p.id, Lo: w.lo, Hi: w.hi, MaxBytes: m.cfg.Raft.MaxSizePerMsg})
	}
	if p.log.wantSnapshot && !p.snap.building && p.applied.Index >= p.log.least {
		p.snap.building = true
		m.round.Tasks = append(m.round.Tasks, BuildSnapshot{RegionID: p.regionID, PeerID: p.id})
	}
}

func (m *RaftMachine) handleLogRead(mail LogRead) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	p.log.loaded(mail.Entries)
	p.node.EntriesAvailable()
	if p.isLeader() && p.duties.compactTo > 0 {
		m.compactLog(p) // after the followers have asked for more: its read must not be put off for ever
	}
	m.touch(p)
}

// envelopes addresses messages and appends them to out; those whose receiver's store is not known are lost.
func (m *RaftMachine) envelopes(p *peer, out []*raft_serverpb.RaftMessage, msgs []eraftpb.Message) []*raft_serverpb.RaftMessage {
	if p.merge.yielded {
		return out // it is not for a region that is no more to speak
	}
	for i := range msgs {
		if env := p.envelope(m.cfg.StoreID, &msgs[i]); env != nil {
			out = append(out, env)
		}
	}
	return out
}
