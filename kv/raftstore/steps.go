package raftstore

import (
	stderrors "errors"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/proto/region"
)

// The steps are what shells do with a disk, without the goroutine around it, so that the simulator takes the same ones.
// An error of a step is fatal: what is on disk is not known any more, and the store must stop.

// Disk is where a store keeps everything.
type Disk struct {
	Log       *logstore.Store
	State     engine.Engine
	Snapshots *snapfile.Manager
}

// WriteLog makes a batch of updates durable, with one sync for all regions that need it. What comes back may be done only then.
func (d *Disk) WriteLog(tasks []machine.WriteTask, updates []logstore.Update) (after []*raft_serverpb.RaftMessage, mail []machine.Addressed, err error) {
	updates = updates[:0]
	for i := range tasks {
		updates = append(updates, tasks[i].Update)
	}
	if err := d.Log.Write(updates); err != nil {
		return nil, nil, errors.Annotate(err, "raft log")
	}
	mail = make([]machine.Addressed, 0, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		after = append(after, t.After...)
		to := machine.Addressed{RegionID: t.RegionID}
		switch {
		case t.Destroyed:
			to.Mail = machine.LogDestroyed{RegionID: t.RegionID, PeerID: t.PeerID}
		case t.Number > 0:
			to.Mail = machine.Persisted{RegionID: t.RegionID, PeerID: t.PeerID, Number: t.Number}
		default:
			continue
		}
		mail = append(mail, to)
	}
	return after, mail, nil
}

// Apply takes one engine batch's worth from the front of tasks. When it fails, the round's replies are undetermined.
func (d *Disk) Apply(m *machine.ApplyMachine, tasks []machine.ApplyTask, batch engine.Batch) (machine.ApplyRound, []machine.ApplyTask, error) {
	batch.Reset()
	round, rest := m.Handle(tasks, batch)
	err := d.commit(&round, batch)
	if round.Install != nil && len(round.Install.Absorbs) == 0 && notToBeHad(err) { // what is absorbed has yielded already: a restart sorts that out
		return m.InstallFailed(round.Install), rest, nil
	}
	if err == nil && round.Hash != nil {
		round.Hash.Snapshot = d.State.NewSnapshot()
	}
	if err == nil && len(round.Lookup) > 0 {
		rest[0].Expiries, err = d.expiriesOf(&rest[0], &round)
	}
	if err != nil {
		for i := range round.Reply {
			round.Reply[i].Err = region.ErrUndetermined
		}
		round.Mail = nil
	}
	return round, rest, errors.Annotate(err, "state engine")
}

// notToBeHad says that a snapshot's file is damaged or gone, which is no fault of the engine.
func notToBeHad(err error) bool {
	var corrupt *snapfile.CorruptError
	return stderrors.As(err, &corrupt) || stderrors.Is(err, snapfile.ErrNotFound)
}

func (d *Disk) commit(round *machine.ApplyRound, batch engine.Batch) error {
	if round.Install != nil {
		return d.install(round.Install, batch)
	}
	if batch.Size() == 0 {
		return nil
	}
	return batch.Commit(round.Sync)
}

// expiriesOf looks up what a task waits for. When the data is damaged nothing expires: this replica is not like the others then. It is marked, and
// every read that would show the difference must pass the damaged data, before and after a restart.
func (d *Disk) expiriesOf(t *machine.ApplyTask, round *machine.ApplyRound) ([]uint64, error) {
	found, err := d.expiries(round.Lookup)
	if !engine.IsCorruption(err) {
		return found, err
	}
	round.Mail = append(round.Mail, machine.Addressed{
		RegionID: t.RegionID, Mail: machine.Damaged{RegionID: t.RegionID, PeerID: t.PeerID, Reason: err.Error()},
	})
	return make([]uint64, len(round.Lookup)), nil
}

// expiries looks up when raw values expire. One at a time: they may be large.
func (d *Disk) expiries(wanted []machine.StoredKey) ([]uint64, error) {
	snap := d.State.NewSnapshot()
	defer func() { _ = snap.Close() }()
	found := make([]uint64, len(wanted))
	for i, w := range wanted {
		stored, err := snap.Get(w.CF, w.Key)
		if err != nil {
			return nil, err
		}
		if stored == nil {
			continue
		}
		if _, found[i], err = keys.SplitRawValue(stored); err != nil {
			found[i] = 0 // it is not for this operation to judge what it cannot read
		}
	}
	return found, nil
}

// install puts a received snapshot's data in place of the region's, and the batch with it.
func (d *Disk) install(in *machine.Installation, batch engine.Batch) error {
	return d.Snapshots.Install(snapfile.Key{RegionID: in.Region.Id, Term: in.At.Term, Index: in.At.Index}, in.Region, d.State, batch)
}

