package machine

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
)

// peerLog is raft's view of one group's persisted log (raft.Storage). It never waits: recent entries are in raft's own
// memory; for older ones it answers "temporarily unavailable", notes what was wanted, and the machine has it loaded.
type peerLog struct {
	initial   eraftpb.HardState
	conf      eraftpb.ConfState
	truncated Pair // the last entry that is gone
	last      Pair // the last entry that was given to the log writer
	start     Pair // the entry that was applied last when the peer started; its term is in the apply state
	bytes     logBytes
	// window is a contiguous run of old entries that was loaded on demand, or found at start.
	window []eraftpb.Entry
	wanted struct {
		lo, hi uint64
		asked  bool
	}
	snapshot     *eraftpb.Snapshot
	wantSnapshot bool
	least        uint64 // the index that a snapshot must reach to be of use
}

var _ raft.Storage = (*peerLog)(nil)

func (l *peerLog) InitialState() (eraftpb.HardState, eraftpb.ConfState, error) {
	return l.initial, l.conf, nil
}

func (l *peerLog) FirstIndex() (uint64, error) { return l.truncated.Index + 1, nil }
func (l *peerLog) LastIndex() (uint64, error)  { return l.last.Index, nil }

func (l *peerLog) Term(i uint64) (uint64, error) {
	switch {
	case i == l.truncated.Index:
		return l.truncated.Term, nil
	case i < l.truncated.Index:
		return 0, raft.ErrCompacted
	case i == l.last.Index:
		return l.last.Term, nil
	case i > l.last.Index:
		return 0, raft.ErrUnavailable
	case i == l.start.Index:
		return l.start.Term, nil
	}
	if e := l.at(i); e != nil {
		return e.Term, nil
	}
	l.want(i, i+1)
	return 0, raft.ErrLogTemporarilyUnavailable
}

// Entries returns a prefix of [lo, hi) that is at hand.
func (l *peerLog) Entries(lo, hi uint64) ([]eraftpb.Entry, error) {
	if lo <= l.truncated.Index {
		return nil, raft.ErrCompacted
	}
	if hi > l.last.Index+1 {
		return nil, raft.ErrUnavailable
	}
	if l.at(lo) == nil {
		l.want(lo, hi)
		return nil, raft.ErrLogTemporarilyUnavailable
	}
	from := lo - l.window[0].Index
	to := min(hi-l.window[0].Index, uint64(len(l.window)))
	return l.window[from:to:to], nil
}

// Snapshot returns the last built snapshot if the log still continues it, and all can use it who have asked.
func (l *peerLog) Snapshot() (eraftpb.Snapshot, error) {
	if s := l.snapshot; s != nil && s.Metadata.Index >= max(l.truncated.Index, l.least) {
		return *s, nil
	}
	l.wantSnapshot = true
	return eraftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
}

func (l *peerLog) at(i uint64) *eraftpb.Entry {
	if len(l.window) == 0 || i < l.window[0].Index || i-l.window[0].Index >= uint64(len(l.window)) {
		return nil
	}
	return &l.window[i-l.window[0].Index]
}

func (l *peerLog) want(lo, hi uint64) {
	if l.wanted.asked {
		return
	}
	// One more in front: a follower is probed with the term of the entry before.
	l.wanted.lo, l.wanted.hi = max(lo-1, l.truncated.Index+1), hi
}

// loaded takes what was read from disk in answer to wanted.
func (l *peerLog) loaded(entries []eraftpb.Entry) {
	l.wanted.lo, l.wanted.hi, l.wanted.asked = 0, 0, false
	if len(entries) > 0 && entries[len(entries)-1].Index <= l.last.Index {
		l.window = entries
	}
}

// appended notes entries that go to the log writer; they replace what was at their indices.
func (l *peerLog) appended(entries []eraftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	l.bytes.append(entries, l.last.Index)
	tail := &entries[len(entries)-1]
	l.last = Pair{tail.Index, tail.Term}
	if n := len(l.window); n > 0 && l.window[n-1].Index >= entries[0].Index {
		l.window = nil
	}
}

// cut forgets the log up to and including at.
func (l *peerLog) cut(at Pair) {
	l.truncated = at
	l.bytes.cut(at.Index, l.last.Index)
	if len(l.window) > 0 && l.window[0].Index <= at.Index {
		l.window = nil
	}
}

// reset forgets everything: a snapshot that ends at at took the log's place.
func (l *peerLog) reset(at Pair) {
	l.truncated, l.last, l.window, l.bytes = at, at, nil, logBytes{}
}
