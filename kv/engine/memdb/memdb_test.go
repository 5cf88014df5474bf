package memdb_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/enginetest"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
)

func open() (engine.Engine, error) { return memdb.New(), nil }

var harness = enginetest.Harness{
	Open:   open,
	Reopen: func(e engine.Engine) (engine.Engine, error) { return e.(*memdb.DB).Reopen(), nil },
	OpenCheckpoint: func(e engine.Engine, dir string) (engine.Engine, error) {
		return e.(*memdb.DB).OpenCheckpoint(dir)
	},
}

func TestConformance(t *testing.T) { enginetest.Run(t, harness) }

func TestModel(t *testing.T) { enginetest.RunModel(t, harness) }

// S22: a crash keeps a prefix of what was not synced.
func TestCrash(t *testing.T) {
	enginetest.RunCrash(t, enginetest.CrashHarness{
		Open: open,
		Crash: func(e engine.Engine, rng *rand.Rand) (engine.Engine, error) {
			return e.(*memdb.DB).Crash(func(n int) int { return rng.IntN(n + 1) }), nil
		},
	})
}

func commit(t *testing.T, e engine.Engine, sync bool, key string) error {
	b := e.NewBatch()
	b.Put(engine.Default, []byte(key), []byte("v"))
	b.Put(engine.Lock, []byte(key), []byte("v"))
	err := b.Commit(sync)
	require.NoError(t, b.Close())
	return err
}

func has(t *testing.T, e engine.Engine, key string) bool {
	s := e.NewSnapshot()
	v, err := s.Get(engine.Default, []byte(key))
	require.NoError(t, err)
	w, err := s.Get(engine.Lock, []byte(key))
	require.NoError(t, err)
	require.Equal(t, v == nil, w == nil, "a batch is whole")
	require.NoError(t, s.Close())
	return v != nil
}

// S22: the caller chooses the prefix, and only of the unsynced batches.
func TestCrashKeepsWhatItIsTold(t *testing.T) {
	for keep := range 4 {
		db := memdb.New()
		require.NoError(t, commit(t, db, false, "a"))
		require.NoError(t, commit(t, db, true, "b"))
		for _, key := range []string{"c", "d", "e"} {
			require.NoError(t, commit(t, db, false, key))
		}
		after := db.Crash(func(n int) int {
			require.Equal(t, 3, n)
			return keep
		})
		for i, key := range []string{"a", "b", "c", "d", "e"} {
			require.Equal(t, i < 2+keep, has(t, after, key), "%s of %d", key, keep)
		}
		var poisoned *engine.PoisonedError
		require.ErrorAs(t, commit(t, db, false, "f"), &poisoned)
		require.ErrorIs(t, poisoned, memdb.ErrCrashed)
		require.NoError(t, commit(t, after, true, "f"))
	}
}

// An engine that nobody syncs does not keep its history for ever, and still crashes to a prefix.
func TestUnsyncedBatchesAreBounded(t *testing.T) {
	db := memdb.New()
	const batches = 20_000
	for i := range batches {
		require.NoError(t, commit(t, db, false, fmt.Sprintf("%05d", i)))
	}
	bound := 0
	after := db.Crash(func(n int) int { bound = n; return 0 })
	require.Less(t, bound, batches)
	require.True(t, has(t, after, fmt.Sprintf("%05d", batches-bound-1)))
	require.False(t, has(t, after, fmt.Sprintf("%05d", batches-bound)))
}

// S22: after a failed write or sync nothing is taken any more, and nothing is retried.
func TestFailuresPoison(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		fail     func(*memdb.DB)
		survives bool // may the batch that failed be there after a crash?
	}{
		"write": {func(db *memdb.DB) { db.FailWrites(boom) }, false},
		"sync":  {func(db *memdb.DB) { db.FailSyncs(boom) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			db := memdb.New()
			require.NoError(t, commit(t, db, true, "before"))
			c.fail(db)
			err := commit(t, db, true, "failed")
			require.ErrorIs(t, err, boom)
			db.FailWrites(nil)
			db.FailSyncs(nil)
			for what, err := range map[string]error{
				"commit":     commit(t, db, false, "later"),
				"sync":       db.Sync(),
				"ingest":     db.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Lock: {}}}),
				"checkpoint": db.Checkpoint("c"),
			} {
				var poisoned *engine.PoisonedError
				require.ErrorAs(t, err, &poisoned, what)
				require.ErrorIs(t, err, boom, what)
			}
			after := db.Crash(func(n int) int { return n })
			require.True(t, has(t, after, "before"))
			require.Equal(t, c.survives, has(t, after, "failed"))
			require.False(t, has(t, after, "later"))
		})
	}
}

func BenchmarkEngine(b *testing.B) { enginetest.RunBenchmarks(b, open) }
