package machine

import (
	"maps"
	"slices"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/proto/region"
)

// ApplyTask is work on one region's state. Exactly one of Entries, Install, ClearMarker, Force, Destroy, Merge, Yield is set.
type ApplyTask struct {
	RegionID, PeerID uint64
	Entries          []eraftpb.Entry
	// Waiting are the proposals among Entries, in the order of their indices.
	Waiting []pendingEntry
	// Expiries answers the Lookup that these Entries could not begin without: in its order, when each value expires.
	Expiries    []uint64
	Install     *Installation
	ClearMarker bool
	// Force makes the peer its region's only one: see op_recover.go.
	Force *ForceRequest
	// Destroy is the region as it was last told; the applier may know a later shape.
	Destroy *metapb.Region
	// Into goes with Destroy: the region that took this one in, if one did.
	Into *raft_serverpb.MergeState
	// Merge asks about a neighbour; Yield is the last task of a source: see op_merge.go.
	Merge *MergeAsk
	Yield bool
}

// ApplyResults is what one engine batch did to one region.
type ApplyResults struct {
	Applied   Pair
	Truncated Pair
	Change    *confChanged
	// Forced is the region after its membership was forced.
	Forced *metapb.Region
	Split  *splitDone
	// HashAt is the index of a ComputeHash, Verify what a VerifyHash brought.
	HashAt uint64
	Verify *verdict
	// Bytes and Keys are what was written.
	Bytes, Keys uint64
	// Installed says that a snapshot of this region took the place of its data.
	Installed bool
	Region    *metapb.Region
	// Merge is a step of a merge.
	Merge *mergeChanged
}

// ApplyMachine turns committed entries into engine batches. A batch holds many plain writes of any regions, or what exactly one admin
// command, install or destruction writes. The applied index travels in the same batch as what was applied (S1).
type ApplyMachine struct {
	storeID  uint64
	appliers map[uint64]*applier
	dirty    []*applier
	// parked are the regions whose tasks wait for another region's.
	parked map[uint64]*parked
	// tombstones are the last destroyed peer of each region.
	tombstones map[uint64]departed
	// replaced is the applier that the last installation took the place of, nil when there was none.
	replaced *applier
}

// departed is a destroyed peer: the epoch at which its region left the store, and what the region had taken in until then.
type departed struct {
	peerID  uint64
	epoch   *metapb.RegionEpoch
	records []*raft_serverpb.MergedRecord
}

// ApplyRound is what one batch causes once it is in the engine, which is not before Install's data is. When the engine
// refuses it, the store must stop, and every reply becomes "undetermined".
type ApplyRound struct {
	// Sync asks for the batch to be durable.
	Sync bool
	// Install names the received snapshot whose data goes in with the batch.
	Install *Installation
	// Lookup asks, before anything is applied that comes after this batch, when the values of these keys expire: 0 for what never
	// does or does not exist. The answer belongs in the Expiries of the first task that is left.
	Lookup []StoredKey
	// Hash asks for the engine's snapshot as it is right after this batch, and for the task to be run with it.
	Hash  *ComputeHash
	Reply []Reply
	Mail  []Addressed
}

// tells says that somebody is to hear of what happened so far, whatever becomes of the batch.
func (r *ApplyRound) tells() bool { return len(r.Reply)+len(r.Mail) > 0 }

// StoredKey is a key of one column family.
type StoredKey struct {
	CF  engine.CF
	Key []byte
}

// maxApplyBatch is where a batch of plain writes ends, in bytes.
const maxApplyBatch = 1 << 20

// NewApplyMachine returns a machine for what a restart found.
func NewApplyMachine(storeID uint64, s StoreState) *ApplyMachine {
	m := &ApplyMachine{
		storeID: storeID, appliers: make(map[uint64]*applier), parked: make(map[uint64]*parked), tombstones: make(map[uint64]departed),
	}
	for id, t := range s.Tombstones { // order-free: a copy
		m.tombstones[id] = departed{t.PeerID, t.Epoch, t.Records}
	}
	for _, r := range s.Regions {
		m.appliers[r.Region.Id] = &applier{
			region: r.Region, peerID: r.PeerID, storeID: storeID, merge: r.Merge, records: r.Records,
			applied:   Pair{r.Apply.GetAppliedIndex(), r.Apply.GetCommitTerm()},
			truncated: Pair{r.Apply.GetTruncatedState().GetIndex(), r.Apply.GetTruncatedState().GetTerm()},
		}
	}
	return m
}

