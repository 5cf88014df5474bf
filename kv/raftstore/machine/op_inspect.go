package machine

import (
	"slices"
)

// PeerReport is what a peer's owner knows of it, for people. It is made when somebody asks.
type PeerReport struct {
	Log LogStatus `json:"log"`
	// Followers is what a leader knows of the other members, in the order of their ids.
	Followers []FollowerReport `json:"followers,omitempty"`
	Snapshot  SnapshotReport   `json:"snapshot"`
	Check     HashCheck        `json:"consistency"`
	// Damaged says why the peer's data is not to be trusted, empty when it is.
	Damaged string `json:"damaged,omitempty"`
	// MergeInto is the region that the peer's is to be merged into, 0 for none: until that is over, or taken back, it serves nothing.
	MergeInto uint64 `json:"merge_into,omitempty"`
}

// FollowerReport is a leader's view of one member.
type FollowerReport struct {
	PeerID uint64 `json:"peer_id"`
	// State is probe, replicate or snapshot; Match is the last entry that it is known to have, Lag how many it lacks.
	State string `json:"state"`
	Match uint64 `json:"match"`
	Lag   uint64 `json:"lag"`
	// Snapshot is the index of the snapshot that is on its way, 0 for none.
	Snapshot uint64 `json:"snapshot,omitempty"`
	// SilentTicks is for how long nothing was heard of it.
	SilentTicks uint64 `json:"silent_ticks"`
}

// SnapshotReport is what a peer has to do with snapshots at the moment.
type SnapshotReport struct {
	Building   bool   `json:"building,omitempty"`
	Built      uint64 `json:"built,omitempty"`
	Installing uint64 `json:"installing,omitempty"`
}

// handleInspect answers with what is known. It waits for nothing, so that a peer that is stuck can be looked at.
func (m *RaftMachine) handleInspect(q Inspect) {
	var report *PeerReport
	if p := m.peers[q.RegionID]; p != nil && !p.ending {
		report = m.inspect(p)
	}
	m.round.Reply = append(m.round.Reply, Reply{Done: func(error) { q.Tell(report) }})
}

func (m *RaftMachine) inspect(p *peer) *PeerReport {
	r := &PeerReport{Log: p.logStatus(), Check: p.check, Damaged: p.damage}
	if p.merge.frozen() {
		r.MergeInto = p.merge.state.Target.GetId()
	}
	r.Snapshot.Building = p.snap.building
	if p.log.snapshot != nil {
		r.Snapshot.Built = p.log.snapshot.Metadata.Index
	}
	if p.snap.installing {
		r.Snapshot.Installing = p.snap.at.Index
	}
	if !p.isLeader() {
		return r
	}
	for id, pr := range p.node.GetProgress() { // order-free: sorted below
		if id == p.id {
			continue
		}
		r.Followers = append(r.Followers, FollowerReport{
			PeerID: id, State: pr.State.String(), Match: pr.Match, Lag: r.Log.Last - min(r.Log.Last, pr.Match), Snapshot: pr.PendingSnapshot,
			SilentTicks: p.members.silence(id, p.duties.leadsSince, p.ticks),
		})
	}
	slices.SortFunc(r.Followers, func(a, b FollowerReport) int { return int(a.PeerID) - int(b.PeerID) })
	return r
}

func (p *peer) logStatus() LogStatus {
	log := p.node.Raft.RaftLog
	return LogStatus{p.log.truncated.Index, p.applied.Index, log.Committed(), log.Stabled(), log.LastIndex(), p.log.last.Term, p.log.bytes.size()}
}
