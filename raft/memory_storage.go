package raft

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// MemoryStorage is a Storage in memory, for tests and simulations. It is not safe for concurrent use.
type MemoryStorage struct {
	hardState eraftpb.HardState
	snapshot  eraftpb.Snapshot
	// ents[0] is not an entry: it carries index and term of the snapshot. ents[i] has index i+ents[0].Index.
	ents []eraftpb.Entry
}

// NewMemoryStorage returns an empty log of a node without members.
func NewMemoryStorage() *MemoryStorage {
	return &MemoryStorage{
		ents:     make([]eraftpb.Entry, 1),
		snapshot: eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{ConfState: &eraftpb.ConfState{}}},
	}
}

// InitialState implements Storage; the members are those of the snapshot.
func (ms *MemoryStorage) InitialState() (eraftpb.HardState, eraftpb.ConfState, error) {
	var cs eraftpb.ConfState
	if meta := ms.snapshot.Metadata; meta != nil && meta.ConfState != nil {
		cs = *meta.ConfState
	}
	return ms.hardState, cs, nil
}

// SetHardState replaces the persisted term, vote and commit index.
func (ms *MemoryStorage) SetHardState(st eraftpb.HardState) {
	ms.hardState = st
}

// Entries implements Storage.
func (ms *MemoryStorage) Entries(lo, hi uint64) ([]eraftpb.Entry, error) {
	offset := ms.ents[0].Index
	if lo <= offset {
		return nil, ErrCompacted
	}
	if hi > ms.lastIndex()+1 || lo > hi {
		return nil, ErrUnavailable
	}
	return ms.ents[lo-offset : hi-offset : hi-offset], nil
}

// Term implements Storage.
func (ms *MemoryStorage) Term(i uint64) (uint64, error) {
	offset := ms.ents[0].Index
	if i < offset {
		return 0, ErrCompacted
	}
	if i > ms.lastIndex() {
		return 0, ErrUnavailable
	}
	return ms.ents[i-offset].Term, nil
}

// LastIndex implements Storage.
func (ms *MemoryStorage) LastIndex() (uint64, error) {
	return ms.lastIndex(), nil
}

func (ms *MemoryStorage) lastIndex() uint64 {
	return ms.ents[0].Index + uint64(len(ms.ents)) - 1
}

// FirstIndex implements Storage.
func (ms *MemoryStorage) FirstIndex() (uint64, error) {
	return ms.ents[0].Index + 1, nil
}

// Snapshot implements Storage.
func (ms *MemoryStorage) Snapshot() (eraftpb.Snapshot, error) {
	return ms.snapshot, nil
}

// ApplySnapshot replaces the whole log by a snapshot. ErrCompacted if the one held already is newer.
func (ms *MemoryStorage) ApplySnapshot(snap eraftpb.Snapshot) error {
	if snapshotIndex(&ms.snapshot) > snapshotIndex(&snap) {
		return ErrCompacted
	}
	ms.snapshot = snap
	ms.ents = []eraftpb.Entry{{Term: snap.Metadata.Term, Index: snap.Metadata.Index}}
	return nil
}

// CreateSnapshot makes a snapshot of the state at index i, with these members (nil keeps the former ones) and this
// content. ErrCompacted if there is one as new, ErrUnavailable if i is beyond the log.
func (ms *MemoryStorage) CreateSnapshot(i uint64, cs *eraftpb.ConfState, data []byte) (eraftpb.Snapshot, error) {
	if i <= snapshotIndex(&ms.snapshot) {
		return eraftpb.Snapshot{}, ErrCompacted
	}
	term, err := ms.Term(i)
	if err != nil {
		return eraftpb.Snapshot{}, err
	}
	if cs == nil && ms.snapshot.Metadata != nil {
		cs = ms.snapshot.Metadata.ConfState
	}
	// A snapshot handed out earlier may still be on its way to a follower: make a new one, never change the old one.
	ms.snapshot = eraftpb.Snapshot{
		Data:     data,
		Metadata: &eraftpb.SnapshotMetadata{Index: i, Term: term, ConfState: cs},
	}
	return ms.snapshot, nil
}

// Compact forgets all entries up to and including index i. ErrCompacted if they are gone already, ErrUnavailable if i is
// beyond the log.
func (ms *MemoryStorage) Compact(i uint64) error {
	offset := ms.ents[0].Index
	if i <= offset {
		return ErrCompacted
	}
	if i > ms.lastIndex() {
		return ErrUnavailable
	}
	kept := make([]eraftpb.Entry, 1, 1+ms.lastIndex()-i)
	kept[0].Index = i
	kept[0].Term = ms.ents[i-offset].Term
	ms.ents = append(kept, ms.ents[i-offset+1:]...)
	return nil
}

// Append writes entries, which must follow each other; what the log held at and after the first of them is cut off.
// Entries that are already compacted are ignored.
func (ms *MemoryStorage) Append(entries []eraftpb.Entry) error {
	first := ms.ents[0].Index + 1
	for len(entries) > 0 && entries[0].Index < first {
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return nil
	}
	keep := entries[0].Index - ms.ents[0].Index
	if keep > uint64(len(ms.ents)) {
		return errors.Errorf("raft: a gap between last index %d and appended index %d", ms.lastIndex(), entries[0].Index)
	}
	ms.ents = append(ms.ents[:keep:keep], entries...)
	return nil
}
