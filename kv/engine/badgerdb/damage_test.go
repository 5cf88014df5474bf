package badgerdb_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/badgerdb"
)

func put(e engine.Engine, key string, value []byte) error {
	b := e.NewBatch()
	b.Put(engine.Default, []byte(key), value)
	return b.Commit(true)
}

func count(t *testing.T, e engine.Engine) (n int) {
	s := e.NewSnapshot()
	it, err := s.NewIterator(engine.Default, engine.IterOptions{})
	require.NoError(t, err)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		n++
	}
	require.NoError(t, it.Close())
	require.NoError(t, s.Close())
	return n
}

// killed returns a copy of the directory as kill -9 would leave it.
func killed(t *testing.T, dir string) string {
	into := filepath.Join(t.TempDir(), "killed")
	require.NoError(t, os.CopyFS(into, os.DirFS(dir)))
	require.NoError(t, os.RemoveAll(filepath.Join(into, "LOCK")))
	return into
}

// S22: a flipped byte in the log loses all that follows, which badger takes for the log's end. The stamp tells.
func TestFlippedByteInTheLogIsRefused(t *testing.T) {
	const writes = 200
	opts := durable(t.TempDir())
	opts.NoCompaction = true
	db, err := badgerdb.Open(opts)
	require.NoError(t, err)
	for i := range writes {
		require.NoError(t, put(db, fmt.Sprintf("k%04d", i), bytes.Repeat([]byte("v"), 100)))
	}
	copied := killed(t, opts.Dir)
	require.NoError(t, db.Close())

	sound := opts
	sound.Dir = killed(t, copied)
	db, err = badgerdb.Open(sound)
	require.NoError(t, err, "a killed engine is sound")
	require.Equal(t, writes, count(t, db))
	require.NoError(t, db.Close())

	log, err := os.ReadFile(filepath.Join(copied, "000000.vlog"))
	require.NoError(t, err)
	end := bytes.LastIndex(log, []byte("k0199"))
	for i := range 6 {
		damaged := opts
		damaged.Dir = killed(t, copied)
		at := end * (i + 1) / 6
		log[at] ^= 0x10
		require.NoError(t, os.WriteFile(filepath.Join(damaged.Dir, "000000.vlog"), log, 0o600))
		log[at] ^= 0x10
		for range 2 { // and again: the refusal itself must not make it look sound
			_, err = badgerdb.Open(damaged)
			var lost *badgerdb.LostWritesError
			require.ErrorAs(t, err, &lost, "byte %d of %d", at, end)
			require.Equal(t, uint64(writes), lost.Acknowledged)
			require.Less(t, lost.Found, uint64(writes))
		}
	}
}

// A note that makes no sense is as good as none.
func TestNotesMayBeMissing(t *testing.T) {
	opts := durable(t.TempDir())
	db, err := badgerdb.Open(opts)
	require.NoError(t, err)
	require.NoError(t, put(db, "k", nil))
	require.NoError(t, db.Close())
	for name, note := range map[string][]byte{"empty": {}, "short": {0, 0, 0}, "torn": bytes.Repeat([]byte{9}, 12)} {
		require.NoError(t, os.WriteFile(filepath.Join(opts.Dir, "ACKNOWLEDGED"), note, 0o600))
		db, err := badgerdb.Open(opts)
		require.NoError(t, err, name)
		require.Equal(t, 1, count(t, db))
		require.NoError(t, db.Close())
	}
}

