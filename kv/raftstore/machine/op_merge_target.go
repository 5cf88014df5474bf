package machine

import (
	"bytes"
	"slices"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// The target's side of a merge (op_merge.go).
//
// check    The ApplyMachine, which the source's leader asks, compares the target's epoch on this store with the expected one, E.
// propose  The target's leader, wherever it is: CommitMerge, or a declined one.
// apply    Where the source is behind, the target's tasks are parked, the source is told to catch up and yield, and its yielding ends the park; other
//          regions go on. Then one durable batch: the joined range, a record of what was taken in, the source's tombstone.
// after    The StoreMachine moves both ranges at once; the source's RaftMachine destroys its log.
//
// A target that is so far behind that it gets a snapshot finds in the records which regions of its store were taken in: see Claim. They yield, and are
// absorbed by the batch of the install.

// parked is a target whose next entry waits for a source.
type parked struct {
	source uint64
	// into is where the source goes: the region as it is, and the source's preparation.
	into  *raft_serverpb.MergeState
	tasks []ApplyTask
}

// ask answers a source's leader.
func (m *ApplyMachine) ask(round *ApplyRound, t *ApplyTask) {
	q, target := t.Merge, m.appliers[t.Merge.Target.Id]
	if q.Begin {
		m.askToBegin(round, t, target)
		return
	}
	source := m.appliers[t.RegionID]
	if source == nil || source.peerID != t.PeerID || source.yielded || source.merge.GetCommit() != q.Index {
		return
	}
	answer := MergeAnswer{RegionID: t.RegionID, Index: q.Index}
	switch {
	case target == nil && (m.leftWithout(q.Target, t.RegionID) || m.vanished(q.Target, t.RegionID)):
		answer.Refused = true
	case target == nil || region.IsEpochStale(target.region.RegionEpoch, q.Target.RegionEpoch):
		answer.Unknown = true
	case !region.SameEpoch(target.region.RegionEpoch, q.Target.RegionEpoch):
		answer.Refused = recordOf(target.records, t.RegionID) == nil && recallsAllSince(target.records, q.Target)
		answer.Unknown = !answer.Refused
	case q.Ready || q.Decline:
		call := MergeCall{RegionID: target.region.Id, Expected: q.Target, Source: q.Source, Index: q.Index, Decline: q.Decline}
		round.Mail = append(round.Mail, Addressed{RegionID: target.region.Id, Mail: call})
		return
	default:
		return
	}
	round.Mail = append(round.Mail, Addressed{RegionID: t.RegionID, Mail: answer})
}

// leftWithout reports whether the target had moved away from the epoch that it was expected to have when its peer here was destroyed, and had not taken the
// source in: so says its tombstone, even if nobody who is left on the source's stores knows the target any more.
func (m *ApplyMachine) leftWithout(target *metapb.Region, source uint64) bool {
	t, ok := m.tombstones[target.Id]
	return ok && region.IsEpochStale(target.RegionEpoch, t.epoch) && recordOf(t.records, source) == nil && recallsAllSince(t.records, target)
}

// vanished reports whether the target has itself been taken in, without having taken in anybody of this store at the epoch that it was expected to have: its
// heirs have its records.
func (m *ApplyMachine) vanished(target *metapb.Region, source uint64) bool {
	for _, a := range m.appliers { // order-free: any of them
		if recordOf(a.records, target.Id) != nil && recordOf(a.records, source) == nil && recallsAllSince(a.records, target) {
			return true
		}
	}
	return false
}

// askToBegin shows the source's leader the target.
func (m *ApplyMachine) askToBegin(round *ApplyRound, t *ApplyTask, target *applier) {
	q := t.Merge
	switch {
	case target == nil:
		err := errors.Errorf("region %d cannot merge: region %d is not on store %d", t.RegionID, q.Target.Id, m.storeID)
		round.Reply = append(round.Reply, Reply{Done: q.Done, Err: err})
	case target.merge != nil:
		// Two neighbours that wait for each other are prevented here; when both begin at once, the epochs call both off.
		round.Reply = append(round.Reply, Reply{Done: q.Done, Err: &region.MergingError{RegionID: q.Target.Id}})
	case q.Target.RegionEpoch != nil && !region.SameEpoch(q.Target.RegionEpoch, target.region.RegionEpoch):
		err := &region.EpochNotMatchError{RegionID: q.Target.Id, Current: []*metapb.Region{target.region}}
		round.Reply = append(round.Reply, Reply{Done: q.Done, Err: err})
	default:
		round.Mail = append(round.Mail, Addressed{RegionID: t.RegionID, Mail: MergeBegin{RegionID: t.RegionID, Target: target.region, Done: q.Done}})
	}
}

// handleMergeCall proposes the merge, or that it shall not be, if this peer leads the target; else it passes the call on to the leader. Whoever may move leaders for
// other reasons could keep those of source and target from meeting. Found by the simulator (seed 152).
func (m *RaftMachine) handleMergeCall(mail MergeCall) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending {
		return
	}
	body := command.CommitMergeBody{Declined: mail.Decline, Index: mail.Index, Source: mail.Source}
	if lead := p.leader(); p.isLeader() {
		m.proposeCommitMerge(p, mail.Expected.RegionEpoch, body)
	} else if lead != nil {
		msg := m.extra(p, lead, raft_serverpb.ExtraMessageType_MsgWantRollbackMerge)
		msg.RegionEpoch, msg.ExtraCtx = mail.Expected.RegionEpoch, command.EncodeCommitMerge(body)
		m.round.Send = append(m.round.Send, msg)
	}
	m.touch(p)
}

