package logstore

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/keys"
)

func state(term, vote, commit, last uint64) *raft_serverpb.RaftLocalState {
	return &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: term, Vote: vote, Commit: commit}, LastIndex: last}
}

// entries returns those of [lo, hi) with payloads that tell them apart.
func entries(term, lo, hi uint64) []eraftpb.Entry {
	var es []eraftpb.Entry
	for i := lo; i < hi; i++ {
		es = append(es, eraftpb.Entry{Term: term, Index: i, Data: bytes.Repeat([]byte{byte(i), byte(term)}, 5)})
	}
	return es
}

func newStore(t *testing.T) (*Store, *memdb.DB) {
	db := memdb.New()
	s := New(db)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		_ = db.Close() // may be poisoned on purpose
	})
	return s, db
}

func requireEntries(t require.TestingT, s *Store, region, lo, hi uint64, want []eraftpb.Entry) {
	got, err := s.Entries(region, lo, hi, 0)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func requireMissing(t require.TestingT, s *Store, region, lo, hi, missing uint64) {
	got, err := s.Entries(region, lo, hi, 0)
	var gap *GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, &GapError{RegionID: region, Lo: lo, Hi: hi, Missing: missing}, gap)
	require.Empty(t, got)
}

func put(t *testing.T, e engine.Engine, key, value []byte) {
	b := e.NewBatch()
	b.Put(engine.Local, key, value)
	require.NoError(t, b.Commit(false))
	require.NoError(t, b.Close())
}

func TestEmpty(t *testing.T) {
	s, _ := newStore(t)
	regions, err := s.Regions()
	require.NoError(t, err)
	require.Empty(t, regions)
	got, err := s.State(1)
	require.NoError(t, err)
	require.Nil(t, got)
	requireMissing(t, s, 1, 6, 8, 6)
	requireEntries(t, s, 1, 8, 8, nil)
	require.NoError(t, s.Write(nil))
}

// Groups that are written together do not touch each other, whatever their ids and indexes are.
func TestInterleavedRegions(t *testing.T) {
	s, _ := newStore(t)
	ids := []uint64{1, 2, 0x0100, math.MaxUint64 - 1, math.MaxUint64}
	for round := uint64(0); round < 3; round++ {
		var updates []Update
		for i, id := range ids {
			lo := 6 + round*uint64(i+1)
			hi := 6 + (round+1)*uint64(i+1)
			updates = append(updates, Update{RegionID: id, Entries: entries(uint64(i+5), lo, hi), State: state(uint64(i+5), id, 5, hi-1)})
		}
		require.NoError(t, s.Write(updates))
	}
	check := func(ids []uint64) {
		for i, id := range ids {
			hi := 6 + 3*uint64(i+1)
			requireEntries(t, s, id, 6, hi, entries(uint64(i+5), 6, hi))
			requireMissing(t, s, id, 6, hi+1, hi)
			got, err := s.State(id)
			require.NoError(t, err)
			require.Equal(t, state(uint64(i+5), id, 5, hi-1), got)
		}
		regions, err := s.Regions()
		require.NoError(t, err)
		require.Equal(t, ids, regions)
	}
	check(ids)
	require.NoError(t, s.Write([]Update{{RegionID: math.MaxUint64, Destroy: true}}))
	check(ids[:4])
	requireMissing(t, s, math.MaxUint64, 6, 7, 6)
}

// A leader's entries replace those of another term, and what was behind them is gone: etcd #6378 was about a log that kept both.
func TestConflictingEntriesReplaceTheRest(t *testing.T) {
	for _, oldLast := range []uint64{9, 12, 30, 6 + 64, 500} { // point deletes and a range delete
		s, _ := newStore(t)
		require.NoError(t, s.Write([]Update{
			{RegionID: 1, Entries: entries(5, 6, oldLast+1), State: state(5, 0, 6, oldLast)},
			{RegionID: 2, Entries: entries(5, 6, 600), State: state(5, 0, 6, 599)},
		}))
		require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(6, 8, 10), OldLast: oldLast, State: state(6, 0, 6, 9)}}))
		requireEntries(t, s, 1, 6, 10, append(entries(5, 6, 8), entries(6, 8, 10)...))
		for i := uint64(10); i <= oldLast; i++ {
			requireMissing(t, s, 1, i, i+1, i)
		}
		requireEntries(t, s, 2, 6, 600, entries(5, 6, 600))
		got, err := s.State(1)
		require.NoError(t, err)
		require.Equal(t, state(6, 0, 6, 9), got)
	}
}

