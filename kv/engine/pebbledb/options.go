package pebbledb

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Compression says how table blocks are stored. The log is never compressed.
type Compression uint8

// The compressions.
const (
	// Fastest is the default: MinLZ, or Snappy on arm64, where that is faster. It costs little and pays for itself in cache and disk. Blocks say what they are stored
	// as, so tables of both can be read anywhere.
	Fastest Compression = iota
	// NoCompression suits data that is deleted before it is ever compacted, such as a raft log.
	NoCompression
)

// Options configures one engine. The zero value of every field but Dir has a sensible meaning, chosen for three stores of
// two engines each on one small machine.
type Options struct {
	// Dir holds the engine's files; it is created when missing.
	Dir string
	// FS is the file system below; nil is the operating system's. Tests put a crashable or a failing one here.
	FS vfs.FS
	// Logger receives what the engine has to say; nil is silence.
	Logger *zap.Logger
	// OnFatal is called once, with the failure that poisoned the engine, possibly while the engine holds locks: it must
	// not block and must not call the engine. May be nil.
	OnFatal func(error)

	// BlockCacheBytes bounds the cache of table blocks; default 128 MiB. It must hold the hot set.
	BlockCacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed; default 64 MiB. A new engine starts with small ones.
	MemTableBytes int
	// MaxOpenFiles bounds the open tables; default 1000.
	MaxOpenFiles int
	// LogBytesPerSync asks the kernel to write back the log in the background after so many bytes, so that a late sync
	// does not pay for all of it at once; default 512 KiB. It has nothing to do with durability.
	LogBytesPerSync int
	// Compression of the tables.
	Compression Compression
	// UnsafeNoSync acknowledges before anything is on disk. A crash of the machine then loses acknowledged writes; a
	// crash of the process may. For tests whose subject is not durability.
	UnsafeNoSync bool
	// SurviveDamage keeps the engine going when a table turns out to be damaged: see damage.go. Without it damage poisons the engine.
	SurviveDamage bool
	// OnDamage is called with what a damaged table spans in each column family, when it is met, and from time to time while it is met again. It must
	// not block, nor use the engine. With SurviveDamage only.
	OnDamage func(map[engine.CF]engine.Range)
}

// withDefaults fills in what was left out, or says what is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("pebbledb: no directory given")
	}
	if o.BlockCacheBytes < 0 || o.MemTableBytes < 0 || o.MaxOpenFiles < 0 || o.LogBytesPerSync < 0 {
		return o, fmt.Errorf("pebbledb: sizes must not be negative")
	}
	if o.Compression > NoCompression {
		return o, fmt.Errorf("pebbledb: unknown compression %d", o.Compression)
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	setDefault(&o.BlockCacheBytes, 128<<20)
	setDefault(&o.MemTableBytes, 64<<20)
	setDefault(&o.MaxOpenFiles, 1000)
	setDefault(&o.LogBytesPerSync, 512<<10)
	return o, nil
}

func setDefault[T int | int64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// tableBlock is how many bytes of pairs a block of a table holds, before compression. Whoever reads or builds whole tables, as snapshots and compactions do,
// pays by the block (docs/snapshots.md); a point read that misses the cache reads and unpacks one.
const tableBlock = 16 << 10

// pebble translates the options. What is not named here is pebble's own default.
func (o Options) pebble(d *DB) *pebble.Options {
	po := &pebble.Options{
		FS: d.disk,
		// The newest format: the log must carry what tells a torn tail from damage, and tables a checksummed footer.
		FormatMajorVersion: pebble.FormatNewest,
		CacheSize:          o.BlockCacheBytes,
		MemTableSize:       uint64(o.MemTableBytes),
		// Writes stop when four memtables wait to be flushed. Tables at level 0 rather pile up than stop every region of
		// the store; two compactions at a time keep up with what two cores can write.
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		MaxOpenFiles:                o.MaxOpenFiles,
		WALBytesPerSync:             o.LogBytesPerSync,
		Logger:                      pebbleLog{d},
		EventListener: &pebble.EventListener{
			BackgroundError: d.backgroundFailed, DataCorruption: d.tableDamaged, CompactionEnd: d.compacted, FlushEnd: d.flushed,
			WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
				d.stalls.Add(1)
				o.Logger.Warn("engine stops writes", zap.String("dir", o.Dir), zap.String("reason", info.Reason))
			},
		},
	}
	compression := sstable.FastestCompression
	if o.Compression == NoCompression {
		compression = sstable.NoCompression
	}
	po.Experimental.CompactionScheduler = newCompactions()
	po.Levels[0].BlockSize = tableBlock
	po.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	po.Levels[0].Compression = func() *sstable.CompressionProfile { return compression }
	po.EnsureDefaults()
	return po
}

// pebbleLog is where pebble's own messages go. Fatalf must not end the process: it poisons the engine and returns, and
// pebble's callers carry on with the error in hand.
type pebbleLog struct{ d *DB }

func (l pebbleLog) Infof(format string, args ...any) {
	if l.d.opts.Logger.Core().Enabled(zap.DebugLevel) {
		l.d.opts.Logger.Debug(fmt.Sprintf(format, args...), zap.String("dir", l.d.opts.Dir))
	}
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.d.opts.Logger.Warn(fmt.Sprintf(format, args...), zap.String("dir", l.d.opts.Dir))
}

func (l pebbleLog) Fatalf(format string, args ...any) { l.d.fault.fail(fmt.Errorf(format, args...)) }
