package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
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
	case Contested:
		m.handleContested(mail)
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
		m.hearExtra(p, msg)
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

// hearExtra takes what peers say to each other beside raft.
func (m *RaftMachine) hearExtra(p *peer, msg *raft_serverpb.RaftMessage) {
	if msg.ExtraMsg.Type == raft_serverpb.ExtraMessageType_MsgWantRollbackMerge {
		m.hearMergeCall(p, msg)
		return
	}
	m.hearOfSleep(p, msg)
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

func (m *RaftMachine) handleUnreachable(storeID uint64) {
	for _, id := range m.order {
		p := m.peers[id]
		if q := region.FindPeerOn(p.region, storeID); q != nil && p.isLeader() && !p.ending && !p.sleep.asleep {
			p.node.ReportUnreachable(q.Id)
		}
	}
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