func TestResetPutsASnapshotInPlaceOfTheLog(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 20), State: state(5, 2, 6, 19)}}))
	require.NoError(t, s.Write([]Update{{RegionID: 1, Reset: true, Entries: entries(7, 101, 103), State: state(7, 2, 100, 102), Sync: true}}))
	requireMissing(t, s, 1, 6, 20, 6)
	requireMissing(t, s, 1, 19, 20, 19)
	requireEntries(t, s, 1, 101, 103, entries(7, 101, 103))
	got, err := s.State(1)
	require.NoError(t, err)
	require.Equal(t, state(7, 2, 100, 102), got)
}

func TestCompact(t *testing.T) {
	s, db := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 40)}, {RegionID: 2, Entries: entries(5, 6, 40)}}))
	compact := func(s *Store, to uint64) {
		require.NoError(t, s.Write([]Update{{RegionID: 1, CompactTo: to}}))
		for i := uint64(6); i < to; i++ {
			requireMissing(t, s, 1, i, i+1, i)
		}
		requireEntries(t, s, 1, to, 40, entries(5, to, 40))
		requireEntries(t, s, 2, 6, 40, entries(5, 6, 40))
	}
	compact(s, 6)
	compact(s, 20)
	compact(s, 20)
	require.NoError(t, s.Write([]Update{{RegionID: 1, CompactTo: 10}})) // late: nothing happens
	compact(s, 21)
	again := New(db) // does not know what has been compacted
	compact(again, 25)
	require.NoError(t, again.Close())
	// A log that begins anew, lower, is compacted from its beginning.
	for _, anew := range []Update{{RegionID: 1, Reset: true}, {RegionID: 1, Destroy: true}, {RegionID: 1, OldLast: 39, Entries: entries(6, 6, 7)}} {
		require.NoError(t, s.Write([]Update{anew}))
		require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 40), State: state(5, 0, 0, 39)}}))
		compact(s, 12)
		compact(s, 21)
	}
}

// A region that is destroyed and comes back in one batch has only what came after.
func TestDestroyAndCreateInOneWrite(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 20), State: state(5, 2, 6, 19)}}))
	require.NoError(t, s.Write([]Update{
		{RegionID: 1, Destroy: true},
		{RegionID: 1, State: state(1, 0, 0, 0), Sync: true},
	}))
	requireMissing(t, s, 1, 6, 20, 6)
	got, err := s.State(1)
	require.NoError(t, err)
	require.Equal(t, state(1, 0, 0, 0), got)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Destroy: true, Sync: true}}))
	got, err = s.State(1)
	require.NoError(t, err)
	require.Nil(t, got)
	regions, err := s.Regions()
	require.NoError(t, err)
	require.Empty(t, regions)
}

func TestEntriesBySize(t *testing.T) {
	s, _ := newStore(t)
	es := entries(5, 6, 16)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: es}}))
	size := uint64(es[0].Size())
	for _, c := range []struct{ maxBytes, want uint64 }{
		{0, 10}, {1, 1}, {size, 1}, {2*size - 1, 1}, {2 * size, 2}, {9 * size, 9}, {10 * size, 10}, {math.MaxUint64, 10},
	} {
		got, err := s.Entries(1, 6, 16, c.maxBytes)
		require.NoError(t, err)
		require.Equal(t, es[:c.want], got, "%d bytes", c.maxBytes)
	}
	// What lies behind the answer is not looked at.
	got, err := s.Entries(1, 6, 100, size)
	require.NoError(t, err)
	require.Equal(t, es[:1], got)
}

// A destroyed group may leave its vote behind.
func TestDestroyLeavesTheStateThatItIsGiven(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 7), State: state(5, 3, 6, 6)}}))
	left := state(5, 3, 0, 0)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Destroy: true, State: left, Sync: true}}))
	got, err := s.State(1)
	require.NoError(t, err)
	require.Equal(t, left.String(), got.String())
	_, err = s.Entries(1, 6, 7, 100)
	require.Error(t, err)
}

