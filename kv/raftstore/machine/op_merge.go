package machine

import (
	"bytes"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A merge: one region, the source, vanishes in a neighbour, the target, which lives on the same stores. This file tells the source's side,
// op_merge_target.go the target's.
//
// check    The source's leader asks the ApplyMachine, which sees all regions of the store, how the target looks here: adjacent, same stores and
//          roles, nothing joint.
// propose  PrepareMerge in the source's log. It names the target exactly as it was seen: its epoch E.
// apply    The source is frozen: of what follows in its log only a RollbackMerge does anything. No reads, no writes, no change of peers, no
//          compaction (S14, S16). Leadership may still move.
// after    When every peer of the source has acknowledged the preparation, its leader tells the target's leader, by way of the target's peer on its own
//          store. The target's leader proposes CommitMerge in the target's log, which counts only while the target's epoch is E.
//          A source that cannot get all its peers to answer in time has the target decline: a command that moves its epoch and does nothing
//          else. A target whose epoch is not E any more, and that did not take the source in, will never do so: the source's leader proposes
//          RollbackMerge.
//
// Why no key has two regions that serve it: the one decision is which entry of the target's log moves its epoch away from E, and all replicas read it
// there. CommitMerge: then the source was frozen before, on every store on which it counts, and its rollback is never proposed, for whoever proposes
// it has seen, in his own store's state, a target that moved away from E without the source. (Such a state may have come by snapshot; so a target
// remembers what it took in, in records that snapshots and splits hand on, and a store that gets to know by them that a region of its own was
// taken in gives it up in the same batch.) A source's leader with a lease lost it when the preparation was committed; a ReadIndex after that is answered with
// "merging"; one before that reads what was true when it was asked.
//
// Why no write is lost: what was acknowledged stands in the source's log before the preparation, and CommitMerge is proposed only when all of the
// source's peers have the whole of that. A store whose source is behind when the target gets to CommitMerge parks the target's entries until the source
// has caught up from its own log (raft's CommitTo). A write behind the preparation is refused on every replica, by the epoch.
//
// Why the views are in time: a source that is to be absorbed first yields. Its RaftMachine withdraws the view, says nothing any more and gives the
// ApplyMachine its last task; only then the batch that hands its range over is made.

// merging is the source's side of a merge, at its RaftMachine.
type merging struct {
	// state says what was prepared; nil when nothing is. Commit is the preparation's index, Target the target at epoch E.
	state *raft_serverpb.MergeState
	// since is the tick at which this peer, as leader, began to pursue it, in term.
	since, term uint64
	// rotated is the tick at which the leadership was last offered to another store for the target's sake.
	rotated uint64
	// catchUp is an index that somebody outside of the group has proved to be committed: up to it the peer serves itself from its log.
	catchUp uint64
	// into is where the region went, once that is known.
	into *raft_serverpb.MergeState
	// yields asks the peer to yield when catchUp is applied; yielded says that it has: nothing but its log and its state are left.
	yields, yielded bool
}

func (g *merging) frozen() bool { return g.state != nil }

// declineAfter is how many election timeouts a leader pursues a merge before it has it declined.
const declineAfter = 3

// MergeAsk is what a source's leader wants to know of, or tell, its target on this store.
type MergeAsk struct {
	// Begin asks for the target's shape, before anything is proposed; answered by MergeBegin, with Done.
	Begin bool
	Done  func(error)
	// Target is the target; with Begin only its id counts, and its epoch if it has one.
	Target *metapb.Region
	// Source and Index name the preparation. Ready: all the source's peers have it. Decline: it takes too long.
	Source         *metapb.Region
	Index          uint64
	Ready, Decline bool
}

// beginMerge looks at the target before anything is proposed: a region should not freeze for a merge that cannot be.
func (m *RaftMachine) beginMerge(p *peer, op Merge, done func(error)) error {
	if op.Target.GetId() == 0 || op.Target.Id == p.regionID {
		return errors.Errorf("region %d cannot merge into region %d", p.regionID, op.Target.GetId())
	}
	m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: p.id, Merge: &MergeAsk{Begin: true, Target: op.Target, Done: done}})
	return nil
}

// handleMergeBegin proposes the preparation.
func (m *RaftMachine) handleMergeBegin(mail MergeBegin) {
	p := m.peers[mail.RegionID]
	err := m.admitAdmin(p, &AdminRequest{RegionID: mail.RegionID, Op: Merge{Target: mail.Target}})
	if err == nil {
		err = mayMerge(p.region, mail.Target)
	}
	if err == nil {
		cmd := command.Command{Kind: command.PrepareMerge, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodePrepareMerge(mail.Target)}
		err = m.proposeAdmin(p, cmd, mail.Done)
	}
	if err != nil {
		m.reply(mail.Done, err)
	}
	if p != nil {
		m.touch(p)
	}
}

