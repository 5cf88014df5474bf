package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A peer's life.
//
// bootstrap  the first region's only peer is written before the store starts (package raftstore).
// restore    at start, from region state, apply state, raft state and the log's tail. One whose removal was applied, and who was not told yet that the others
//            know, is there as before: they may be unable to choose a leader without it (R4).
// create     the StoreMachine answers a message for an unknown region with an empty peer; a snapshot makes it whole.
// destroy    when its removal is applied, or a newer epoch tells it so, or a message for a newer peer of the region arrives:
//            synced tombstone with the peer's id, together with the deletion of the data → the log's destruction → only then the
//            machine and the StoreMachine forget it, all but its term and vote (Legacy). All of it goes through the region's own queues, first in first out, behind
//            what was under way; completions carry the peer's id, and late ones of an earlier peer are dropped (S9).

// InitIndex and InitTerm are where a bootstrapped region's log begins, so that an empty peer (index 0) can be told from it.
const (
	InitIndex = 5
	InitTerm  = 5
)

// Restored is what a restart finds of one initialized region. PeerID is not among its peers if it was removed.
type Restored struct {
	Region *metapb.Region
	PeerID uint64
	Apply  *raft_serverpb.RaftApplyState
	Raft   *raft_serverpb.RaftLocalState
	// Tail is the log's entries after the applied index, and the last one at least when the log is not empty.
	Tail []eraftpb.Entry
	// Merge says what merge the region is prepared for, nil for none; Records what it took in.
	Merge   *raft_serverpb.MergeState
	Records []*raft_serverpb.MergedRecord
	// LogBytes is about what the log takes on disk.
	LogBytes uint64
}

func (m *RaftMachine) restore(r Restored) (*peer, error) {
	applied := Pair{r.Apply.GetAppliedIndex(), r.Apply.GetCommitTerm()}
	truncated := Pair{r.Apply.GetTruncatedState().GetIndex(), r.Apply.GetTruncatedState().GetTerm()}
	hs := *r.Raft.GetHardState()
	// The commit index is written lazily: what was applied was committed.
	hs.Commit = max(hs.Commit, applied.Index)
	last := Pair{r.Raft.GetLastIndex(), truncated.Term}
	if n := len(r.Tail); n > 0 {
		last.Term = r.Tail[n-1].Term
	}
	// S1: the two engines must tell one story.
	switch {
	case hs.Commit > last.Index:
		return nil, errors.Errorf("region %d: the log ends at %d, but %d is committed or applied: raft log lost", r.Region.Id, last.Index, hs.Commit)
	case truncated.Index > applied.Index:
		return nil, errors.Errorf("region %d: the log is truncated at %d, but only %d is applied", r.Region.Id, truncated.Index, applied.Index)
	case last.Index > truncated.Index && len(r.Tail) == 0:
		return nil, errors.Errorf("region %d: the log should end at %d and has no entries", r.Region.Id, last.Index)
	case len(r.Tail) > 0 && r.Tail[len(r.Tail)-1].Index != last.Index:
		return nil, errors.Errorf("region %d: the log should end at %d and ends at %d", r.Region.Id, last.Index, r.Tail[len(r.Tail)-1].Index)
	case hs.Term < last.Term:
		return nil, errors.Errorf("region %d: term %d is below the log's last term %d", r.Region.Id, hs.Term, last.Term)
	}
	p := &peer{regionID: r.Region.Id, id: r.PeerID, region: r.Region, applied: applied, merge: merging{state: r.Merge}, persist: persistence{commit: hs.Commit}}
	p.log = &peerLog{initial: hs, truncated: truncated, last: last, start: applied, window: r.Tail, conf: *ConfStateOf(r.Region)}
	p.log.bytes = foundBytes(truncated.Index, last.Index, r.LogBytes)
	p.removed = region.FindPeer(r.Region, r.PeerID) == nil
	if err := m.start(p, m.silence()); err != nil {
		return nil, err
	}
	if len(r.Region.Peers) == 1 && !p.removed {
		// Nobody else can win; without waiting for a timeout a fresh cluster has its leader at once.
		return p, p.node.Campaign()
	}
	return p, nil
}

// silence is for how many ticks a peer ignores campaigns that may have forgotten whether it had just heard a leader (R11).
func (m *RaftMachine) silence() int {
	if m.cfg.LeaseDuration > 0 {
		return m.cfg.ElectionTicks
	}
	return 0
}

// commitLag is how many entries' commitment a peer may have to learn again after a crash: so the raft state is written with every 64th entry, not with
// each, which saves one of the two keys of a write to the log.
const commitLag = 64

// start makes the peer's raft node.
func (m *RaftMachine) start(p *peer, silence int) error {
	l := m.cfg.Raft
	node, err := raft.NewRawNode(&raft.Config{
		ID: p.id, ElectionTick: m.cfg.ElectionTicks, HeartbeatTick: m.cfg.HeartbeatTicks,
		Storage: p.log, Applied: p.applied.Index, Seed: m.cfg.Seed ^ p.regionID<<16, AsyncStorage: true,
		PreVote: m.cfg.PreVote, CheckQuorum: true, VoteSilenceTicks: silence, LazyCommit: true, AnnounceApplied: true, CommitLag: commitLag,
		MaxSizePerMsg: l.MaxSizePerMsg, MaxCommittedSizePerReady: l.MaxCommittedPerReady, MaxUncommittedEntriesSize: l.MaxUncommitted,
		MaxInflightMsgs: l.MaxInflightMsgs, MaxInflightBytes: l.MaxInflightBytes, MaxCachedBytes: l.MaxCached,
	})
	p.node = node
	return errors.Annotatef(err, "region %d peer %d", p.regionID, p.id)
}

