package pebbledb_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/enginetest"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// small makes logs and tables change often.
func small(fs vfs.FS) pebbledb.Options {
	return pebbledb.Options{Dir: "/db", FS: fs, MemTableBytes: 32 << 10}
}

// crash is how a disk looks after the power went: what was synced, and some blocks of the rest.
func crash(fs *vfs.MemFS, rng *rand.Rand) *vfs.MemFS {
	kept := []int{0, 0, 20, 50, 90, 100}[rng.IntN(6)]
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: rng})
}

// S22: power cuts between operations.
func TestCrash(t *testing.T) {
	disks := map[engine.Engine]*vfs.MemFS{}
	open := func(fs *vfs.MemFS) (engine.Engine, error) {
		db, err := pebbledb.Open(small(fs))
		if err == nil {
			disks[db] = fs
		}
		return db, err
	}
	enginetest.RunCrash(t, enginetest.CrashHarness{
		Open: func() (engine.Engine, error) { return open(vfs.NewCrashableMem()) },
		Crash: func(e engine.Engine, rng *rand.Rand) (engine.Engine, error) {
			after := crash(disks[e], rng)
			if err := e.Close(); err != nil { // ends the old engine's goroutines; its disk is gone
				return nil, err
			}
			delete(disks, e)
			return open(after)
		},
	})
}

// S22: power cuts in the middle of operations: at a random call of the file system, whichever goroutine makes it, so
// also within a batch's write, a flush, a compaction, a change of logs, or an ingest.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("Seed%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			fs := vfs.NewCrashableMem()
			w := enginetest.NewWorkload(rng)
			for range 3 {
				cut := &powerCut{fs: fs, workload: w, in: 1 + rng.IntN(400), rng: rand.New(rand.NewPCG(seed, 2))}
				db, err := pebbledb.Open(small(errorfs.Wrap(fs, cut)))
				require.NoError(t, err)
				for range 60 {
					require.NoError(t, w.Step(db))
				}
				require.NoError(t, db.Close())
				if cut.after == nil { // it lived to see its end
					cut.after, cut.durable = crash(fs, rng), w.Durable()
				}
				fs = cut.after
				db, err = pebbledb.Open(small(fs))
				require.NoError(t, err)
				w.Verify(t, db, cut.durable)
				require.NoError(t, db.Close())
			}
		})
	}
}

// powerCut takes the picture of the disk at the call that it was told.
type powerCut struct {
	fs       *vfs.MemFS
	workload *enginetest.Workload

	mu      sync.Mutex
	rng     *rand.Rand
	in      int
	after   *vfs.MemFS
	durable int
}

func (c *powerCut) MaybeError(op errorfs.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		if c.in--; c.in == 0 {
			c.durable = c.workload.Durable() // before the picture is taken: what was promised by now must be in it
			c.after = crash(c.fs, c.rng)
		}
	}
	return nil
}

func (c *powerCut) String() string { return "power cut" }

// S22: a power cut while a new engine is made, or an old one recovers, leaves something that opens. (Without a sync of the
// directory between the two, the manifest's marker could be found without the manifest.)
func TestCrashWhileOpening(t *testing.T) {
	for at := 1; at < 120; at++ {
		rng := rand.New(rand.NewPCG(uint64(at), 3))
		fs := vfs.NewCrashableMem()
		w := enginetest.NewWorkload(rng)
		if at%2 == 0 { // an old one
			db, err := pebbledb.Open(small(fs))
			require.NoError(t, err)
			for range 30 {
				require.NoError(t, w.Step(db))
			}
			crashed := crash(fs, rng)
			require.NoError(t, db.Close())
			fs = crashed
		}
		cut := &powerCut{fs: fs, workload: w, in: (at + 1) / 2, rng: rng}
		db, err := pebbledb.Open(small(errorfs.Wrap(fs, cut)))
		require.NoError(t, err)
		require.NoError(t, db.Close())
		if cut.after == nil {
			continue
		}
		db, err = pebbledb.Open(small(cut.after))
		require.NoError(t, err, "at %d", at)
		w.Verify(t, db, w.Durable())
		require.NoError(t, db.Close())
	}
}

// Sync covers what was committed before it, and an empty synced batch does too (S22).
func TestSyncCoversWhatCameBefore(t *testing.T) {
	for name, sync := range map[string]func(engine.Engine) error{
		"Sync": func(e engine.Engine) error { return e.Sync() },
		"EmptyBatch": func(e engine.Engine) error {
			b := e.NewBatch()
			defer func() { _ = b.Close() }()
			return b.Commit(true)
		},
		"Ingest": func(e engine.Engine) error {
			return e.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Lock: {}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: fs})
			require.NoError(t, err)
			require.NoError(t, put(db, false, "before"))
			lost := fs.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, sync(db))
			kept := fs.CrashClone(vfs.CrashCloneCfg{})
			require.NoError(t, db.Close())
			for want, fs := range map[bool]*vfs.MemFS{false: lost, true: kept} {
				db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: fs})
				require.NoError(t, err)
				require.Equal(t, want, has(t, db, "before"))
				require.NoError(t, db.Close())
			}
		})
	}
}

// What an ingest left behind when it was cut short is cleared away.
func TestLeftoversOfIngestsAreRemoved(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("/db/ingest", 0o755))
	f, err := fs.Create("/db/ingest/7.sst", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	_, err = fs.Stat("/db/ingest/7.sst")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, db.Close())
}

func put(e engine.Engine, sync bool, keys ...string) error {
	b := e.NewBatch()
	for _, key := range keys {
		b.Put(engine.Default, []byte(key), []byte("value of "+key))
	}
	err := b.Commit(sync)
	if closeErr := b.Close(); err == nil {
		err = closeErr
	}
	return err
}

func has(t require.TestingT, e engine.Engine, key string) bool {
	s := e.NewSnapshot()
	v, err := s.Get(engine.Default, []byte(key))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return v != nil
}
