package logstore

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
)

// State returns the group's hard state as last written, and its last index: that of the last entry, or, when there is no entry, as last
// written. It is nil when none was written.
func (s *Store) State(region uint64) (_ *raft_serverpb.RaftLocalState, err error) {
	snap := s.engine.NewSnapshot()
	defer closing(snap, &err)
	value, err := snap.Get(engine.Local, keys.RaftState(region))
	if err != nil {
		return nil, errors.Annotatef(err, "region %d: read the raft state", region)
	}
	if value == nil {
		return nil, nil
	}
	state := new(raft_serverpb.RaftLocalState)
	if err := state.Unmarshal(value); err != nil {
		return nil, &CorruptError{RegionID: region, Reason: "raft state cannot be decoded: " + err.Error()}
	}
	last, err := lastIndex(snap, region)
	if last > 0 {
		state.LastIndex = last
	}
	return state, err
}

// lastIndex is the index of the group's last entry, or 0 when it has none.
func lastIndex(snap engine.Snapshot, region uint64) (_ uint64, err error) {
	start, end := keys.RaftLogAll(region)
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: start, Upper: end})
	if err != nil {
		return 0, errors.Annotatef(err, "region %d: find the end of the raft log", region)
	}
	defer closing(it, &err)
	if !it.SeekLT(nil) {
		return 0, nil
	}
	_, index, err := keys.DecodeRaftLog(it.Key())
	return index, errors.Trace(err)
}

// Size is about what the group's entries take.
func (s *Store) Size(region uint64) (uint64, error) {
	start, end := keys.RaftLogAll(region)
	n, err := s.engine.ApproximateSize(engine.Local, start, end)
	return n, errors.Annotatef(err, "region %d: size of the raft log", region)
}

// Entries returns the group's entries in [lo, hi): all, or as many from lo on as have an encoded size of maxBytes together, and at
// least one. A maxBytes of 0 is no limit. The entries share no memory with the store. The error is a *GapError when one of the
// entries is not there, a *CorruptError when what is there is no such entry. It may run beside Write.
func (s *Store) Entries(region, lo, hi, maxBytes uint64) (entries []eraftpb.Entry, err error) {
	if lo >= hi {
		return nil, nil
	}
	snap := s.engine.NewSnapshot()
	defer closing(snap, &err)
	start, end := keys.RaftLogRange(region, lo, hi)
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: start, Upper: end})
	if err != nil {
		return nil, errors.Annotatef(err, "region %d: read the raft log from index %d", region, lo)
	}
	defer closing(it, &err)
	want, size := lo, uint64(0)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		if size += uint64(len(it.Value())); maxBytes > 0 && size > maxBytes && len(entries) > 0 {
			return entries, nil
		}
		if entries == nil {
			entries = make([]eraftpb.Entry, 0, min(hi-lo, expectedEntries))
		}
		entries = append(entries, eraftpb.Entry{})
		if err := decodeEntry(region, want, it, &entries[len(entries)-1]); err != nil {
			return nil, err
		}
		want++
	}
	if want < hi {
		return nil, &GapError{RegionID: region, Lo: lo, Hi: hi, Missing: want}
	}
	return entries, nil
}

// expectedEntries bounds the room that is made before it is known how many entries fit into the answer.
const expectedEntries = 64

// decodeEntry reads the entry at the iterator, which must be that of the index wanted.
func decodeEntry(region, want uint64, it engine.Iterator, entry *eraftpb.Entry) error {
	_, index, err := keys.DecodeRaftLog(it.Key())
	if err != nil {
		return &CorruptError{RegionID: region, Index: want, Reason: err.Error()}
	}
	if index != want {
		return &GapError{RegionID: region, Lo: want, Hi: index, Missing: want}
	}
	if err := entry.Unmarshal(it.Value()); err != nil {
		return &CorruptError{RegionID: region, Index: index, Reason: "entry cannot be decoded: " + err.Error()}
	}
	if entry.Index != index {
		return &CorruptError{RegionID: region, Index: index, Reason: "entry says that it is another one"}
	}
	return nil
}

// Regions returns, in ascending order, the groups that have a raft state.
func (s *Store) Regions() (regions []uint64, err error) {
	snap := s.engine.NewSnapshot()
	defer closing(snap, &err)
	start, end := keys.AllRaftRange()
	it, err := snap.NewIterator(engine.Local, engine.IterOptions{Lower: start, Upper: end})
	if err != nil {
		return nil, errors.Annotate(err, "list the raft states")
	}
	defer closing(it, &err)
	// From any key of a group, two seeks lead over all its entries: to where its state would be, and to the next group.
	for ok := it.SeekGE(nil); ok; {
		region, err := keys.DecodeRaftRegion(it.Key())
		if err != nil {
			return nil, errors.Trace(err)
		}
		state := keys.RaftState(region)
		if it.SeekGE(state) && string(it.Key()) == string(state) {
			regions = append(regions, region)
		}
		_, next := keys.RegionRaftRange(region)
		ok = it.SeekGE(next)
	}
	return regions, nil
}

// closing closes c when the caller returns. When that fails, an iterator has ended early: this, and not what the caller made of the
// missing rest, is the error to tell.
func closing(c interface{ Close() error }, err *error) {
	if failed := c.Close(); failed != nil {
		*err = errors.Annotate(failed, "read the raft log")
	}
}