// RunTask does something slow and returns the mail that answers it, or nil. A snapshot that cannot be built is no reason
// to stop: raft asks again.
func (d *Disk) RunTask(task machine.Task, pace snapfile.Pace) (machine.Mail, error) {
	switch t := task.(type) {
	case machine.ReadLog:
		entries, err := d.readLog(t)
		var gap *logstore.GapError
		if stderrors.As(err, &gap) {
			entries, err = nil, nil // cut meanwhile: raft will find out by asking again
		}
		return machine.LogRead{RegionID: t.RegionID, PeerID: t.PeerID, Entries: entries}, err
	case machine.BuildSnapshot:
		snap, err := d.BuildSnapshot(t.RegionID, pace)
		return machine.SnapshotBuilt{RegionID: t.RegionID, PeerID: t.PeerID, Snapshot: snap}, err
	case machine.SyncState:
		return machine.StateSynced(t), d.State.Sync()
	case *machine.ComputeHash:
		sum, err := computeHash(t, pace)
		return machine.HashComputed{RegionID: t.RegionID, PeerID: t.PeerID, Index: t.At.Index, Hash: sum, OK: err == nil}, err
	case machine.Reload:
		found, err := d.reload(t)
		return found, err
	case machine.MeasureRegion:
		found, err := d.measure(t)
		return found, err
	case machine.DropSnapshot:
		key := snapfile.Key{RegionID: t.RegionID, Term: t.At.Term, Index: t.At.Index}
		return nil, d.Snapshots.Delete(key, t.Received)
	}
	panic(errors.Errorf("raftstore: unknown task %T", task))
}

// readLog reads two entries at least, if the range has two: raft needs the term of the first to send the second, and would ask for the first again and
// again if a large one came alone.
func (d *Disk) readLog(t machine.ReadLog) ([]eraftpb.Entry, error) {
	entries, err := d.Log.Entries(t.RegionID, t.Lo, t.Hi, t.MaxBytes)
	if err != nil || len(entries) != 1 || t.Lo+1 == t.Hi {
		return entries, err
	}
	more, err := d.Log.Entries(t.RegionID, t.Lo+1, t.Hi, t.MaxBytes)
	return append(entries, more...), err
}

// BuildSnapshot holds a region's applied state, as one engine snapshot shows it, to be sent at that pace, and describes it for raft. The applied
// index, the region and the data come from the same engine snapshot, so they fit.
func (d *Disk) BuildSnapshot(regionID uint64, pace snapfile.Pace) (*eraftpb.Snapshot, error) {
	snap := d.State.NewSnapshot()
	state, applied, err := readWhole(snap, regionID)
	if err != nil || state == nil {
		_ = snap.Close() // nothing that matters was read from it
		return nil, err  // gone meanwhile
	}
	key := snapfile.Key{RegionID: regionID, Term: applied.CommitTerm, Index: applied.AppliedIndex}
	if err := d.Snapshots.Hold(key, state.Region, snap, pace); err != nil {
		return nil, err
	}
	data, err := machine.SnapshotData(state).Marshal()
	if err != nil {
		return nil, err
	}
	return &eraftpb.Snapshot{Data: data, Metadata: &eraftpb.SnapshotMetadata{
		Index: key.Index, Term: key.Term, ConfState: machine.ConfStateOf(state.Region),
	}}, nil
}

// readWhole reads both states of a region whose data is here, and nil when it is not.
func readWhole(snap engine.Snapshot, regionID uint64) (*raft_serverpb.RegionLocalState, *raft_serverpb.RaftApplyState, error) {
	state, err := readRegionState(snap, regionID)
	if err != nil || state == nil {
		return nil, nil, err
	}
	if here, err := isWhole(snap, state); err != nil || !here {
		return nil, nil, err
	}
	applied, err := readApplyState(snap, regionID)
	return state, applied, err
}

// isWhole reports whether a region's data is here. A removed peer, which has its tombstone, still has it until it is destroyed: it may have to vote for one
// of those who remain, or to bring one up by a snapshot, before they can do without it (R4).
func isWhole(snap engine.Snapshot, state *raft_serverpb.RegionLocalState) (bool, error) {
	if state.State != raft_serverpb.PeerState_Tombstone {
		return true, nil
	}
	b, err := snap.Get(engine.Local, keys.ApplyState(state.Region.Id))
	return b != nil, err
}

func readRegionState(snap engine.Snapshot, regionID uint64) (*raft_serverpb.RegionLocalState, error) {
	b, err := snap.Get(engine.Local, keys.RegionState(regionID))
	if err != nil || b == nil {
		return nil, err
	}
	s := new(raft_serverpb.RegionLocalState)
	return s, errors.Annotatef(s.Unmarshal(b), "region %d: region state", regionID)
}

func readApplyState(snap engine.Snapshot, regionID uint64) (*raft_serverpb.RaftApplyState, error) {
	b, err := snap.Get(engine.Local, keys.ApplyState(regionID))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, errors.Errorf("region %d: has a region state but no apply state", regionID)
	}
	s := new(raft_serverpb.RaftApplyState)
	return s, errors.Annotatef(s.Unmarshal(b), "region %d: apply state", regionID)
}

func rangeEnd(r *metapb.Region) []byte {
	if len(r.EndKey) == 0 {
		return nil
	}
	return r.EndKey
}
