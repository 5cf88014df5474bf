package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// RaftMachine owns the peers of some of a store's regions: their consensus, proposals, reads and duties.
type RaftMachine struct {
	cfg   Config
	peers map[uint64]*peer
	// order is the ids of peers, oldest first; awake are those that a tick walks over (op_sleep.go).
	order []uint64
	awake []*peer
	ticks uint64
	// alive is the life of every other store that is known to live.
	alive map[uint64]uint64
	// touched are the peers that this round has to look after, in the order in which mail reached them.
	touched  []*peer
	round    *Round
	now      Instant
	groups   writeGroups
	nextRead uint64
	stopped  bool
}

// NewRaftMachine returns a machine with the peers that a restart found.
func NewRaftMachine(cfg Config, restored []Restored) (*RaftMachine, error) {
	m := &RaftMachine{cfg: cfg, peers: make(map[uint64]*peer), alive: make(map[uint64]uint64)}
	for _, r := range restored {
		p, err := m.restore(r)
		if err != nil {
			return nil, err
		}
		m.add(p)
	}
	return m, nil
}

// Handle takes a batch of mail at an Instant that was read before the batch was looked at.
func (m *RaftMachine) Handle(mail []Mail, now Instant) Round {
	var round Round
	m.round, m.now = &round, now
	for _, one := range mail {
		m.handle(one)
	}
	m.lookAfterAll()
	if m.nextGroup() {
		m.lookAfterAll()
		m.groups.open = false
	}
	m.groups.heard = false
	m.round = nil
	return round
}

// lookAfterAll looks after everybody on the round's list.
func (m *RaftMachine) lookAfterAll() {
	for i := 0; i < len(m.touched); i++ { // the list may grow while it is walked
		m.lookAfter(m.touched[i])
	}
	for _, p := range m.touched {
		p.touched = false
	}
	clear(m.touched)
	m.touched = m.touched[:0]
}

func (m *RaftMachine) handle(one Mail) {
	if m.stopped {
		m.refuse(one)
		return
	}
	switch mail := one.(type) {
	case Step:
		m.handleStep(mail.Msg)
	case Propose:
		m.handlePropose(mail.Proposal)
	case Read:
		m.handleRead(mail.ReadRequest)
	case Admin:
		m.handleAdmin(mail.AdminRequest)
	case Inspect:
		m.handleInspect(mail)
	case InstallFailed:
		m.handleInstallFailed(mail)
	case Damaged:
		m.handleDamaged(mail)
	case Reloaded:
		m.handleReloaded(mail)
	case Force:
		m.handleForce(mail.ForceRequest)
	case Tick:
		m.handleTick()
	case Persisted:
		m.handlePersisted(mail)
	case Applied:
		m.handleApplied(mail)
	case LogRead:
		m.handleLogRead(mail)
	case SnapshotBuilt:
		m.handleSnapshotBuilt(mail)
	case StateSynced:
		m.handleStateSynced(mail)
	case HashComputed:
		m.handleHashComputed(mail)
	case SnapshotSent:
		m.handleSnapshotSent(mail)
	case Unreachable:
		m.handleUnreachable(mail.StoreID)
	case Cleared:
		m.handleCleared(mail)
	case LogDestroyed:
		m.handleLogDestroyed(mail)
	case Create:
		m.handleCreate(mail)
	case ClaimGranted:
		m.handleClaimGranted(mail)
	case MergeBegin:
		m.handleMergeBegin(mail)
	case MergeAnswer:
		m.handleMergeAnswer(mail)
	case MergeCall:
		m.handleMergeCall(mail)
	case CatchUp:
		m.handleCatchUp(mail)
	case Yield:
		m.handleYield(mail)
	case Absorbed:
		m.handleAbsorbed(mail)
	case Discard:
		m.handleDiscard(mail)
	case Resend:
		m.handleResend()
	case Adopt:
		m.handleAdopt(mail)
	case Measured:
		m.handleMeasured(mail)
	case SplitIDs:
		m.handleSplitIDs(mail)
	case StoreAlive:
		m.handleStoreAlive(mail)
	case StoreSilent:
		m.handleStoreSilent(mail)
	default:
		panic(errors.Errorf("machine: a RaftMachine got %T", one))
	}
}

