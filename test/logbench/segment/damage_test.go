package segment

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// entry is a Write of one entry of a region.
func entry(index uint64, sync bool) []logstore.Update {
	return []logstore.Update{{RegionID: 1, Entries: []eraftpb.Entry{{Term: 5, Index: index, Data: make([]byte, 1000)}}, Sync: sync}}
}

// damaged returns a copy of the disk with one byte of the segment changed, and how long the file is.
func damaged(t *testing.T, fs *vfs.MemFS, name string, at int) *vfs.MemFS {
	copied := vfs.NewMem()
	_, err := vfs.Clone(fs, copied, "/log", "/log")
	require.NoError(t, err)
	f, err := copied.OpenReadWrite("/log/"+name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], int64(at))
	require.True(t, err == nil || err == io.EOF)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], int64(at))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return copied
}

// S22: a flipped byte in what was synced is refused, wherever it lies; in what was not, it takes what comes after.
func TestDamage(t *testing.T) {
	fs := vfs.NewMem()
	l, err := Open(small(fs))
	require.NoError(t, err)
	for i := range uint64(60) { // two segments
		require.NoError(t, l.Write(entry(1+i, true)))
	}
	synced := l.files.live[1].end
	require.NoError(t, l.Write(entry(61, false)))
	before := vfs.NewMem() // as kill -9 leaves it
	_, err = vfs.Clone(fs, before, "/log", "/log")
	require.NoError(t, err)
	first, second := l.files.live[0], l.files.live[1]

	for _, seg := range []*segment{first, second} {
		end := seg.end
		if seg == second {
			end = synced
		}
		for i := range 25 {
			_, err := Open(small(damaged(t, before, seg.name, int(end-1)*i/24)))
			require.ErrorContains(t, err, "damaged", "%s, byte %d of %d", seg.name, int(end-1)*i/24, end)
		}
	}
	torn, err := Open(small(damaged(t, before, second.name, int(synced)+500)))
	require.NoError(t, err)
	got, err := torn.Entries(1, 1, 61, 0)
	require.NoError(t, err)
	require.Len(t, got, 60)
	_, err = torn.Entries(1, 61, 62, 0)
	var gap *logstore.GapError
	require.ErrorAs(t, err, &gap)
	require.NoError(t, torn.Write(entry(61, true)))
	require.NoError(t, torn.Close())

	// What is damaged after it was indexed shows when it is read.
	var b [1]byte
	_, err = first.file.WriteAt(b[:], int64(l.index.groups[1].entries[3].at)+1)
	require.NoError(t, err)
	_, err = l.Entries(1, 1, 10, 0)
	var corrupt *logstore.CorruptError
	require.ErrorAs(t, err, &corrupt)
	require.EqualValues(t, 4, corrupt.Index)
	require.NoError(t, l.Close())
}

// Nothing of a list that makes no sense is written; a batch that is larger than a segment is.
func TestOddWrites(t *testing.T) {
	fs := vfs.NewMem()
	l, err := Open(small(fs))
	require.NoError(t, err)
	require.NoError(t, l.Write(entry(1, true)))
	var refused *logstore.UpdateError
	require.ErrorAs(t, l.Write(append(entry(2, true), logstore.Update{RegionID: 2, Destroy: true, CompactTo: 1})), &refused)
	_, err = l.Entries(1, 2, 3, 0)
	require.Error(t, err)

	large := entry(2, true)
	large[0].Entries[0].Data = make([]byte, 100_000)
	for range 2 { // before and after it was read back
		require.NoError(t, l.Write(large))
		require.NoError(t, l.Write(entry(3, true)))
		require.NoError(t, l.Close())
		l, err = Open(small(fs))
		require.NoError(t, err)
		got, err := l.Entries(1, 1, 4, 0)
		require.NoError(t, err)
		require.Len(t, got[1].Data, 100_000)
	}
	require.NoError(t, l.Write([]logstore.Update{{RegionID: 1, Destroy: true, Sync: true}}))
	require.Zero(t, l.Stats().LiveBytes)
	require.NoError(t, l.Close())
}

// Readers see whole batches while Write and its garbage collection go on.
func TestReadsBesideWrites(t *testing.T) {
	l, err := Open(small(vfs.NewMem()))
	require.NoError(t, err)
	cold := entry(1, true)
	cold[0].RegionID = 2
	require.NoError(t, l.Write(cold))
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := uint64(1); err == nil; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
				u := entry(i, i%10 == 0)
				u[0].CompactTo = i - min(i, 5)
				err = l.Write(u)
			}
		}
		done <- err
	}()
	require.Eventually(t, func() bool {
		got, err := l.Entries(2, 1, 2, 0)
		require.NoError(t, err)
		require.Len(t, got[0].Data, 1000)
		return l.Stats().MovedBytes > 3000 && l.Stats().Recycled > 10
	}, waitLimit, waitTick)
	close(stop)
	require.NoError(t, <-done)
	require.NoError(t, l.Close())
}

// What was found when a log was opened is durable, though the process that wrote it was killed before it synced.
func TestWhatWasFoundIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	killed, err := Open(small(fs))
	require.NoError(t, err)
	require.NoError(t, killed.Write(entry(1, true)))
	require.NoError(t, killed.Write(entry(2, false)))
	found, err := Open(small(fs))
	require.NoError(t, err)
	_, err = found.Entries(1, 1, 3, 0)
	require.NoError(t, err)
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, killed.Close())
	require.NoError(t, found.Close())
	again, err := Open(small(after))
	require.NoError(t, err)
	_, err = again.Entries(1, 1, 3, 0)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// A segment without life is not written over while the newest durable batch still names it: the batch that took its last life is such
// a one, and what comes next may be torn.
func TestSegmentsAreNotWrittenOverTooEarly(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, err := Open(small(fs))
	require.NoError(t, err)
	i := uint64(0)
	for len(l.files.live) < 2 || !l.files.full(1300) {
		i++
		require.NoError(t, l.Write(entry(i, true)))
	}
	require.Len(t, l.files.live, 2)
	require.NoError(t, l.Write([]logstore.Update{{RegionID: 1, CompactTo: i + 1, State: state(i), Sync: true}}))
	require.Len(t, l.files.live, 1)
	torn := entry(i+1, false)
	torn[0].Entries[0].Data = make([]byte, 20_000)
	require.NoError(t, l.Write(torn))
	for seed := range uint64(20) {
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 1))})
		again, err := Open(small(after))
		require.NoError(t, err)
		got, err := again.State(1)
		require.NoError(t, err)
		require.Equal(t, i, got.GetLastIndex())
		require.NoError(t, again.Close())
	}
	require.NoError(t, l.Close())
}

func state(last uint64) *raft_serverpb.RaftLocalState {
	return &raft_serverpb.RaftLocalState{LastIndex: last}
}