// Handle fills batch, which is empty, from the front of tasks, and returns the tasks that are left for the next batch.
func (m *ApplyMachine) Handle(tasks []ApplyTask, batch engine.Batch) (ApplyRound, []ApplyTask) {
	var round ApplyRound
	for len(tasks) > 0 && batch.Size() < maxApplyBatch {
		t := &tasks[0]
		if m.park(&round, t) {
			tasks = tasks[1:]
			continue
		}
		if len(t.Entries) > 0 {
			rest, full := m.applyEntries(&round, t, batch)
			if p := m.parked[t.RegionID]; p != nil {
				p.tasks = append(p.tasks, t.after(rest))
				tasks = tasks[1:]
				continue
			}
			if rest > 0 {
				*t = t.after(rest)
				break
			}
			tasks = tasks[1:]
			if full {
				break
			}
			continue
		}
		if t.Merge != nil {
			m.ask(&round, t)
			tasks = tasks[1:]
			continue
		}
		if t.Yield {
			if freed := m.yielded(t); len(freed) > 0 {
				tasks = append(freed, tasks[1:]...)
			} else {
				tasks = tasks[1:]
			}
			continue
		}
		if len(m.dirty) > 0 || batch.Size() > 0 || round.tells() {
			break // an install or destruction has a round of its own: InstallFailed makes nothing undone but that
		}
		m.special(&round, t, batch)
		tasks = tasks[1:]
		break
	}
	m.finish(&round, batch)
	return round, tasks
}

// after is what is left of a task when all but the last n entries are done.
func (t *ApplyTask) after(n int) ApplyTask {
	left := *t
	left.Entries = t.Entries[len(t.Entries)-n:]
	for len(left.Waiting) > 0 && left.Waiting[0].Index < left.Entries[0].Index {
		left.Waiting = left.Waiting[1:]
	}
	return left
}

// applyEntries applies a task's entries; rest is how many must wait for the next batch, full that this batch must end here.
func (m *ApplyMachine) applyEntries(round *ApplyRound, t *ApplyTask, batch engine.Batch) (rest int, full bool) {
	a := m.appliers[t.RegionID]
	if a == nil || a.peerID != t.PeerID {
		for _, w := range t.Waiting { // the peer was destroyed, and its entries with it
			for _, pr := range w.proposals {
				round.Reply = append(round.Reply, Reply{Done: pr.Done, Err: region.ErrUndetermined})
			}
		}
		return 0, false
	}
	waiting := t.Waiting
	for i := range t.Entries {
		e := &t.Entries[i]
		admin := a.isAdmin(e)
		if admin && batch.Size() > 0 {
			return len(t.Entries) - i, true
		}
		if wanted := a.lookup(e); wanted != nil && t.Expiries == nil {
			round.Lookup = wanted
			return len(t.Entries) - i, true
		}
		a.expiries, t.Expiries = t.Expiries, nil
		if e.Index != a.applied.Index+1 {
			panic(errors.Errorf("region %d peer %d: entry %d comes after applied index %d", t.RegionID, t.PeerID, e.Index, a.applied.Index))
		}
		if m.awaitsSource(round, a, e) {
			return len(t.Entries) - i, false
		}
		var p pendingEntry
		if len(waiting) > 0 && waiting[0].Index == e.Index {
			p, waiting = waiting[0], waiting[1:]
		}
		m.markDirty(a)
		a.applyEntry(round, e, p.proposals, batch)
		if s := a.source; s != nil {
			m.absorb(round, s, &raft_serverpb.MergeState{Target: a.region, Commit: s.merge.Commit}, batch)
			a.source = nil
		}
		if a.results.Split != nil {
			m.splitOff(a.results.Split, a.records, batch)
		}
		if admin || batch.Size() >= maxApplyBatch {
			return len(t.Entries) - i - 1, true
		}
	}
	return 0, false
}

func (m *ApplyMachine) markDirty(a *applier) {
	if !a.dirty {
		a.dirty = true
		m.dirty = append(m.dirty, a)
	}
}