// hearMergeCall takes a call that another store's peer has passed on. It may be late: what it says of the source stays true until the target's epoch moves, and
// after that the command does nothing. The family's kind of message for a merge that is not to be carries both answers here.
func (m *RaftMachine) hearMergeCall(p *peer, msg *raft_serverpb.RaftMessage) {
	if body, err := command.DecodeCommitMerge(msg.ExtraCtx); err == nil && p.isLeader() {
		m.proposeCommitMerge(p, msg.RegionEpoch, body)
		m.touch(p)
	}
}

// proposeCommitMerge proposes what a source has called for, if the target is still what it was prepared for. The source calls again until there is an answer.
func (m *RaftMachine) proposeCommitMerge(p *peer, expected *metapb.RegionEpoch, body command.CommitMergeBody) {
	if p.admin.Index > 0 || p.merge.frozen() || !region.SameEpoch(p.region.RegionEpoch, expected) {
		return
	}
	cmd := command.Command{Kind: command.CommitMerge, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeCommitMerge(body)}
	_ = m.proposeAdmin(p, cmd, func(error) {})
}

// commitMergeOf returns the merge that an entry asks for, if its region is still what it was made for.
func (a *applier) commitMergeOf(e *eraftpb.Entry) (b command.CommitMergeBody, due bool) {
	if e.EntryType != eraftpb.EntryType_EntryNormal || len(e.Data) < 2 || command.Kind(e.Data[1]) != command.CommitMerge {
		return b, false
	}
	a.must(e, command.Decode(e.Data, func(c command.Command) (err error) {
		b, err = command.DecodeCommitMerge(c.Body)
		due = err == nil && !b.Declined && a.merge == nil && epochRules(c.Kind).holds(c.Epoch, a.region.RegionEpoch)
		return err
	}))
	return b, due
}

// awaitsSource reports whether the entry is a merge whose source has not caught up and yielded yet, and then parks the target.
func (m *ApplyMachine) awaitsSource(round *ApplyRound, a *applier, e *eraftpb.Entry) bool {
	b, due := a.commitMergeOf(e)
	if !due {
		return false
	}
	s := m.appliers[b.Source.Id]
	if s == nil || s.applied.Index >= b.Index && s.merge.GetCommit() != b.Index {
		panic(errors.Errorf("region %d peer %d: entry %d takes in region %d, prepared at index %d, which is not here (%v)",
			a.region.Id, a.peerID, e.Index, b.Source.Id, b.Index, s.describe()))
	}
	if s.yielded && s.merge.GetCommit() == b.Index {
		a.source = s
		return false
	}
	m.parked[a.region.Id] = &parked{source: b.Source.Id, into: &raft_serverpb.MergeState{Target: a.region, Commit: b.Index}}
	mail := CatchUp{RegionID: b.Source.Id, PeerID: s.peerID, Index: b.Index, Yield: true}
	round.Mail = append(round.Mail, Addressed{RegionID: b.Source.Id, Mail: mail})
	return true
}

func (a *applier) describe() string {
	if a == nil {
		return "no such region"
	}
	return errors.Errorf("peer %d applied %d, merge state %v", a.peerID, a.applied.Index, a.merge).Error()
}