// Stop ends everything that waits: what was never proposed is rejected, what is in a log is undetermined. Only completions may follow.
func (m *RaftMachine) Stop(now Instant) Round {
	var round Round
	m.round, m.now, m.stopped = &round, now, true
	for _, id := range m.order {
		p := m.peers[id]
		m.abandonWrites(p, &region.StoppedError{StoreID: m.cfg.StoreID})
		m.abandonReads(p, &region.StoppedError{StoreID: m.cfg.StoreID})
		m.abandonSplit(p, &region.StoppedError{StoreID: m.cfg.StoreID})
		m.withdraw(p)
	}
	m.round = nil
	return round
}

// refuse answers mail that reached a stopped machine.
func (m *RaftMachine) refuse(one Mail) {
	stopped := &region.StoppedError{StoreID: m.cfg.StoreID}
	switch mail := one.(type) {
	case Propose:
		m.reply(mail.Done, stopped)
	case Read:
		m.round.Reply = append(m.round.Reply, Reply{Grant: mail.Grant, Err: stopped})
	case Admin:
		m.reply(mail.Done, stopped)
	case Force:
		m.reply(mail.Done, stopped)
	case MergeBegin:
		m.reply(mail.Done, stopped)
	case Inspect:
		m.handleInspect(Inspect{Tell: mail.Tell})
	}
}

func (m *RaftMachine) reply(done func(error), err error) {
	if done != nil {
		m.round.Reply = append(m.round.Reply, Reply{Done: done, Err: err})
	}
}

func (m *RaftMachine) add(p *peer) {
	m.peers[p.regionID] = p
	m.order = append(m.order, p.regionID)
	m.awake = append(m.awake, p)
	p.sleep.listed = true
	p.view = &RegionView{}
}

// touch puts a peer on this round's list, and wakes it if it sleeps.
func (m *RaftMachine) touch(p *peer) {
	m.wake(p)
	m.list(p)
}

// list puts a peer on this round's list and lets it sleep.
func (m *RaftMachine) list(p *peer) {
	if !p.touched {
		p.touched = true
		m.touched = append(m.touched, p)
	}
}

// handleTick walks over the peers that are awake, whatever the number of the others.
func (m *RaftMachine) handleTick() {
	m.ticks++
	kept := m.awake[:0]
	for _, p := range m.awake {
		if p.sleep.listed = !p.sleep.asleep && m.peers[p.regionID] == p; !p.sleep.listed {
			continue
		}
		kept = append(kept, p)
		if p.ending || p.merge.yielded {
			continue
		}
		p.ticks++
		round := p.node.HeartbeatRound()
		p.node.Tick()
		m.retryReads(p)
		m.doDuties(p)
		m.mend(p)
		m.pursueMerge(p)
		m.askIfStale(p)
		m.considerSleep(p, p.node.HeartbeatRound() > round)
		m.list(p)
	}
	clear(m.awake[len(kept):])
	m.awake = kept
	m.watchSleepers()
	m.compareNext()
}

// handleStep takes a message of another peer, after the question whether it is meant for the peer that lives here.
func (m *RaftMachine) handleStep(msg *raft_serverpb.RaftMessage) {
	p := m.peers[msg.RegionId]
	if p == nil {
		m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Unknown{msg}})
		return
	}
	if m.hearOfStale(p, msg) || !m.isForPeer(p, msg) {
		return
	}
	p.hearLeader(msg)
	p.members.remember(p.region, msg.FromPeer)
	p.members.hear(msg.FromPeer.GetId(), p.ticks)
	if msg.ExtraMsg != nil {
		m.hearOfSleep(p, msg)
		return
	}
	if p.sleep.asleep && p.isLeader() && msg.Message.GetMsgType() == eraftpb.MessageType_MsgHeartbeatResponse && msg.Message.GetTerm() == p.term() {
		return // late, and no reason to wake
	}
	m.wake(p)
	if msg.FromPeer.GetId() == p.node.Raft.Lead {
		p.sleep.call = false
	}
	if msg.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
		m.receiveSnapshot(p, msg)
		return
	}
	m.step(p, msg.Message)
}