// special does a task that is not entries.
func (m *ApplyMachine) special(round *ApplyRound, t *ApplyTask, batch engine.Batch) {
	switch {
	case t.Install != nil:
		in := t.Install
		m.replaced = m.appliers[t.RegionID]
		if old := m.appliers[t.RegionID]; old != nil {
			eraseOutside(batch, old.region, in.Region)
		}
		m.absorbByInstall(round, in, batch)
		a := &applier{region: in.Region, peerID: t.PeerID, storeID: m.storeID, applied: in.At, truncated: in.At, merge: in.Merge, records: in.Records}
		m.appliers[t.RegionID] = a
		a.putRegion(batch)
		batch.Put(engine.Local, keys.InstallMarker(t.RegionID), encodePair(in.At))
		a.results.Installed, a.results.Region, a.results.Merge = true, in.Region, &mergeChanged{region: in.Region, state: in.Merge}
		m.markDirty(a)
		round.Install, round.Sync = in, true
	case t.ClearMarker:
		batch.Delete(engine.Local, keys.InstallMarker(t.RegionID))
	case t.Force != nil:
		m.applyForce(round, t, batch)
	case t.Destroy != nil:
		m.destroy(round, t, batch)
	}
}

// destroy writes the tombstone and takes the region's data, in one durable batch.
func (m *ApplyMachine) destroy(round *ApplyRound, t *ApplyTask, batch engine.Batch) {
	cleared := Addressed{RegionID: t.RegionID, Mail: Cleared{RegionID: t.RegionID, PeerID: t.PeerID}}
	r, a := t.Destroy, m.appliers[t.RegionID]
	if a != nil && a.peerID > t.PeerID {
		round.Mail = append(round.Mail, cleared) // a younger peer's snapshot has taken the place of everything
		return
	}
	records := ignorantUntil(r.GetRegionEpoch().GetVersion())
	if a != nil {
		r = tombstoneOf(a.region, t.Destroy)
		if r.RegionEpoch.GetVersion() == a.region.RegionEpoch.GetVersion() {
			records = a.records // else the region has a past that this peer was only told of
		}
		delete(m.appliers, t.RegionID)
		EraseRegion(batch, a.region)
	}
	putTombstone(batch, r, &metapb.Peer{Id: t.PeerID, StoreId: m.storeID}, records, t.Into)
	m.remember(r, t.PeerID, records)
	round.Sync = true
	round.Mail = append(round.Mail, cleared)
}

// remember keeps of a destroyed peer what others may ask for.
func (m *ApplyMachine) remember(r *metapb.Region, peerID uint64, records []*raft_serverpb.MergedRecord) {
	if peerID >= m.tombstones[r.Id].peerID {
		m.tombstones[r.Id] = departed{peerID, r.RegionEpoch, records}
	}
}

// EraseRegion deletes a region's data and all that is known of it, but the region state: that is its tombstone.
func EraseRegion(batch engine.Batch, r *metapb.Region) {
	for _, cf := range engine.DataCFs {
		batch.DeleteRange(cf, r.StartKey, endOf(r))
	}
	batch.Delete(engine.Local, keys.ApplyState(r.Id))
	batch.Delete(engine.Local, keys.InstallMarker(r.Id))
}

// finish writes the apply state of every region that the batch touched, and reports.
func (m *ApplyMachine) finish(round *ApplyRound, batch engine.Batch) {
	for _, a := range m.dirty {
		a.putApplyState(batch)
		a.results.Applied = a.applied
		round.Mail = append(round.Mail, Addressed{RegionID: a.region.Id, Mail: Applied{RegionID: a.region.Id, PeerID: a.peerID, Results: a.results}})
		a.results, a.dirty = ApplyResults{}, false
	}
	clear(m.dirty)
	m.dirty = m.dirty[:0]
}

func endOf(r *metapb.Region) []byte {
	if len(r.EndKey) == 0 {
		return nil
	}
	return r.EndKey
}

// Abandon answers everybody who waits for the task's entries, which will not be applied here.
func (t *ApplyTask) Abandon(reply func(Reply), err error) {
	if t.Merge != nil && t.Merge.Done != nil {
		reply(Reply{Done: t.Merge.Done, Err: err})
	}
	if t.Force != nil {
		reply(Reply{Done: t.Force.Done, Err: err})
	}
	for _, w := range t.Waiting {
		for _, pr := range w.proposals {
			reply(Reply{Done: pr.Done, Err: err})
		}
	}
}

// Abandon answers everybody who waits for what is parked, which will not be applied in this life.
func (m *ApplyMachine) Abandon(reply func(Reply), err error) {
	for _, id := range slices.Sorted(maps.Keys(m.parked)) {
		for i := range m.parked[id].tasks {
			m.parked[id].tasks[i].Abandon(reply, err)
		}
		delete(m.parked, id)
	}
}
