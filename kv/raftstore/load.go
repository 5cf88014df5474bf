package raftstore

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Load reads what a store held when it stopped, and finishes what a crash interrupted: snapshots that are in the state
// engine but whose log was not reset, and the destruction of peers. Nobody remembers any snapshot file: what was received is in the engine or
// will be sent again.
func (d *Disk) Load(storeID uint64) (machine.StoreState, error) {
	found := machine.StoreState{
		Tombstones: make(map[uint64]machine.Tombstone), Orphans: make(map[uint64]*raft_serverpb.RaftLocalState),
	}
	snap := d.State.NewSnapshot()
	defer func() { _ = snap.Close() }()
	var whole []*raft_serverpb.RegionLocalState
	err := eachRegionState(snap, func(s *raft_serverpb.RegionLocalState) error {
		here, err := isWhole(snap, s)
		if err != nil || here {
			whole = append(whole, s)
			return err
		}
		for _, p := range s.RemovedRecords {
			found.Tombstones[s.Region.Id] = machine.Tombstone{
				PeerID: p.Id, ConfVer: s.Region.GetRegionEpoch().GetConfVer(), Members: s.Region.GetPeers(), Into: s.MergeState,
				Epoch: s.Region.GetRegionEpoch(), Records: s.MergedRecords,
			}
		}
		return d.finishDestroy(s.Region.Id)
	})
	if err != nil {
		return found, err
	}
	if err := d.Snapshots.DeleteAll(); err != nil {
		return found, err
	}
	for _, s := range whole {
		r, err := d.loadRegion(storeID, snap, s)
		if err != nil {
			return found, err
		}
		found.Regions = append(found.Regions, r)
	}
	if err := d.eraseStray(snap, found.Regions); err != nil {
		return found, err
	}
	return found, d.loadOrphans(&found)
}

// finishDestroy takes what a destroyed peer may have left behind: its log. Its data went together with its apply state.
func (d *Disk) finishDestroy(id uint64) error {
	log, err := d.Log.State(id)
	if err != nil || log == nil || log.LastIndex == 0 {
		return err // it is what a destroyed peer leaves, or a younger peer without data has promised
	}
	return d.Log.Write([]logstore.Update{{RegionID: id, Destroy: true, Sync: true, State: machine.Legacy(*log.HardState)}})
}

func eachRegionState(snap engine.Snapshot, visit func(*raft_serverpb.RegionLocalState) error) (err error) {
	lower, upper := keys.AllRegionMetaRange()
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: lower, Upper: upper})
	if err != nil {
		return err
	}
	defer func() {
		if e := it.Close(); err == nil {
			err = e
		}
	}()
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		id, kind, err := keys.DecodeRegionMeta(it.Key())
		if err != nil {
			return err
		}
		if kind != keys.MetaRegionState {
			continue
		}
		s := new(raft_serverpb.RegionLocalState)
		if err := s.Unmarshal(it.Value()); err != nil || s.Region.GetId() != id {
			return errors.Errorf("region %d: region state is damaged (%v)", id, err)
		}
		if err := visit(s); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) loadRegion(storeID uint64, snap engine.Snapshot, s *raft_serverpb.RegionLocalState) (machine.Restored, error) {
	r := machine.Restored{Region: s.Region, Merge: s.MergeState, Records: s.MergedRecords}
	self, err := ownPeer(s, storeID)
	if err != nil {
		return r, err
	}
	r.PeerID = self.Id
	if r.Apply, err = readApplyState(snap, s.Region.Id); err != nil {
		return r, err
	}
	if r.Raft, err = d.Log.State(s.Region.Id); err != nil {
		return r, err
	}
	if err := d.finishInstall(snap, &r); err != nil {
		return r, err
	}
	if err := d.finishBirth(&r); err != nil {
		return r, err
	}
	if r.Raft == nil {
		return r, errors.Errorf("region %d: has data but no raft state: the raft log is lost", s.Region.Id)
	}
	return r, d.loadLog(&r)
}

// ownPeer is this store's peer of a region whose data is here. One that was removed and waits for the others to know is named by its tombstone.
func ownPeer(s *raft_serverpb.RegionLocalState, storeID uint64) (*metapb.Peer, error) {
	if s.State == raft_serverpb.PeerState_Tombstone && len(s.RemovedRecords) > 0 {
		return s.RemovedRecords[0], nil
	}
	if self := region.FindPeerOn(s.Region, storeID); self != nil {
		return self, nil
	}
	return nil, errors.Errorf("region %d has no peer on store %d: is this another store's directory?", s.Region.Id, storeID)
}

