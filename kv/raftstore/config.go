package raftstore

import (
	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// quietTimeouts is the number of election timeouts without work after which a region sleeps.
const quietTimeouts = 5

// MachineConfig derives what the machines need from the store's configuration. Seed decides the election timeouts.
func MachineConfig(whole *config.Config, storeID, seed uint64) machine.Config {
	cfg := &whole.Raftstore
	ticks := func(d config.Duration) int { return max(1, int(d.Duration/cfg.BaseTickInterval.Duration)) }
	sleep := 0
	if cfg.HibernateRegions {
		sleep = quietTimeouts * cfg.ElectionTimeoutTicks
	}
	return machine.Config{
		SleepTicks: sleep,
		StoreID:    storeID, Seed: seed,
		ElectionTicks: cfg.ElectionTimeoutTicks, HeartbeatTicks: cfg.HeartbeatTicks,
		LeaseDuration: machine.Instant(cfg.MaxLeaderLease.Duration), PreVote: cfg.Prevote,
		HashTicks: hashTicks(cfg),
		LogGC: machine.LogGC{
			Ticks: ticks(cfg.RaftLogGcTickInterval), Threshold: cfg.RaftLogGcThreshold, Count: cfg.RaftLogGcCountLimit,
			Bytes: uint64(cfg.RaftLogGcSizeLimit), Silence: uint64(ticks(cfg.RaftLogGcTimeLimit)),
		},
		RegionHeartbeatTicks: ticks(cfg.RegionHeartbeatInterval),
		Split:                splitLimits(whole, ticks(cfg.SplitRegionCheckTickInterval)),
		Raft: machine.RaftLimits{
			MaxSizePerMsg: uint64(cfg.RaftMaxSizePerMsg), MaxCommittedPerReady: 4 << 20, MaxUncommitted: 4 * uint64(cfg.RaftEntryMaxSize),
			MaxInflightBytes: 64 << 20, MaxInflightMsgs: cfg.RaftMaxInflightMsgs, MaxCached: uint64(cfg.RaftEntryCacheBytes),
			MaxEntry: uint64(cfg.RaftEntryMaxSize), MaxBatch: 256 << 10,
		},
	}
}

func splitLimits(whole *config.Config, ticks int) machine.SplitLimits {
	c, diff := &whole.Coprocessor, uint64(whole.Raftstore.RegionSplitCheckDiff)
	if diff == 0 {
		diff = uint64(c.RegionSplitSize) / 16
	}
	return machine.SplitLimits{
		MaxSize: uint64(c.RegionMaxSize), SplitSize: uint64(c.RegionSplitSize), MaxKeys: c.RegionMaxKeys, SplitKeys: c.RegionSplitKeys,
		Diff: diff, Batch: c.BatchSplitLimit, CheckTicks: ticks,
	}
}

func hashTicks(cfg *config.Raftstore) uint64 {
	return uint64(cfg.ConsistencyCheckInterval.Duration / cfg.BaseTickInterval.Duration)
}

// hashBytesPerSec is how fast replicas are read to be compared: a background matter.
const hashBytesPerSec = 32 << 20

// NewLimits derives the queues' bounds from the store's configuration.
func NewLimits(q *config.Queues) Limits {
	return Limits{
		MailboxMessages: q.MailboxMessages, ProposalBytes: int64(q.ProposalSize), Reads: q.Reads, LogQueueBytes: int64(q.LogSize),
		HashBytesPerSec: hashBytesPerSec,
	}
}
