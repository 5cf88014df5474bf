package main

import (
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/badgerdb"
)

// openBadger is known to the binary only, so that a module that embeds a cluster for its tests does not inherit badger's needs.
func openBadger(dir string, cacheBytes int64, cfg *config.Config, logger *zap.Logger, onFatal func(error)) (engine.Engine, func() uint64, error) {
	logger.Warn("the badger engine can lose acknowledged writes: not all damage to its files is noticed, and after a power cut even less; " +
		"pebble, the default of storage.engine, does not have these weaknesses")
	db, err := badgerdb.Open(badgerdb.Options{
		Dir: dir, BlockCacheBytes: cacheBytes, Logger: logger, OnFatal: onFatal,
		// An entry of the raft log is one pair, which must fit into a memtable.
		MemTableBytes: max(32<<20, 2*int64(cfg.Raftstore.RaftEntryMaxSize)),
	})
	if err != nil {
		return nil, nil, err
	}
	return db, db.DiskBytes, nil
}