// handleCreate makes an empty peer and lets it hear the message that it was made for.
func (m *RaftMachine) handleCreate(c Create) {
	if m.peers[c.RegionID] != nil {
		m.handleStep(c.First)
		return
	}
	p := &peer{regionID: c.RegionID, id: c.PeerID, region: &metapb.Region{Id: c.RegionID}, log: &peerLog{}}
	if c.State != nil {
		p.log.initial = *c.State.HardState
		p.log.initial.Commit = 0
	}
	if err := m.start(p, m.silence()); err != nil {
		panic(err) // the configuration was good for every other peer
	}
	m.add(p)
	m.touch(p)
	p.contact.confVer = c.First.RegionEpoch.GetConfVer() // whoever wrote it counts the peer among the members
	m.handleStep(c.First)
}

// isForPeer reports whether a message is for the peer that lives here; if not, it does what the message calls for.
func (m *RaftMachine) isForPeer(p *peer, msg *raft_serverpb.RaftMessage) bool {
	if p.ending || p.merge.yielded {
		return false
	}
	to := msg.ToPeer.GetId()
	newer := msg.RegionEpoch.GetConfVer() > p.confVer()
	switch {
	case to < p.id:
		return false // for a predecessor of this peer, which is gone
	case to > p.id:
		// This peer was removed and did not hear of it. Once it is gone, the next message makes the new one.
		if newer || !p.initialized() {
			m.destroy(p)
		}
		return false
	case msg.IsTombstone && msg.MergeTarget != nil:
		m.toldMerged(p, msg)
		return false
	case msg.IsTombstone:
		m.hearBurial(p, msg)
		return false
	case p.initialized() && region.FindPeer(p.region, msg.FromPeer.GetId()) == nil &&
		msg.RegionEpoch.GetConfVer() < p.region.RegionEpoch.ConfVer:
		if wantsToKnow(msg) {
			m.tellStale(p, msg)
		}
		return false
	}
	return true
}

// wantsToKnow reports whether the sender would not have sent this if it knew of its removal: it leads, campaigns, has slept and looks for its leader, or agrees to sleep
// although nobody has asked it for long, and might have lost the word with all else that came during a pause (seed 1113).
func wantsToKnow(msg *raft_serverpb.RaftMessage) bool {
	if msg.ExtraMsg != nil {
		kind := msg.ExtraMsg.Type
		return kind == raft_serverpb.ExtraMessageType_MsgRegionWakeUp || kind == raft_serverpb.ExtraMessageType_MsgHibernateResponse
	}
	switch msg.Message.GetMsgType() {
	case eraftpb.MessageType_MsgRequestVote, eraftpb.MessageType_MsgRequestPreVote, eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat:
		return true
	}
	return false
}

// destroy ends a peer. From here on it hears nothing.
func (m *RaftMachine) destroy(p *peer) {
	if p.ending {
		return
	}
	p.ending = true
	m.abandonWrites(p, &region.NotFoundError{RegionID: p.regionID})
	m.abandonReads(p, &region.NotFoundError{RegionID: p.regionID})
	m.abandonSplit(p, &region.NotFoundError{RegionID: p.regionID})
	m.dropBuilt(p)
	m.withdraw(p)
	m.round.Apply = append(m.round.Apply, ApplyTask{
		RegionID: p.regionID, PeerID: p.id, Destroy: tombstoneOf(p.region, p.contact.told), Into: p.merge.into,
	})
}

func (m *RaftMachine) handleCleared(mail Cleared) {
	p := m.peers[mail.RegionID]
	if p == nil {
		return
	}
	if p.id != mail.PeerID {
		// Only the state of an elder peer was here, from a split that came late (S5): the log is this one's.
		m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Gone{RegionID: mail.RegionID, PeerID: mail.PeerID}})
		return
	}
	task := WriteTask{PeerID: mail.PeerID, Destroyed: true}
	task.RegionID, task.Destroy, task.Sync, task.State = mail.RegionID, true, true, Legacy(p.node.Raft.HardState())
	m.round.Write = append(m.round.Write, task)
}

// Legacy is what outlives a peer: the term that it has seen, and its vote. The region's next peer on this store begins with them, or the store would vote
// twice in one term for one group. Nil when there was neither.
func Legacy(hs eraftpb.HardState) *raft_serverpb.RaftLocalState {
	if hs.Term == 0 {
		return nil
	}
	return &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: hs.Term, Vote: hs.Vote}}
}

func (m *RaftMachine) handleLogDestroyed(mail LogDestroyed) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID {
		return
	}
	delete(m.peers, p.regionID)
	for i, id := range m.order {
		if id == p.regionID {
			m.order = append(m.order[:i], m.order[i+1:]...)
			break
		}
	}
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Gone{
		p.regionID, p.id, tombstoneOf(p.region, p.contact.told), Legacy(p.node.Raft.HardState()), p.merge.into,
	}})
}
