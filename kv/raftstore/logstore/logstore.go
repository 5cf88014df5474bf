// Package logstore keeps the raft logs of all groups of a store in one engine.
//
// What a round of all raft workers wants to be durable is a list of Updates, one or more per group. Write turns the whole list into one
// atomic batch with at most one sync: one fsync serves every region. The order within an Update is fixed: first what
// goes away (Destroy, or Reset, or the entries that CompactTo makes needless), then the entries, then what remains of a longer log
// that the entries replaced, then the state. The updates of a list take effect in its order, so that a group may be
// destroyed and created anew in one batch.
//
// Reads go by group and index and may run beside Write; each sees whole batches only. What is stored is checked as it is read:
// a hole in a log or bytes that are no entry are errors that name the group and the index, never a shorter answer.
//
// The package leans on engine's contract: a batch committed with sync is on disk with everything before it, and an engine that failed to
// write or sync fails for good. After an error from Write the caller must stop the store; what the batch held is then
// undetermined.
//
// An engine is the first implementation of these methods, not the last: nothing here shows that there is one, so that recycled
// log segments can take its place.
package logstore

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
)

// Update is what one group wants written. The zero value of a field changes nothing.
type Update struct {
	RegionID uint64
	// State is the group's hard state and last index. It goes with what may leave the log without an entry, and with whatever changes the term or the
	// vote; entries may come without: the last of them tells the last index.
	State *raft_serverpb.RaftLocalState
	// Entries are contiguous and replace whatever the log held from Entries[0].Index on.
	Entries []eraftpb.Entry
	// OldLast is the last index that the log held before: when Entries end below it, the rest up to it is deleted.
	OldLast uint64
	// Reset says that a snapshot took the log's place: every entry is deleted before Entries are written.
	Reset bool
	// CompactTo says that entries below it are no longer needed.
	CompactTo uint64
	// Destroy removes the entries of the group, and its state if State does not replace it. It excludes the other fields, Sync excepted.
	Destroy bool
	// Sync asks that the update be durable when Write returns. One such update makes the whole batch, and everything before it, durable.
	Sync bool
}

// maxKeptBatch is the size in bytes up to which a batch's buffer is kept for the next Write.
const maxKeptBatch = 16 << 20

// Store is the raft log of all groups.
type Store struct {
	engine engine.Engine

	// What follows belongs to Write.

	batch engine.Batch
	key   []byte
	value []byte
	// compacted is, for each group, the index below which an earlier Write has deleted everything, so that range deletes do not
	// overlap each other without end. A group that is missing has not been compacted since New.
	compacted map[uint64]uint64
}

// New returns the store whose content is in e; it does not own e.
func New(e engine.Engine) *Store {
	return &Store{engine: e, batch: e.NewBatch(), compacted: make(map[uint64]uint64)}
}

// Close releases what Write keeps; the engine stays open.
func (s *Store) Close() error {
	return errors.Trace(s.batch.Close())
}

// Sync makes every earlier Write durable. It may run beside Write and reads.
func (s *Store) Sync() error {
	return errors.Annotate(s.engine.Sync(), "sync the raft log")
}

// Write makes the updates of all groups take effect in one atomic batch, synced when any of them asks for it. It keeps nothing of
// its argument. It must not run beside itself. An error leaves it undetermined whether the batch will be found after a restart,
// except for an *UpdateError: then nothing was written.
func (s *Store) Write(updates []Update) error {
	defer s.recycle()
	sync := false
	for i := range updates {
		u := &updates[i]
		if err := u.check(); err != nil {
			return err
		}
		if err := s.add(u); err != nil {
			return err
		}
		sync = sync || u.Sync
	}
	if s.batch.Size() == 0 {
		if sync {
			return s.Sync()
		}
		return nil
	}
	return errors.Annotate(s.batch.Commit(sync), "write the raft log")
}