// park keeps a task of a parked region for later. A snapshot or the region's end makes what was parked needless; with the region its source ends, which was
// told to yield and would wait for ever, silent and in others' way.
func (m *ApplyMachine) park(round *ApplyRound, t *ApplyTask) bool {
	p := m.parked[t.RegionID]
	switch {
	case p == nil:
		return false
	case t.Yield || t.Merge != nil:
		return false // it concerns nothing that is in the queue
	case t.Install == nil && t.Destroy == nil:
		p.tasks = append(p.tasks, *t)
		return true
	}
	for i := range p.tasks {
		p.tasks[i].Abandon(func(r Reply) { round.Reply = append(round.Reply, r) }, region.ErrUndetermined)
	}
	delete(m.parked, t.RegionID)
	if s := m.appliers[p.source]; s != nil && t.Destroy != nil {
		round.Mail = append(round.Mail, Addressed{RegionID: p.source, Mail: Discard{RegionID: p.source, PeerID: s.peerID, Into: p.into}})
	}
	return false
}

// yielded notes that a source's RaftMachine has let go of it, and returns the tasks of the target that waited for that.
func (m *ApplyMachine) yielded(t *ApplyTask) []ApplyTask {
	s := m.appliers[t.RegionID]
	if s == nil || s.peerID != t.PeerID {
		return nil
	}
	s.yielded = true
	target := s.merge.GetTarget().GetId()
	if p := m.parked[target]; p != nil && p.source == t.RegionID {
		delete(m.parked, target)
		return p.tasks
	}
	return nil
}

// applyCommitMerge joins the source's range to the target's, or only moves the target's epoch.
func (a *applier) applyCommitMerge(c *command.Command, batch engine.Batch) error {
	b, err := command.DecodeCommitMerge(c.Body)
	if err != nil {
		return err
	}
	next := region.Clone(a.region)
	next.RegionEpoch.Version++
	if !b.Declined {
		s := a.source
		next.RegionEpoch.Version = max(a.region.RegionEpoch.Version, s.region.RegionEpoch.Version) + 1
		if bytes.Equal(s.region.EndKey, a.region.StartKey) && len(s.region.EndKey) > 0 {
			next.StartKey = s.region.StartKey
		} else {
			next.EndKey = s.region.EndKey
		}
		a.records = joinRecords(s.records, a.records, &raft_serverpb.MergedRecord{
			SourceRegionId: s.region.Id, SourceEpoch: s.region.RegionEpoch, SourcePeers: s.region.Peers, SourceIndex: b.Index,
			TargetRegionId: next.Id, TargetEpoch: next.RegionEpoch, TargetPeers: next.Peers, Index: a.applied.Index + 1,
		})
	}
	a.region = next
	a.putRegion(batch)
	a.results.Merge = &mergeChanged{region: next}
	return nil
}

// absorb ends a source whose range another region has from this batch on.
func (m *ApplyMachine) absorb(round *ApplyRound, s *applier, into *raft_serverpb.MergeState, batch engine.Batch) {
	delete(m.appliers, s.region.Id)
	m.remember(s.region, s.peerID, s.records)
	m.dirty = slices.DeleteFunc(m.dirty, func(a *applier) bool { return a == s }) // its apply state must not come back
	putTombstone(batch, s.region, &metapb.Peer{Id: s.peerID, StoreId: m.storeID}, s.records, into)
	batch.Delete(engine.Local, keys.ApplyState(s.region.Id))
	batch.Delete(engine.Local, keys.InstallMarker(s.region.Id))
	round.Sync = true
	round.Mail = append(round.Mail,
		Addressed{Store: true, Mail: Inherits{Region: into.Target, From: s.region.Id}},
		Addressed{RegionID: s.region.Id, Mail: Absorbed{RegionID: s.region.Id, PeerID: s.peerID, Into: into}})
}

// absorbByInstall ends the sources that a snapshot's records name: what lies outside of its range was somebody else's once, and is erased.
func (m *ApplyMachine) absorbByInstall(round *ApplyRound, in *Installation, batch engine.Batch) {
	for _, id := range in.Absorbs {
		s := m.appliers[id]
		if s == nil {
			continue // snapshots of several of its heirs were on their way, and another was faster
		}
		if !s.yielded {
			panic(errors.Errorf("region %d: its snapshot takes in region %d, which has not yielded (%v)", in.Region.Id, id, s.describe()))
		}
		if p := m.parked[id]; p != nil {
			for i := range p.tasks {
				p.tasks[i].Abandon(func(r Reply) { round.Reply = append(round.Reply, r) }, region.ErrUndetermined)
			}
			delete(m.parked, id)
		}
		eraseOutside(batch, s.region, in.Region)
		m.absorb(round, s, &raft_serverpb.MergeState{Target: in.Region, Commit: recordOf(in.Records, id).GetSourceIndex()}, batch)
	}
}
