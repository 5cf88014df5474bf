package config

import (
	"slices"
	"strings"
	"time"
)

// Storage is what the store keeps and where.
type Storage struct {
	// DataDir is the directory of everything that the store keeps: the raft log, the state, snapshots (-s).
	DataDir string `toml:"data-dir"`
	// Engine is the library that keeps the data: pebble, badger or mem (--engine). A data directory keeps the one that it was
	// made with. Pebble is the default and the one to use. Badger syncs every write of the state too, holds an ingest in
	// memory, and can lose acknowledged writes: it does not notice all damage to its tables, and a store that finds its log
	// damaged, or its disk full, stops and must be restored from its peers. Mem loses everything with the process.
	Engine string `toml:"engine"`
	// APIVersion is how keys are laid out; only 1 so far. A data directory keeps the one that it was made with.
	APIVersion int        `toml:"api-version"`
	BlockCache BlockCache `toml:"block-cache"`
	// MaxKeySize is the longest key that is accepted.
	MaxKeySize Size `toml:"max-key-size"`
	// EnableTTL lets raw values expire: each is stored with its expiry. A data directory keeps the setting that it was made with, and
	// all stores of a cluster have the same: one that differs is refused.
	EnableTTL bool `toml:"enable-ttl"`
	// TTLCheckPollInterval is how often a store looks through the regions that it leads for expired keys, to take them away; 0 is never.
	// Expired keys are invisible in any case, at once.
	TTLCheckPollInterval Duration `toml:"ttl-check-poll-interval"`
}

// BlockCache is the cache of the state engine.
type BlockCache struct {
	// Capacity is the size of the cache; it should hold what is read often.
	Capacity Size `toml:"capacity"`
}

// The values of Storage.Engine.
const (
	EnginePebble = "pebble"
	EngineBadger = "badger"
	EngineMem    = "mem"
)

// Engines are the values of Storage.Engine, the default first.
var Engines = [...]string{EnginePebble, EngineBadger, EngineMem}

func defaultStorage() Storage {
	return Storage{
		DataDir:    "data/store",
		Engine:     EnginePebble,
		APIVersion: 1,
		BlockCache: BlockCache{Capacity: 256 * MiB},
		MaxKeySize: 8 * KiB,

		TTLCheckPollInterval: Duration{12 * time.Hour},
	}
}

func (s *Storage) validate(p *Problems) {
	if s.DataDir == "" {
		p.Addf("storage.data-dir is empty; it must name a directory")
	}
	if !slices.Contains(Engines[:], s.Engine) {
		p.Addf("storage.engine is %q; it must be one of %s", s.Engine, strings.Join(Engines[:], ", "))
	}
	if s.APIVersion != 1 {
		p.Addf("storage.api-version is %d; only 1 is supported", s.APIVersion)
	}
	between(p, "storage.block-cache.capacity", s.BlockCache.Capacity, MiB, 1024*GiB)
	between(p, "storage.max-key-size", s.MaxKeySize, 1, 32*KiB)
	durationBetween(p, "storage.ttl-check-poll-interval", s.TTLCheckPollInterval, Duration{}, Duration{30 * 24 * time.Hour})
}