// recycle empties the batch for the next Write, and lets go of buffers that one large Write has left behind.
func (s *Store) recycle() {
	if s.batch.Size() > maxKeptBatch {
		_ = s.batch.Close() // nothing of it is to be committed any more
		s.batch = s.engine.NewBatch()
	} else {
		s.batch.Reset()
	}
	if cap(s.value) > maxKeptBatch {
		s.value = nil
	}
}

func (u *Update) check() error {
	if u.Destroy && (len(u.Entries) > 0 || u.Reset || u.CompactTo > 0) {
		return &UpdateError{RegionID: u.RegionID, Reason: "destroy excludes every other change but what state is left"}
	}
	for i := 1; i < len(u.Entries); i++ {
		if u.Entries[i].Index != u.Entries[0].Index+uint64(i) {
			return &UpdateError{RegionID: u.RegionID, Index: u.Entries[i].Index, Reason: "entries are not contiguous"}
		}
	}
	return nil
}

func (s *Store) add(u *Update) error {
	switch {
	case u.Destroy:
		start, end := keys.RegionRaftRange(u.RegionID)
		s.batch.DeleteRange(engine.Local, start, end)
		delete(s.compacted, u.RegionID)
	case u.Reset:
		start, end := keys.RaftLogAll(u.RegionID)
		s.batch.DeleteRange(engine.Local, start, end)
		delete(s.compacted, u.RegionID)
	}
	s.compact(u.RegionID, u.CompactTo)
	if err := s.addEntries(u); err != nil {
		return err
	}
	if u.State == nil {
		return nil
	}
	s.key = keys.AppendRaftState(s.key[:0], u.RegionID)
	n, err := u.State.MarshalToSizedBuffer(s.sized(u.State.Size()))
	if err != nil {
		return &UpdateError{RegionID: u.RegionID, Reason: "state cannot be encoded: " + err.Error()}
	}
	s.batch.Put(engine.Local, s.key, s.value[:n])
	return nil
}

func (s *Store) compact(region, to uint64) {
	from := s.compacted[region]
	if to <= from {
		return
	}
	start, end := keys.RaftLogRange(region, from, to)
	s.batch.DeleteRange(engine.Local, start, end)
	s.compacted[region] = to
}

func (s *Store) addEntries(u *Update) error {
	if len(u.Entries) == 0 {
		return nil
	}
	if first := u.Entries[0].Index; first < s.compacted[u.RegionID] {
		s.compacted[u.RegionID] = first
	}
	for i := range u.Entries {
		entry := &u.Entries[i]
		n, err := entry.MarshalToSizedBuffer(s.sized(entry.Size()))
		if err != nil {
			return &UpdateError{RegionID: u.RegionID, Index: entry.Index, Reason: "entry cannot be encoded: " + err.Error()}
		}
		s.key = keys.AppendRaftLog(s.key[:0], u.RegionID, entry.Index)
		s.batch.Put(engine.Local, s.key, s.value[:n])
	}
	s.truncate(u.RegionID, u.Entries[len(u.Entries)-1].Index, u.OldLast)
	return nil
}

// truncate deletes the entries in (last, oldLast]. A handful is deleted one by one: range deletes make later reads slower.
func (s *Store) truncate(region, last, oldLast uint64) {
	const fewEntries = 64
	switch {
	case oldLast <= last:
	case oldLast-last > fewEntries:
		start, _ := keys.RaftLogRange(region, last+1, 0)
		_, end := keys.RaftLogAll(region)
		s.batch.DeleteRange(engine.Local, start, end)
	default:
		for index := last + 1; index <= oldLast; index++ {
			s.key = keys.AppendRaftLog(s.key[:0], region, index)
			s.batch.Delete(engine.Local, s.key)
		}
	}
}

// sized returns the value buffer with room for n bytes.
func (s *Store) sized(n int) []byte {
	if cap(s.value) < n {
		s.value = make([]byte, n)
	}
	s.value = s.value[:n]
	return s.value
}