func TestNonsenseIsRefusedWhole(t *testing.T) {
	s, _ := newStore(t)
	holed := append(entries(5, 6, 8), entries(5, 9, 10)...)
	for _, bad := range []Update{
		{RegionID: 2, Entries: holed},
		{RegionID: 2, Destroy: true, Entries: entries(5, 6, 7)},
		{RegionID: 2, Destroy: true, Reset: true},
		{RegionID: 2, Destroy: true, CompactTo: 7},
	} {
		err := s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 7), State: state(5, 0, 0, 6)}, bad})
		var refused *UpdateError
		require.ErrorAs(t, err, &refused)
		require.Contains(t, err.Error(), "region 2")
		requireMissing(t, s, 1, 6, 7, 6)
		require.NoError(t, s.Write(nil)) // nothing of the batch was left behind
		requireMissing(t, s, 1, 6, 7, 6)
	}
}

// PITFALLS S22: corruption is an error that names the place, never a shorter log.
func TestCorruption(t *testing.T) {
	valid := entries(5, 7, 8)[0]
	encoded, err := valid.Marshal()
	require.NoError(t, err)
	s, db := newStore(t)
	for name, c := range map[string]struct {
		value []byte
		want  string
	}{
		"cut off":          {encoded[:len(encoded)-1], "region 1, index 8: raft log is corrupt: entry cannot be decoded: unexpected EOF"},
		"garbage":          {bytes.Repeat([]byte{0xff}, 20), "region 1, index 8: raft log is corrupt: entry cannot be decoded"},
		"length":           {[]byte{0x22, 0xff, 0xff, 0xff, 0xff, 0x7f}, "region 1, index 8: raft log is corrupt: entry cannot be decoded"},
		"the entry before": {encoded, "region 1, index 8: raft log is corrupt: entry says that it is another one"},
		"empty":            {nil, "region 1, index 8: raft log is corrupt: entry says that it is another one"},
	} {
		require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 10)}}))
		put(t, db, keys.RaftLog(1, 8), c.value)
		got, err := s.Entries(1, 6, 10, 0)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, name)
		require.Nil(t, got)
		require.Contains(t, err.Error(), c.want, name)
		requireEntries(t, s, 1, 6, 8, entries(5, 6, 8))
	}
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 10)}}))
	put(t, db, append(keys.RaftLog(1, 8), 0), encoded) // a key that is none
	_, err = s.Entries(1, 6, 10, 0)
	require.ErrorContains(t, err, "malformed raft log key")

	put(t, db, keys.RaftState(3), []byte{0xff})
	_, err = s.State(3)
	require.ErrorContains(t, err, "region 3, index 0: raft log is corrupt: raft state cannot be decoded")
}

// PITFALLS S22: entries in the middle that are missing are an error too, also when later ones are there.
func TestHole(t *testing.T) {
	s, db := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 10)}}))
	b := db.NewBatch()
	b.Delete(engine.Local, keys.RaftLog(1, 8))
	require.NoError(t, b.Commit(true))
	_, err := s.Entries(1, 6, 10, 0)
	var gap *GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, uint64(8), gap.Missing)
	requireEntries(t, s, 1, 9, 10, entries(5, 9, 10))
}

// A raft log whose groups are many is listed without reading it.
func TestRegionsSkipsEntries(t *testing.T) {
	s, db := newStore(t)
	put(t, db, keys.StoreIdent(), []byte("ident"))
	put(t, db, keys.RegionState(9), []byte("region"))
	require.NoError(t, s.Write([]Update{
		{RegionID: 3, Entries: entries(5, 6, 1000), State: state(5, 0, 0, 999)},
		{RegionID: 4, Entries: entries(5, 6, 8)}, // no state: not a group yet
		{RegionID: 7, State: state(1, 0, 0, 0)},
	}))
	regions, err := s.Regions()
	require.NoError(t, err)
	require.Equal(t, []uint64{3, 7}, regions)
	put(t, db, append(keys.StoreIdent(), 0, 0, 0, 0, 0, 0, 0, 1), nil)
	_, err = s.Regions()
	require.ErrorContains(t, err, "malformed raft key")
}

