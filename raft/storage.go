package raft

import "github.com/pingcap/kvproto/pkg/eraftpb"

// Storage reads what has been persisted of one node's log. It starts nothing and never waits: what is not at hand is
// answered with ErrLogTemporarilyUnavailable or ErrSnapshotTemporarilyUnavailable, and RawNode.EntriesAvailable or
// SnapshotAvailable says later that asking again is worth while.
type Storage interface {
	// InitialState returns the persisted term, vote and commit index, and the members as of the applied index.
	InitialState() (eraftpb.HardState, eraftpb.ConfState, error)
	// Entries returns the entries of [lo, hi). It may return fewer, from lo on and at least one, when they are many or
	// large. ErrCompacted if lo is before FirstIndex, ErrUnavailable if hi is beyond LastIndex+1,
	// ErrLogTemporarilyUnavailable if they are being loaded.
	Entries(lo, hi uint64) ([]eraftpb.Entry, error)
	// Term returns the term of entry i, for i from FirstIndex-1 (whose entry is gone but whose term is kept) to LastIndex.
	// Errors as for Entries.
	Term(i uint64) (uint64, error)
	// LastIndex returns the index of the last entry, or of the snapshot if there is none behind it.
	LastIndex() (uint64, error)
	// FirstIndex returns the index of the first entry that Entries may still return.
	FirstIndex() (uint64, error)
	// Snapshot returns the newest snapshot, or ErrSnapshotTemporarilyUnavailable while one is being made.
	Snapshot() (eraftpb.Snapshot, error)
}