// loadLog reads the end of the log, and how long it is.
func (d *Disk) loadLog(r *machine.Restored) (err error) {
	lo, hi := r.Apply.AppliedIndex+1, r.Raft.LastIndex+1
	if lo == hi && r.Raft.LastIndex > r.Apply.TruncatedState.GetIndex() {
		lo-- // all is applied; the last entry's term is still wanted
	}
	if lo < hi {
		if r.Tail, err = d.loadTail(r.Region.Id, lo, hi); err != nil {
			return err
		}
	}
	r.LogBytes, err = d.Log.Size(r.Region.Id)
	return err
}

// reload reads what there is of one peer, beside a running store: nothing is on its way to the disk for it.
func (d *Disk) reload(t machine.Reload) (found machine.Reloaded, err error) {
	found.RegionID, found.PeerID = t.RegionID, t.PeerID
	snap := d.State.NewSnapshot()
	defer func() { _ = snap.Close() }()
	if found.State, err = d.Log.State(t.RegionID); err != nil {
		return found, err
	}
	s, applied, err := readWhole(snap, t.RegionID)
	if err != nil || s == nil {
		return found, err
	}
	r := machine.Restored{Region: s.Region, PeerID: t.PeerID, Apply: applied, Raft: found.State, Merge: s.MergeState, Records: s.MergedRecords}
	err = d.loadLog(&r)
	found.Restored = r
	return found, err
}

// loadTail reads all of [lo, hi).
func (d *Disk) loadTail(regionID, lo, hi uint64) (tail []eraftpb.Entry, err error) {
	const atOnce = 8 << 20
	for lo < hi {
		entries, err := d.Log.Entries(regionID, lo, hi, atOnce)
		if err != nil {
			return nil, err
		}
		tail = append(tail, entries...)
		lo = entries[len(entries)-1].Index + 1
	}
	return tail, nil
}

// finishInstall resets the log to where an installed snapshot ends, keeping term and vote, if a crash came before that (S2).
func (d *Disk) finishInstall(snap engine.Snapshot, r *machine.Restored) error {
	id := r.Region.Id
	b, err := snap.Get(engine.Local, keys.InstallMarker(id))
	if err != nil || b == nil {
		return err
	}
	at, err := machine.DecodeMarker(b)
	if err != nil {
		return errors.Annotatef(err, "region %d", id)
	}
	if r.Apply.GetTruncatedState().GetIndex() == at.Index && (r.Raft == nil || !d.continues(r.Raft, id, at)) {
		state := &raft_serverpb.RaftLocalState{LastIndex: at.Index}
		if r.Raft != nil {
			hs := *r.Raft.HardState
			state.HardState = &hs
		} else {
			state.HardState = &eraftpb.HardState{}
		}
		if state.HardState.Term < at.Term {
			state.HardState.Term, state.HardState.Vote = at.Term, 0
		}
		state.HardState.Commit = at.Index
		if err := d.Log.Write([]logstore.Update{{RegionID: id, State: state, Reset: true, Sync: true}}); err != nil {
			return err
		}
		r.Raft = state
	}
	batch := d.State.NewBatch()
	defer func() { _ = batch.Close() }()
	batch.Delete(engine.Local, keys.InstallMarker(id))
	return batch.Commit(true)
}

// finishBirth gives a region that a split has made its raft state, if a crash came before that. What a peer without data has promised for the
// region before holds (S24).
func (d *Disk) finishBirth(r *machine.Restored) error {
	if r.Raft.GetLastIndex() > 0 || r.Apply.AppliedIndex != machine.InitIndex || r.Apply.TruncatedState.GetIndex() != machine.InitIndex {
		return nil
	}
	r.Raft = machine.BirthState(r.Raft)
	return d.Log.Write([]logstore.Update{{RegionID: r.Region.Id, State: r.Raft, Sync: true}})
}

// continues reports whether the log was reset to the snapshot's end already, and may have grown from there: then there
// is no entry at the snapshot's own index.
func (d *Disk) continues(s *raft_serverpb.RaftLocalState, id uint64, at machine.Pair) bool {
	if s.LastIndex < at.Index {
		return false
	}
	_, err := d.Log.Entries(id, at.Index, at.Index+1, 1)
	return err != nil
}

// loadOrphans collects raft states of peers that have no region yet: they may have voted.
func (d *Disk) loadOrphans(found *machine.StoreState) error {
	ids, err := d.Log.Regions()
	if err != nil {
		return err
	}
	known := make(map[uint64]bool)
	for _, r := range found.Regions {
		known[r.Region.Id] = true
	}
	for _, id := range ids {
		if known[id] {
			continue
		}
		if found.Orphans[id], err = d.Log.State(id); err != nil {
			return err
		}
	}
	return nil
}
