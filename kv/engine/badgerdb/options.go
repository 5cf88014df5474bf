package badgerdb

import (
	"errors"
	"fmt"
	"time"

	"github.com/Connor1996/badger/options"
	"go.uber.org/zap"
)

// Compression says how table blocks are stored. The log is never compressed. A database keeps the one it was made with.
type Compression uint8

// The compressions.
const (
	// Snappy is the default.
	Snappy Compression = iota
	// NoCompression suits data that is deleted before it is ever compacted, such as a raft log.
	NoCompression
	// Zstd is smaller and slower.
	Zstd
)

func (c Compression) badger() options.CompressionType {
	return [...]options.CompressionType{options.Snappy, options.None, options.ZSTD}[c]
}

// Options configures one engine. The zero value of every field but Dir has a sensible meaning.
type Options struct {
	// Dir holds the engine's files; it is created when missing.
	Dir string
	// Logger receives what the engine has to say; nil is silence. What badger has to say goes to standard error.
	Logger *zap.Logger
	// OnFatal is called once, with the failure that poisoned the engine. It must not block and must not call the engine.
	// May be nil.
	OnFatal func(error)

	// BlockCacheBytes bounds the cache of table blocks; default 64 MiB. Counting what is used takes another third of it.
	BlockCacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed, and of a table; default 32 MiB, at least 1 MiB. A pair must
	// fit into one: see MaxPairBytes. Badger keeps two memtables in stock and up to three that wait for the disk.
	MemTableBytes int64
	// LogFileBytes is the size at which the log is rotated; default 64 MiB, between 1 MiB and 1 GiB. So much is allocated at once.
	LogFileBytes int64
	// Compression of the tables.
	Compression Compression
	// StallLimit is how long a commit may take before the engine counts as failed; default one minute.
	StallLimit time.Duration
	// NoCompaction leaves the tables as they are flushed. For engines that live shortly: one that compacts may take a second to close.
	NoCompaction bool
	// UnsafeNoSync acknowledges before anything is on disk, and notes no stamps. A crash of the machine then loses
	// acknowledged writes. For tests whose subject is not durability.
	UnsafeNoSync bool
}

const (
	minMemTableBytes = 1 << 20
	minLogFileBytes  = 1 << 20
	maxLogFileBytes  = 1 << 30
)

// withDefaults fills in what was left out, or says what is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("badgerdb: no directory given")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	setDefault(&o.BlockCacheBytes, 64<<20)
	setDefault(&o.MemTableBytes, 32<<20)
	setDefault(&o.LogFileBytes, 64<<20)
	setDefault(&o.StallLimit, time.Minute)
	switch {
	case o.BlockCacheBytes < 1<<10:
		return o, fmt.Errorf("badgerdb: a block cache of %d bytes is too small", o.BlockCacheBytes)
	case o.MemTableBytes < minMemTableBytes:
		return o, fmt.Errorf("badgerdb: a memtable has at least %d bytes, not %d", minMemTableBytes, o.MemTableBytes)
	case o.LogFileBytes < minLogFileBytes || o.LogFileBytes > maxLogFileBytes:
		return o, fmt.Errorf("badgerdb: a log file has between %d and %d bytes, not %d", minLogFileBytes, maxLogFileBytes, o.LogFileBytes)
	case o.Compression > Zstd:
		return o, fmt.Errorf("badgerdb: unknown compression %d", o.Compression)
	case o.StallLimit < 0:
		return o, fmt.Errorf("badgerdb: a stall limit of %s", o.StallLimit)
	}
	return o, nil
}

func setDefault[T int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// MaxPairBytes bounds a key and its value together.
func (o Options) MaxPairBytes() int64 { return o.MemTableBytes - MaxKeySize - 1<<10 }
