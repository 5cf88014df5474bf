package pebbledb_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

const (
	waitLimit = 20 * time.Second
	waitTick  = time.Millisecond
)

var errDisk = errors.New("the disk is on fire")

// fault fails matching operations once it is switched on.
type fault struct {
	on    atomic.Bool
	match func(errorfs.Op) bool
}

func (f *fault) MaybeError(op errorfs.Op) error {
	if f.on.Load() && f.match(op) {
		return errDisk
	}
	return nil
}

func (f *fault) String() string { return "fault" }

func on(suffix string, kinds ...errorfs.OpKind) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool {
		for _, kind := range kinds {
			if op.Kind == kind && (strings.HasSuffix(op.Path, suffix) || strings.Contains(op.Path, suffix+"-")) {
				return true
			}
		}
		return false
	}
}

// S22: wherever the disk fails, the engine is poisoned: the writer is told, so is OnFatal, once; all later writes
// fail; nobody hangs, however many write at the same time; the process lives; nothing that was acknowledged is lost, and
// nothing that failed is half there.
func TestFailuresPoison(t *testing.T) {
	syncs := []errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}
	for name, match := range map[string]func(errorfs.Op) bool{
		"LogSync":       on(".log", syncs...),
		"LogWrite":      on(".log", errorfs.OpFileWrite),
		"LogCreate":     on(".log", errorfs.OpCreate, errorfs.OpReuseForWrite),
		"ManifestSync":  on("MANIFEST", syncs...),
		"ManifestWrite": on("MANIFEST", errorfs.OpFileWrite),
		"TableCreate":   on(".sst", errorfs.OpCreate),
		"TableWrite":    on(".sst", errorfs.OpFileWrite),
		"TableSync":     on(".sst", syncs...),
		"DirectorySync": on("/db", syncs...),
		"NoteWrite":     on("SYNCED", errorfs.OpFileWriteAt),
		"EveryWrite":    func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite },
	} {
		t.Run(name, func(t *testing.T) { testFailurePoisons(t, &fault{match: match}) })
	}
}

func testFailurePoisons(t *testing.T, f *fault) {
	fs := vfs.NewCrashableMem()
	var fatal atomic.Int32
	opts := small(errorfs.Wrap(fs, f))
	opts.OnFatal = func(err error) {
		fatal.Add(1)
		if !errors.Is(err, errDisk) {
			t.Errorf("OnFatal: %v", err)
		}
	}
	db, err := pebbledb.Open(opts)
	require.NoError(t, err)

	var tried sync.Map // key → acknowledged as durable
	write := func(w, i int, sync bool) error {
		key := fmt.Sprintf("%d-%d", w, i)
		err := put(db, sync, key, key+strings.Repeat("x", 500))
		tried.Store(key, err == nil && sync)
		return err
	}
	for i := range 20 {
		require.NoError(t, write(99, i, true))
	}
	f.on.Store(true)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := write(w, i, (w+i)%2 == 0); err != nil {
					var poisoned *engine.PoisonedError
					if !errors.As(err, &poisoned) || !errors.Is(err, errDisk) {
						t.Errorf("commit: %v", err)
					}
					return
				}
			}
		})
	}
	wg.Wait() // every writer has met the failure
	f.on.Store(false)
	require.EqualValues(t, 1, fatal.Load())
	for what, err := range map[string]error{
		"commit":     write(99, 1000, false),
		"synced":     write(99, 1001, true),
		"sync":       db.Sync(),
		"checkpoint": db.Checkpoint("/checkpoint"),
		"ingest":     db.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Lock: {}}}),
	} {
		require.ErrorIs(t, err, errDisk, what)
	}
	require.NotPanics(t, func() { // whatever reads answer, they answer
		s := db.NewSnapshot()
		_, _ = s.Get(engine.Default, []byte("99-1"))
		require.NoError(t, s.Close())
	})
	require.ErrorIs(t, db.Close(), errDisk)
	require.EqualValues(t, 1, fatal.Load())

	for state, fs := range map[string]vfs.FS{"as written": fs, "power cut": fs.CrashClone(vfs.CrashCloneCfg{})} {
		db, err := pebbledb.Open(small(fs))
		require.NoError(t, err, state)
		tried.Range(func(k, acked any) bool {
			key := k.(string)
			found := has(t, db, key)
			require.True(t, found || !acked.(bool), "%s: %s was acknowledged", state, key)
			require.Equal(t, found, has(t, db, key+strings.Repeat("x", 500)), "%s: %s is whole", state, key)
			return true
		})
		require.False(t, has(t, db, "99-1000"), "written after the failure")
		require.NoError(t, db.Close())
	}
}

// A disk that fails while the engine is opened makes Open fail, and nothing else.
func TestFailuresWhileOpening(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	for i := range 30 {
		require.NoError(t, put(db, true, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 2000))))
	}
	require.NoError(t, db.Close())
	failures := 0
	for at := range int32(60) {
		copied := vfs.NewMem()
		_, err := vfs.Clone(fs, copied, "/db", "/db")
		require.NoError(t, err)
		var n atomic.Int32
		broken := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose && n.Add(1) > at {
				return errDisk
			}
			return nil
		})
		db, err := pebbledb.Open(small(errorfs.Wrap(copied, broken)))
		if err == nil { // the failing call came later
			_ = db.Close()
		} else {
			failures++
			require.ErrorIs(t, err, errDisk)
		}
		db, err = pebbledb.Open(small(copied))
		require.NoError(t, err, "after a failure at call %d", at)
		for i := range 30 {
			require.True(t, has(t, db, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 2000))))
		}
		require.NoError(t, db.Close())
	}
	require.Positive(t, failures)
}