// proposeAdmin appends a change of the region; done is called when it has been applied.
func (m *RaftMachine) proposeAdmin(p *peer, cmd command.Command, done func(error)) error {
	if err := p.node.Propose(command.Encode(cmd)); err != nil {
		return errors.Annotatef(err, "region %d: no %s now", p.regionID, cmd.Kind)
	}
	m.awaitAdmin(p, cmd.Kind, done)
	return nil
}

// mayMerge reports whether a source of this shape can vanish in a target of that shape.
func mayMerge(source, target *metapb.Region) error {
	if source.Id == target.Id || !adjacent(source, target) {
		return errors.Errorf("region %d cannot merge into region %d: they are no neighbours", source.Id, target.Id)
	}
	if len(source.Peers) != len(target.Peers) {
		return errors.Errorf("region %d cannot merge into region %d: they have %d and %d peers", source.Id, target.Id, len(source.Peers), len(target.Peers))
	}
	for _, q := range source.Peers {
		t := region.FindPeerOn(target, q.StoreId)
		if t == nil || t.Role != q.Role {
			return errors.Errorf("region %d cannot merge into region %d: not the same peers on store %d", source.Id, target.Id, q.StoreId)
		}
		if q.Role != metapb.PeerRole_Voter && q.Role != metapb.PeerRole_Learner {
			return errors.Errorf("region %d cannot merge into region %d while its peers change (%s)", source.Id, target.Id, q.Role)
		}
	}
	return nil
}

func adjacent(a, b *metapb.Region) bool {
	return len(a.EndKey) > 0 && bytes.Equal(a.EndKey, b.StartKey) || len(b.EndKey) > 0 && bytes.Equal(b.EndKey, a.StartKey)
}

// applyPrepareMerge freezes the region.
func (a *applier) applyPrepareMerge(c *command.Command, batch engine.Batch) error {
	target, err := command.DecodePrepareMerge(c.Body)
	if err != nil {
		return err
	}
	if err := mayMerge(a.region, target); err != nil {
		return err
	}
	next := region.Clone(a.region)
	next.RegionEpoch.Version++
	next.RegionEpoch.ConfVer++ // a change of peers that was proposed before cannot come true after
	a.region, a.merge = next, &raft_serverpb.MergeState{Target: target, Commit: a.applied.Index + 1}
	a.putRegion(batch)
	a.results.Merge = &mergeChanged{region: next, state: a.merge}
	return nil
}

// applyRollbackMerge thaws it, if it is this preparation that it is frozen by (S17).
func (a *applier) applyRollbackMerge(c *command.Command, batch engine.Batch) error {
	index, err := command.DecodeRollbackMerge(c.Body)
	if err != nil {
		return err
	}
	if a.merge == nil || a.merge.Commit != index {
		return errors.Errorf("region %d: no merge is prepared at index %d", a.region.Id, index)
	}
	next := region.Clone(a.region)
	next.RegionEpoch.Version++
	a.region, a.merge = next, nil
	a.putRegion(batch)
	a.results.Merge = &mergeChanged{region: next}
	return nil
}

// mergeChanged is what apply reports of a step of a merge: the region's new shape, and whether it is frozen now.
type mergeChanged struct {
	region *metapb.Region
	state  *raft_serverpb.MergeState
}

// frozenBy is the merge state that the change left; none without a change.
func (c *mergeChanged) frozenBy() *raft_serverpb.MergeState {
	if c == nil {
		return nil
	}
	return c.state
}

func (m *RaftMachine) afterMerge(p *peer, c *mergeChanged) {
	p.region, p.duties.reportNow = c.region, true
	p.merge.state, p.merge.since = c.state, 0
	m.dropBuilt(p) // its range or its records are old
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{Region: c.region, Into: c.state.GetTarget().GetId()}})
	if p.merge.frozen() {
		m.abandonWaiting(p, &region.MergingError{RegionID: p.regionID})
		m.abandonReads(p, &region.MergingError{RegionID: p.regionID})
	}
}

// pursueMerge is the leader's part, each heartbeat interval while its region is frozen.
func (m *RaftMachine) pursueMerge(p *peer) {
	g := &p.merge
	if !g.frozen() || g.yielded || g.yields || !p.isLeader() || p.applied.Term != p.term() || p.admin.Index > 0 || p.ticks%uint64(m.cfg.HeartbeatTicks) != 0 {
		return
	}
	if g.since == 0 || g.term != p.term() {
		g.since, g.term, g.rotated = p.ticks, p.term(), p.ticks
	}
	ready := true
	for _, pr := range p.node.GetProgress() { // order-free: all of them
		ready = ready && pr.Match >= g.state.Commit
	}
	m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: p.id, Merge: &MergeAsk{
		Target: g.state.Target, Source: p.region, Index: g.state.Commit, Ready: ready, Decline: p.ticks-g.since > declineAfter*uint64(m.cfg.ElectionTicks),
	}})
}