// A snapshot finds its version of a key in a table that also has so many newer ones that they fill blocks of their own.
func TestOldVersionBehindManyNewOnes(t *testing.T) {
	opts := durable(t.TempDir())
	opts.UnsafeNoSync, opts.NoCompaction, opts.MemTableBytes = true, true, 1<<20
	db, err := badgerdb.Open(opts)
	require.NoError(t, err)
	require.NoError(t, put(db, "k", []byte("old")))
	old := db.NewSnapshot()
	for range 300 {
		require.NoError(t, put(db, "k", bytes.Repeat([]byte("n"), 1000)))
	}
	for i := range 3000 { // so that the table is written
		require.NoError(t, put(db, fmt.Sprintf("z%04d", i), bytes.Repeat([]byte("z"), 1000)))
	}
	v, err := old.Get(engine.Default, []byte("k"))
	require.NoError(t, err)
	require.Equal(t, "old", string(v))
	require.NoError(t, old.Close())
	require.NoError(t, db.Close())
}

// Deleted ranges, overwritten keys, memtables that are flushed and tables that are compacted, under a snapshot that was taken
// before: the snapshot shows what it did, and a new one what was written last.
func TestSnapshotsOutliveCompaction(t *testing.T) {
	opts := durable(t.TempDir())
	opts.UnsafeNoSync, opts.MemTableBytes = true, 1<<20
	db, err := badgerdb.Open(opts)
	require.NoError(t, err)
	const keys = 500
	value := func(round int) []byte { return bytes.Repeat([]byte{byte('0' + round)}, 1000) }
	write := func(round int) {
		b := db.NewBatch()
		b.DeleteRange(engine.Default, []byte("k"), []byte("l"))
		for i := range keys {
			b.Put(engine.Default, fmt.Appendf(nil, "k%04d", i*(round+1)), value(round))
		}
		require.NoError(t, b.Commit(true))
	}
	write(0)
	old := db.NewSnapshot()
	for round := 1; round < 20; round++ {
		write(round)
	}
	tables := func() int {
		found, err := filepath.Glob(filepath.Join(opts.Dir, "*.sst"))
		require.NoError(t, err)
		return len(found)
	}
	require.Positive(t, tables(), "memtables were flushed")
	require.Equal(t, keys, count(t, db))
	for i := range keys {
		v, err := old.Get(engine.Default, fmt.Appendf(nil, "k%04d", i))
		require.NoError(t, err)
		require.Equal(t, value(0), v, i)
	}
	it, err := old.NewIterator(engine.Default, engine.IterOptions{Lower: []byte("k0100"), Upper: []byte("k0200")})
	require.NoError(t, err)
	n := 0
	for ok := it.SeekLT(nil); ok; ok = it.Prev() {
		n++
		require.Equal(t, fmt.Sprintf("k%04d", 200-n), string(it.Key()))
		require.Equal(t, value(0), it.Value())
	}
	require.Equal(t, 100, n)
	require.NoError(t, it.Close())
	require.NoError(t, old.Close())
	require.NoError(t, db.Close())
	db, err = badgerdb.Open(opts)
	require.NoError(t, err)
	require.Equal(t, keys, count(t, db))
	require.NoError(t, db.Close())
}

func TestClosedWithOpenSnapshots(t *testing.T) {
	db, err := badgerdb.Open(small(t.TempDir()))
	require.NoError(t, err)
	_ = db.NewSnapshot()
	require.ErrorContains(t, db.Close(), "1 open snapshots")
	_, err = db.NewSnapshot().Get(engine.Default, nil)
	require.ErrorIs(t, err, engine.ErrClosed)
}

// A pair that is too large is refused, the rest goes on.
func TestLimits(t *testing.T) {
	opts := small(t.TempDir())
	db, err := badgerdb.Open(opts)
	require.NoError(t, err)
	var limit *badgerdb.LimitError
	require.ErrorAs(t, put(db, "k", make([]byte, opts.MaxPairBytes())), &limit)
	require.Equal(t, "pair", limit.What)
	require.NoError(t, put(db, "k", make([]byte, opts.MaxPairBytes()-1)))
	require.NoError(t, db.Close())
	db, err = badgerdb.Open(opts)
	require.NoError(t, err)
	require.Equal(t, 1, count(t, db))
	require.NoError(t, db.Close())
}
