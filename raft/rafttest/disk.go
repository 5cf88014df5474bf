package rafttest

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
)

// Disk is what survives a crash of a node: its log, its term and vote, and the last checkpoint of its state machine. It is
// also the node's raft.Storage, which can be told to answer that something is not at hand.
type Disk struct {
	*raft.MemoryStorage
	// checkpoint is the state that a restarted node begins with.
	checkpoint Machine
	// Cold is the index up to which entries and terms have to be loaded first.
	Cold uint64
	// SnapshotBusy tells that a snapshot has to be made first.
	SnapshotBusy bool
	// live returns the state of the running machine, of which snapshots are made.
	live func() Machine
}

func newDisk() *Disk {
	return &Disk{MemoryStorage: raft.NewMemoryStorage()}
}

// InitialState implements raft.Storage. The members are those of the state that the node begins with.
func (d *Disk) InitialState() (eraftpb.HardState, eraftpb.ConfState, error) {
	hard, _, err := d.MemoryStorage.InitialState()
	return hard, *d.checkpoint.Conf.State(), err
}

// Term implements raft.Storage.
func (d *Disk) Term(i uint64) (uint64, error) {
	term, err := d.MemoryStorage.Term(i)
	first, _ := d.FirstIndex()
	if err == nil && i <= d.Cold && i >= first {
		return 0, raft.ErrLogTemporarilyUnavailable
	}
	return term, err
}

// Entries implements raft.Storage.
func (d *Disk) Entries(lo, hi uint64) ([]eraftpb.Entry, error) {
	ents, err := d.MemoryStorage.Entries(lo, hi)
	if err == nil && lo <= d.Cold {
		return nil, raft.ErrLogTemporarilyUnavailable
	}
	return ents, err
}

// Snapshot implements raft.Storage: a snapshot is the state as it is now.
func (d *Disk) Snapshot() (eraftpb.Snapshot, error) {
	if d.SnapshotBusy {
		return eraftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	return d.live().snapshot(), nil
}

// write makes a Ready durable, all of it at once.
func (d *Disk) write(rd *raft.Ready) error {
	if !raft.IsEmptySnap(&rd.Snapshot) {
		if err := d.ApplySnapshot(rd.Snapshot); err != nil {
			return err
		}
		d.checkpoint = machineOf(&rd.Snapshot)
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		d.SetHardState(rd.HardState)
	}
	return d.Append(rd.Entries)
}
