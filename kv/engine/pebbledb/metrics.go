package pebbledb

import "time"

// Metrics is what the engine has done since it was opened and what it holds now, for the status server.
type Metrics struct {
	// LogBytes were written to the log, LogSyncs syncs of it took LogSyncTime in all, and none longer than LogSyncMax.
	LogBytes, LogSyncs      uint64
	LogSyncTime, LogSyncMax time.Duration
	// WriteStalls counts how often pebble stopped writes to let flushes or compactions catch up.
	WriteStalls uint64
	// Flushes and Compactions counts what has ended, Compacting what goes on; CompactionDebt is the bytes that compaction is behind.
	Flushes, Compactions, Compacting, CompactionDebt uint64
	// CacheHits and CacheMisses count lookups of table blocks; CacheBytes is what the cache holds.
	CacheHits, CacheMisses, CacheBytes uint64
	// MemTableBytes, TableBytes, Tables and Level0Tables are sizes as of now.
	MemTableBytes, TableBytes, Tables, Level0Tables uint64
}

// Metrics reads the counters; it costs some tens of microseconds and is meant for a scrape, not for a hot path.
func (d *DB) Metrics() Metrics {
	p := d.pdb.Metrics()
	m := d.disk.log.metrics()
	m.WriteStalls = d.stalls.Load()
	m.Flushes, m.Compactions = uint64(p.Flush.Count), uint64(p.Compact.Count)
	m.Compacting = uint64(p.Compact.NumInProgress)
	m.CompactionDebt = p.Compact.EstimatedDebt
	m.CacheHits, m.CacheMisses = uint64(p.BlockCache.Hits), uint64(p.BlockCache.Misses)
	m.CacheBytes = uint64(p.BlockCache.Size)
	m.MemTableBytes = p.MemTable.Size
	for _, level := range p.Levels {
		m.TableBytes += uint64(level.TablesSize)
		m.Tables += uint64(level.TablesCount)
	}
	m.Level0Tables = uint64(p.Levels[0].TablesCount)
	return m
}
