package config

// Storage is what the store keeps and where.
type Storage struct {
	// DataDir holds everything: the raft log, the state, snapshots.
	DataDir string `toml:"data-dir"`
	// Engine is the library below both engines of the store.
	Engine string `toml:"engine"`
	// APIVersion says how keys are laid out; a data directory keeps the one that it was made with.
	APIVersion int        `toml:"api-version"`
	BlockCache BlockCache `toml:"block-cache"`
	// MaxKeySize bounds a user's key.
	MaxKeySize Size `toml:"max-key-size"`
}

// BlockCache is the cache of the state engine.
type BlockCache struct {
	// Capacity should hold what is read often.
	Capacity Size `toml:"capacity"`
}

// Pebble is the default of Storage.Engine, Mem keeps everything in memory and loses it with the process.
const (
	EnginePebble = "pebble"
	EngineMem    = "mem"
)

func defaultStorage() Storage {
	return Storage{
		DataDir:    "data/store",
		Engine:     EnginePebble,
		APIVersion: 1,
		BlockCache: BlockCache{Capacity: 256 * MiB},
		MaxKeySize: 8 * KiB,
	}
}

func (s *Storage) validate(p *Problems) {
	if s.DataDir == "" {
		p.Addf("storage.data-dir is empty; it must name a directory")
	}
	if s.Engine != EnginePebble && s.Engine != EngineMem {
		p.Addf("storage.engine is %q; it must be %s or %s", s.Engine, EnginePebble, EngineMem)
	}
	if s.APIVersion != 1 {
		p.Addf("storage.api-version is %d; only 1 is supported", s.APIVersion)
	}
	between(p, "storage.block-cache.capacity", s.BlockCache.Capacity, MiB, 1024*GiB)
	between(p, "storage.max-key-size", s.MaxKeySize, 1, 32*KiB)
}
