package pebbledb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/enginetest"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// place remembers which engine lives where, so that it can be opened again.
type place struct {
	t       testing.TB
	options func() pebbledb.Options // a new engine
	where   map[engine.Engine]pebbledb.Options
}

func (p *place) open(opts pebbledb.Options) (engine.Engine, error) {
	opts.OnFatal = func(err error) { p.t.Errorf("engine failed: %v", err) }
	db, err := pebbledb.Open(opts)
	if err != nil {
		return nil, err
	}
	p.where[db] = opts
	return db, nil
}

func (p *place) harness() enginetest.Harness {
	return enginetest.Harness{
		Open: func() (engine.Engine, error) { return p.open(p.options()) },
		Reopen: func(e engine.Engine) (engine.Engine, error) {
			if err := e.Close(); err != nil {
				return nil, err
			}
			return p.open(p.where[e])
		},
		OpenCheckpoint: func(e engine.Engine, dir string) (engine.Engine, error) {
			opts := p.where[e]
			opts.Dir = dir
			return p.open(opts)
		},
	}
}

func TestConformance(t *testing.T) {
	for name, options := range map[string]func() pebbledb.Options{
		"Memory": func() pebbledb.Options { return pebbledb.Options{Dir: "/db", FS: vfs.NewMem()} },
		// Memtables that are flushed all the time put tables, compactions and log changes under the same questions.
		"TinyMemTables": func() pebbledb.Options {
			return pebbledb.Options{Dir: "/db", FS: vfs.NewMem(), MemTableBytes: 16 << 10, Compression: pebbledb.NoCompression}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &place{t: t, options: options, where: map[engine.Engine]pebbledb.Options{}}
			enginetest.Run(t, p.harness())
			enginetest.RunModel(t, p.harness())
		})
	}
}

// One pass on the real file system.
func TestConformanceOnDisk(t *testing.T) {
	p := &place{t: t, where: map[engine.Engine]pebbledb.Options{}}
	p.options = func() pebbledb.Options { return pebbledb.Options{Dir: t.TempDir(), UnsafeNoSync: true} }
	enginetest.Run(t, p.harness())
}

// A directory belongs to one engine; who comes second is refused before he has touched anything.
func TestOpenTwice(t *testing.T) {
	for name, opts := range map[string]pebbledb.Options{
		"memory": {Dir: "/db", FS: vfs.NewMem()},
		"disk":   {Dir: t.TempDir()},
	} {
		for range 2 { // a new directory, and an old one
			db, err := pebbledb.Open(opts)
			require.NoError(t, err)
			require.NoError(t, db.Ingest(engine.Ingestion{
				Replace: map[engine.CF]engine.Range{engine.Default: {}},
				Open: func(engine.CF) (engine.Source, error) {
					_, err := pebbledb.Open(opts) // at a bad moment
					require.ErrorContains(t, err, opts.Dir, name)
					return nil, nil
				},
			}))
			require.NoError(t, put(db, true, "k"))
			require.NoError(t, db.Close())
		}
	}
}

func TestOptions(t *testing.T) {
	for name, opts := range map[string]pebbledb.Options{
		"no directory":     {},
		"negative size":    {Dir: "/db", MemTableBytes: -1},
		"strange blocks":   {Dir: "/db", Compression: 9},
		"negative caching": {Dir: "/db", BlockCacheBytes: -1},
	} {
		_, err := pebbledb.Open(opts)
		require.Error(t, err, name)
	}
}

// The space of a deleted range comes back although snapshots were taken before, as soon as those are closed.
func TestDeletedRangesGiveBackSpace(t *testing.T) {
	db, err := pebbledb.Open(small(vfs.NewMem()))
	require.NoError(t, err)
	for i := range 300 {
		require.NoError(t, put(db, false, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 4000))))
	}
	require.True(t, has(t, db, "1-"+strings.Repeat("k", 4000)), "takes a snapshot and closes it")
	full := db.Metrics().TableBytes
	b := db.NewBatch()
	b.DeleteRange(engine.Default, nil, nil)
	require.NoError(t, b.Commit(true))
	require.NoError(t, b.Close())
	i := 0
	require.Eventually(t, func() bool {
		i++
		require.NoError(t, put(db, false, fmt.Sprintf("%d-later", i))) // until the tombstone is flushed
		return db.Metrics().TableBytes < full/4
	}, waitLimit, waitTick)
	require.NoError(t, db.Close())
}

func BenchmarkEngine(b *testing.B) {
	enginetest.RunBenchmarks(b, func() (engine.Engine, error) { return pebbledb.Open(pebbledb.Options{Dir: b.TempDir()}) })
}
