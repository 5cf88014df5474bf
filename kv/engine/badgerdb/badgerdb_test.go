package badgerdb_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/badgerdb"
	"github.com/shoal-kv/shoal/kv/engine/enginetest"
)

// small engines are quick to make and to close; most tests make many.
func small(dir string) badgerdb.Options {
	return badgerdb.Options{
		Dir: dir, BlockCacheBytes: 1 << 20, MemTableBytes: 4 << 20, LogFileBytes: 4 << 20, NoCompaction: true, UnsafeNoSync: true,
	}
}

// durable engines do all that an engine of a store does.
func durable(dir string) badgerdb.Options {
	o := small(dir)
	o.UnsafeNoSync, o.NoCompaction = false, false
	return o
}

// place remembers which engine lives where, so that it can be opened again.
type place struct {
	t       testing.TB
	options func(dir string) badgerdb.Options // a new engine
	where   map[engine.Engine]badgerdb.Options
}

func (p *place) open(opts badgerdb.Options) (engine.Engine, error) {
	opts.OnFatal = func(err error) { p.t.Errorf("engine failed: %v", err) }
	db, err := badgerdb.Open(opts)
	if err != nil {
		return nil, err
	}
	p.where[db] = opts
	return db, nil
}

func (p *place) harness() enginetest.Harness {
	return enginetest.Harness{
		Limits: enginetest.Limits{KeySize: badgerdb.MaxKeySize},
		Open:   func() (engine.Engine, error) { return p.open(p.options(p.t.TempDir())) },
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
	for name, options := range map[string]func(string) badgerdb.Options{
		"Durable": durable,
		"Zstd": func(dir string) badgerdb.Options {
			o := small(dir)
			o.Compression = badgerdb.Zstd
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &place{t: t, options: options, where: map[engine.Engine]badgerdb.Options{}}
			enginetest.Run(t, p.harness())
		})
	}
}

func TestModel(t *testing.T) {
	p := &place{t: t, options: small, where: map[engine.Engine]badgerdb.Options{}}
	enginetest.RunModel(t, p.harness())
}

func TestOptions(t *testing.T) {
	for name, opts := range map[string]badgerdb.Options{
		"no directory":      {},
		"tiny memtable":     {Dir: "x", MemTableBytes: 100},
		"negative memtable": {Dir: "x", MemTableBytes: -1},
		"tiny log":          {Dir: "x", LogFileBytes: 100},
		"huge log":          {Dir: "x", LogFileBytes: 2 << 30},
		"negative cache":    {Dir: "x", BlockCacheBytes: -1},
		"strange blocks":    {Dir: "x", Compression: 9},
		"negative patience": {Dir: "x", StallLimit: -1},
	} {
		_, err := badgerdb.Open(opts)
		require.Error(t, err, name)
	}
}

func BenchmarkEngine(b *testing.B) {
	enginetest.RunBenchmarks(b, func() (engine.Engine, error) { return badgerdb.Open(badgerdb.Options{Dir: b.TempDir()}) })
}