func (m *RaftMachine) step(p *peer, msg *eraftpb.Message) {
	if (p.snap.claimed || p.snap.installing) && msg.MsgType == eraftpb.MessageType_MsgAppend {
		return // behind a snapshot that is not in place yet nothing can be written; the leader sends again
	}
	p.hearSnapshotRequest(msg)
	m.groups.heard = m.groups.heard || msg.MsgType == eraftpb.MessageType_MsgAppend && len(msg.Entries) > 0
	// What raft refuses is a message that it may lose: from a peer it does not know (yet), or a local one.
	if err := p.node.Step(*msg); err == nil {
		m.touch(p)
	}
}

// lookAfter lets raft have its say about a peer and gathers what follows from it.
func (m *RaftMachine) lookAfter(p *peer) {
	if p.ending {
		return
	}
	for !p.snap.installing {
		if p.isLeader() {
			m.proposeWaiting(p)
		}
		m.askReadIndex(p)
		if !p.node.HasReady() {
			break
		}
		rd := p.node.Ready()
		m.takeReady(p, &rd)
	}
	if !p.isLeader() && (len(p.waiting.queue) > 0 || len(p.pending) > 0) {
		m.abandonWrites(p, p.notLeader())
	}
	m.settleReads(p)
	p.settleAdmin()
	m.settleSplit(p)
	m.settleClaim(p)
	m.settleYield(p)
	if p.merge.yielded {
		return
	}
	m.askStorage(p)
	p.renewLease(&m.cfg, m.now)
	m.grantReads(p)
	m.settleSleep(p)
	m.publish(p)
	m.reportChange(p)
	m.buryDeparted(p)
	m.leave(p)
}

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
// they change, the last entry tells where the log ends, and a commit index is volatile but for R4, whose protections raft keeps by what was told.
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
// and which is not in place yet belongs to no entry of the old log, of which only what is applied is known to be agreed to.
func (p *peer) localState() *raft_serverpb.RaftLocalState {
	hs := p.node.Raft.HardState()
	hs.Commit = min(hs.Commit, p.log.last.Index)
	if p.snap.claimed || p.snap.installing {
		hs.Commit = min(hs.Commit, p.applied.Index)
	}
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

func (m *RaftMachine) handleUnreachable(storeID uint64) {
	for _, id := range m.order {
		p := m.peers[id]
		if q := region.FindPeerOn(p.region, storeID); q != nil && p.isLeader() && !p.ending && !p.sleep.asleep {
			p.node.ReportUnreachable(q.Id)
		}
	}
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

// publish shows readers the peer as it now is, when that changed: what decides at once, where the log stands once a tick.
func (m *RaftMachine) publish(p *peer) {
	old := p.view
	v := RegionView{
		Region: p.region, PeerID: p.id, Leader: p.leader(), Term: p.term(), IsLeader: p.isLeader() && !p.removed,
		Initialized: p.initialized() && !p.snap.installing, LeaseEnd: p.leaseEnd(), Siblings: p.siblings, Asleep: p.sleep.asleep,
		Damaged: p.damage != "",
	}
	v.Ready = v.IsLeader && p.applied.Term == v.Term
	decides := old.Region != v.Region || old.PeerID != v.PeerID || !samePeer(old.Leader, v.Leader) || old.Term != v.Term ||
		old.IsLeader != v.IsLeader || old.Initialized != v.Initialized || old.Ready != v.Ready || old.LeaseEnd != v.LeaseEnd ||
		old.Asleep != v.Asleep || old.Damaged != v.Damaged
	if !decides && p.ticks == p.duties.shownAt {
		return
	}
	if v.Log = p.logStatus(); decides || old.Log != v.Log {
		p.duties.shownAt = p.ticks
		shown := v // most calls end before this: only what is shown is worth an allocation
		p.view = &shown
		m.round.Views = append(m.round.Views, p.view)
	}
}

// withdraw shows readers that there is no such peer any more.
func (m *RaftMachine) withdraw(p *peer) {
	p.view = &RegionView{Region: p.region, PeerID: p.id, Term: p.term(), Gone: true}
	m.round.Views = append(m.round.Views, p.view)
}

func samePeer(a, b *metapb.Peer) bool {
	return a.GetId() == b.GetId() && a.GetStoreId() == b.GetStoreId()
}