// handleMergeAnswer is what the source's leader hears of its target.
func (m *RaftMachine) handleMergeAnswer(mail MergeAnswer) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending || p.merge.yielded || p.merge.yields || p.merge.state.GetCommit() != mail.Index || !p.isLeader() || p.admin.Index > 0 {
		return
	}
	switch {
	case mail.Refused:
		cmd := command.Command{Kind: command.RollbackMerge, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeRollbackMerge(mail.Index)}
		_ = m.proposeAdmin(p, cmd, func(error) {}) // dropped during a transfer: the next time
	case mail.Unknown:
		m.rotateLeader(p)
	}
	m.touch(p)
}

// rotateLeader lets another store look for the target, which is not to be found here, or lags.
func (m *RaftMachine) rotateLeader(p *peer) {
	if p.ticks-p.merge.rotated < uint64(m.cfg.ElectionTicks) {
		return
	}
	p.merge.rotated = p.ticks
	n, self := len(p.region.Peers), 0
	for i, q := range p.region.Peers {
		if q.Id == p.id {
			self = i
		}
	}
	for i := 1; i < n; i++ {
		q := p.region.Peers[(self+i)%n]
		if pr, ok := p.node.GetProgress()[q.Id]; ok && m.answers(p, q) && q.Role == metapb.PeerRole_Voter && pr.Match >= p.merge.state.Commit {
			if p.node.Raft.LeadTransferee() == raft.None {
				p.node.TransferLeader(q.Id)
			}
			return
		}
	}
}

// handleCatchUp serves a source from its own log, up to an index that is known to be committed although nobody of its group may be left to say so.
func (m *RaftMachine) handleCatchUp(mail CatchUp) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending || mail.PeerID != 0 && p.id != mail.PeerID {
		return
	}
	if err := p.node.CommitTo(mail.Index); err != nil {
		if !mail.Yield {
			return // so another store says; it errs, or speaks too early
		}
		panic(errors.Annotatef(err, "%s: was merged at index %d, to which it had agreed", p, mail.Index))
	}
	p.merge.catchUp = max(p.merge.catchUp, mail.Index)
	p.merge.yields = p.merge.yields || mail.Yield
	p.contact.doubts = !mail.Yield // who was told that its region is no more asks again soon: the target may never come to take this in (seed 2697)
	m.touch(p)
}

// handleYield ends the peer's part in the world: its region was taken in by another, which is to have its range.
func (m *RaftMachine) handleYield(mail Yield) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending {
		return
	}
	m.yield(p)
	m.touch(p)
}

// settleYield yields when what is needed of the source is applied.
func (m *RaftMachine) settleYield(p *peer) {
	if p.merge.yields && p.applied.Index >= p.merge.catchUp {
		p.merge.yields = false
		m.yield(p)
	}
}

func (m *RaftMachine) yield(p *peer) {
	if !p.merge.yielded {
		p.merge.yielded = true
		m.abandonWrites(p, &region.NotFoundError{RegionID: p.regionID})
		m.abandonReads(p, &region.NotFoundError{RegionID: p.regionID})
		m.dropBuilt(p)
		m.withdraw(p)
	}
	m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: p.id, Yield: true})
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Yielded{p.regionID}})
}

// handleAbsorbed follows when another region durably has this one's range: only the log is left to be destroyed.
func (m *RaftMachine) handleAbsorbed(mail Absorbed) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	p.ending = true
	p.merge.into = mail.Into // the tombstone tells it to those who ask
	m.handleCleared(Cleared{RegionID: p.regionID, PeerID: p.id})
}

// toldMerged hears from another store that this region is no more (S8). The StoreMachine knows whether the target still needs what is here.
func (m *RaftMachine) toldMerged(p *peer, msg *raft_serverpb.RaftMessage) {
	into := &raft_serverpb.MergeState{Target: msg.MergeTarget, Commit: msg.ExtraMsg.GetIndex()}
	if into.Commit == 0 || !p.initialized() {
		return
	}
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: MergedAway{RegionID: p.regionID, PeerID: p.id, Into: into}})
}

// handleDiscard destroys a source whose target will never be here.
func (m *RaftMachine) handleDiscard(mail Discard) {
	if p := m.peers[mail.RegionID]; p != nil && p.id == mail.PeerID && !p.ending {
		p.merge.into = mail.Into
		m.destroy(p)
	}
}