// PITFALLS S22: what a sync has promised outlives a crash, and a failed sync is not tried again.
func TestSync(t *testing.T) {
	s, db := newStore(t)
	nothing := func(int) int { return 0 }
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 6, 7), State: state(5, 0, 0, 6)}}))
	require.NoError(t, s.Write([]Update{{RegionID: 2}, {RegionID: 3, Sync: true}})) // nothing to write, but to sync
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 7, 8)}, {RegionID: 2, State: state(1, 0, 0, 0), Sync: true}}))
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 8, 9)}}))
	db = db.Crash(nothing)
	s = New(db)
	requireEntries(t, s, 1, 6, 8, entries(5, 6, 8))
	requireMissing(t, s, 1, 8, 9, 8)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 8, 9)}}))
	require.NoError(t, s.Sync())
	db = db.Crash(nothing)
	s = New(db)
	requireEntries(t, s, 1, 6, 9, entries(5, 6, 9))

	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 9, 10)}}))
	db.FailSyncs(errors.New("EIO"))
	require.ErrorContains(t, s.Write([]Update{{RegionID: 1, Sync: true}}), "EIO")
	db.FailSyncs(nil)
	require.ErrorContains(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 10, 11)}}), "write the raft log")
	require.Error(t, s.Sync())
}

func TestLargeBatchesAreNotKept(t *testing.T) {
	s, _ := newStore(t)
	large := entries(5, 6, 7)
	large[0].Data = []byte(strings.Repeat("x", maxKeptBatch+1))
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: large}}))
	require.Zero(t, cap(s.value))
	require.Zero(t, s.batch.Size())
	requireEntries(t, s, 1, 6, 7, large)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(5, 7, 8)}}))
	requireEntries(t, s, 1, 7, 8, entries(5, 7, 8))
}

// Readers see whole batches while Write goes on.
func TestReadsBesideWrites(t *testing.T) {
	s, _ := newStore(t)
	require.NoError(t, s.Write([]Update{{RegionID: 1, Entries: entries(1, 6, 16)}}))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for term := uint64(2); err == nil; term++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
				err = s.Write([]Update{{RegionID: 1, Entries: entries(term%256, 6, 16), OldLast: 15}})
			}
		}
		done <- err
	}()
	for range 200 {
		got, err := s.Entries(1, 6, 16, 0)
		require.NoError(t, err)
		require.Equal(t, entries(got[0].Term, 6, 16), got)
	}
	close(stop)
	require.NoError(t, <-done)
}

// discard is an engine whose batches cost nothing: what remains is this package's own work.
type discard struct{ engine.Engine }

type discardBatch struct {
	engine.Batch
	size int
}

func (discard) NewBatch() engine.Batch                        { return new(discardBatch) }
func (b *discardBatch) Put(_ engine.CF, key, value []byte)    { b.size += len(key) + len(value) }
func (b *discardBatch) Size() int                             { return b.size }
func (b *discardBatch) Commit(bool) error                     { return nil }
func (b *discardBatch) Reset()                                { b.size = 0 }
func (b *discardBatch) Close() error                          { return nil }
func (b *discardBatch) Delete(engine.CF, []byte)              {}
func (b *discardBatch) DeleteRange(engine.CF, []byte, []byte) {}

func round(regions, size int) []Update {
	updates := make([]Update, regions)
	for i := range updates {
		updates[i] = Update{
			RegionID: uint64(i + 1),
			Entries:  []eraftpb.Entry{{Term: 5, Index: 6, Data: make([]byte, size)}},
			State:    state(5, 1, 6, 6),
			Sync:     true,
		}
	}
	return updates
}

func TestWriteDoesNotAllocate(t *testing.T) {
	s := New(discard{})
	updates := round(48, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := s.Write(updates); err != nil {
			t.Fatal(err)
		}
	}))
}

// A round of 48 regions with an entry of 1 KiB each.
func BenchmarkWrite(b *testing.B) {
	pebble, err := pebbledb.Open(pebbledb.Options{Dir: b.TempDir()})
	require.NoError(b, err)
	defer func() { require.NoError(b, pebble.Close()) }()
	for name, e := range map[string]engine.Engine{"discard": discard{}, "memdb": memdb.New(), "pebbledb": pebble} {
		b.Run(name, func(b *testing.B) {
			s := New(e)
			updates := round(48, 1024)
			b.ReportAllocs()
			b.SetBytes(48 * 1024)
			for b.Loop() {
				for i := range updates {
					u := &updates[i]
					u.Entries[0].Index++
					u.State.LastIndex++
					u.CompactTo = u.State.LastIndex - u.State.LastIndex%100 // logs do not grow without bound
				}
				if err := s.Write(updates); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, s.Close())
		})
	}
}