// Failures that concern only the one who asked leave the engine in use.
func TestFailuresThatDoNotPoison(t *testing.T) {
	fs := vfs.NewMem()
	f := &fault{match: func(op errorfs.Op) bool {
		return op.Kind == errorfs.OpCreate && !strings.HasPrefix(op.Path, "/db/0")
	}}
	opts := pebbledb.Options{Dir: "/db", FS: errorfs.Wrap(fs, f), OnFatal: func(err error) { t.Errorf("poisoned: %v", err) }}
	db, err := pebbledb.Open(opts)
	require.NoError(t, err)
	require.NoError(t, put(db, true, "k"))
	f.on.Store(true)
	require.ErrorIs(t, db.Checkpoint("/checkpoint"), errDisk)
	require.ErrorIs(t, db.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Default: {}}}), errDisk)
	require.True(t, has(t, db, "k"))
	f.on.Store(false)
	require.NoError(t, put(db, true, "later"))
	require.NoError(t, db.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Default: {}}}))
	require.False(t, has(t, db, "k"))
	require.NoError(t, db.Close())
}

// A disk that fills up while an ingestion is staged fails that, at whatever step, and nothing else; what it had written is removed.
func TestDiskFullWhileStaging(t *testing.T) {
	fs := vfs.NewMem()
	f := &fault{match: func(op errorfs.Op) bool {
		return op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpRemove && strings.HasPrefix(op.Path, "/db/ingest")
	}}
	db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: errorfs.Wrap(fs, f), OnFatal: func(err error) { t.Errorf("poisoned: %v", err) }})
	require.NoError(t, err)
	require.NoError(t, put(db, true, "k"))
	value := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(value) // must not become small when it is packed
	stage := func(full int) error {
		s, err := db.Stage(map[engine.CF]engine.Range{engine.Default: {}})
		if err != nil {
			return err
		}
		defer s.Discard()
		for i := range 40 {
			f.on.Store(i >= full)
			if err := s.Put(engine.Default, fmt.Appendf(nil, "%03d", i), value); err != nil {
				return err
			}
		}
		f.on.Store(full < 50)
		if err := s.Finish(); err != nil {
			return err
		}
		return s.Commit(nil)
	}
	parts := packedTables(t, value)
	stageTables := func(full int) error {
		s, err := db.Stage(map[engine.CF]engine.Range{engine.Default: {}})
		if err != nil {
			return err
		}
		defer s.Discard()
		for i, part := range parts {
			f.on.Store(i >= full)
			if err := s.(engine.TableStaged).PutTable(engine.Default, 0, part, i == len(parts)-1); err != nil {
				return err
			}
		}
		f.on.Store(full < 50)
		return s.Finish()
	}
	for _, stage := range []func(int) error{stage, stageTables} {
		for _, full := range []int{0, 1, 20, 40} {
			require.ErrorIs(t, stage(full), errDisk)
			f.on.Store(false)
			left, err := fs.List("/db/ingest")
			require.NoError(t, err)
			require.Empty(t, left)
			require.True(t, has(t, db, "k"))
		}
	}
	require.NoError(t, stageTables(100))
	require.NoError(t, stage(100))
	require.False(t, has(t, db, "k"))
	require.True(t, has(t, db, "039"))
	require.NoError(t, db.Close())
}

// packedTables are the parts of one table, forty and some, of another engine.
func packedTables(t *testing.T, value []byte) (parts [][]byte) {
	db, err := pebbledb.Open(pebbledb.Options{Dir: "/other", FS: vfs.NewMem()})
	require.NoError(t, err)
	for i := range 40 {
		b := db.NewBatch()
		b.Put(engine.Default, fmt.Appendf(nil, "%03d", i), value)
		require.NoError(t, b.Commit(false))
		require.NoError(t, b.Close())
	}
	snap := db.NewSnapshot()
	var table bytes.Buffer
	_, err = snap.(engine.Packer).Pack(engine.Default, engine.Range{}, pebbledb.Lanes(func(_ int, part []byte, _ bool) error {
		table.Write(part)
		return nil
	}))
	require.NoError(t, err)
	parts = slices.Collect(slices.Chunk(table.Bytes(), len(value)))
	require.Greater(t, len(parts), 40)
	require.NoError(t, snap.Close())
	require.NoError(t, db.Close())
	return parts
}

func TestMetrics(t *testing.T) {
	db, err := pebbledb.Open(small(vfs.NewMem()))
	require.NoError(t, err)
	before := db.Metrics()
	for i := range 200 {
		require.NoError(t, put(db, true, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 2000))))
	}
	require.Eventually(t, func() bool { return db.Metrics().Flushes > before.Flushes }, waitLimit, waitTick)
	require.True(t, has(t, db, "0-"+strings.Repeat("k", 2000)))
	m := db.Metrics()
	require.Greater(t, m.LogBytes-before.LogBytes, uint64(400_000))
	require.GreaterOrEqual(t, m.LogSyncs-before.LogSyncs, uint64(200))
	require.GreaterOrEqual(t, m.LogSyncTime, m.LogSyncMax)
	require.Positive(t, m.Tables)
	require.Positive(t, m.TableBytes)
	require.Positive(t, m.MemTableBytes)
	require.NoError(t, db.Close())
}
