package config

import "time"

// Raftstore is how regions are replicated.
type Raftstore struct {
	// BaseTickInterval is raft's unit of time; elections and heartbeats are counted in it.
	BaseTickInterval Duration `toml:"raft-base-tick-interval"`
	// ElectionTimeoutTicks is how many ticks without a leader bring an election; more than twice HeartbeatTicks.
	ElectionTimeoutTicks int `toml:"raft-election-timeout-ticks"`
	// HeartbeatTicks is how many ticks lie between a leader's heartbeats.
	HeartbeatTicks int `toml:"raft-heartbeat-ticks"`
	// MaxLeaderLease is how long after a confirmed heartbeat a leader answers reads on its own. It must end before any
	// follower could have elected another: at most 80 % of (ElectionTimeoutTicks - 1) ticks.
	MaxLeaderLease Duration `toml:"raft-store-max-leader-lease"`
	// Prevote makes a returning replica ask before it disturbs.
	Prevote bool `toml:"prevote"`
	// HibernateRegions lets a region without work sleep, without heartbeats, until something is asked of it or one of its stores falls silent.
	HibernateRegions bool `toml:"hibernate-regions"`
	// Capacity is what the store reports as its size (--capacity); 0: that of the disk.
	Capacity Size `toml:"capacity"`

	// The keys of these stand under [raftstore] too; they only group the fields.
	RaftLimits
	LogGC
	Checks
	SplitCheck
	Reports
	Queues Queues `toml:"queues"`
}

// RaftLimits bound the entries of one region in memory and on the wire.
type RaftLimits struct {
	// RaftEntryMaxSize is the largest write that is accepted.
	RaftEntryMaxSize Size `toml:"raft-entry-max-size"`
	// RaftMaxSizePerMsg is how much of the log one message to a follower carries.
	RaftMaxSizePerMsg Size `toml:"raft-max-size-per-msg"`
	// RaftMaxInflightMsgs is how many such messages to a follower may be unanswered.
	RaftMaxInflightMsgs int `toml:"raft-max-inflight-msgs"`
	// RaftEntryCacheBytes is how much of its log a region keeps in memory for followers; older entries are read from disk.
	RaftEntryCacheBytes Size `toml:"raft-entry-cache-size"`
}

// LogGC is when a region's log is cut.
type LogGC struct {
	// RaftLogGcTickInterval is how often a leader looks whether its log can be cut.
	RaftLogGcTickInterval Duration `toml:"raft-log-gc-tick-interval"`
	// RaftLogGcThreshold is how many entries that every replica has are worth a cut.
	RaftLogGcThreshold uint64 `toml:"raft-log-gc-threshold"`
	// RaftLogGcCountLimit is how many entries are kept at most for a replica that lags; beyond, it needs a snapshot.
	RaftLogGcCountLimit uint64 `toml:"raft-log-gc-count-limit"`
	// RaftLogGcSizeLimit is how much of its log a region keeps at most for a replica that lags; beyond, it needs a snapshot.
	RaftLogGcSizeLimit Size `toml:"raft-log-gc-size-limit"`
	// RaftLogGcTimeLimit is how long a replica may be silent before the log is not kept for it any more.
	RaftLogGcTimeLimit Duration `toml:"raft-log-gc-time-limit"`
}

// SplitCheck is when a leader has its region measured, to split it when it is larger than [coprocessor] allows.
type SplitCheck struct {
	// SplitRegionCheckTickInterval is how often a leader looks whether its region's size is known, and tries again what went wrong.
	SplitRegionCheckTickInterval Duration `toml:"split-region-check-tick-interval"`
	// RegionSplitCheckDiff is how much must have been written since the last measurement for another one; 0: a sixteenth of region-split-size.
	RegionSplitCheckDiff Size `toml:"region-split-check-diff"`
}

// Checks is what is looked after when nobody asks.
type Checks struct {
	// ConsistencyCheckInterval is how often a region's leader has its replicas compared; 0 is never.
	ConsistencyCheckInterval Duration `toml:"consistency-check-interval"`
	// SnapGCTimeout is after how long a received snapshot that nobody came for is removed.
	SnapGCTimeout Duration `toml:"snap-gc-timeout"`
}

// Reports is how often the scheduler hears from the store when nothing changed.
type Reports struct {
	// RegionHeartbeatInterval is how often a region reports to the scheduler when nothing changed.
	RegionHeartbeatInterval Duration `toml:"pd-heartbeat-tick-interval"`
	// StoreHeartbeatInterval is how often the store reports to the scheduler.
	StoreHeartbeatInterval Duration `toml:"pd-store-heartbeat-tick-interval"`
}

// Queues are the bounds of what waits inside the store. What exceeds a queue is refused as busy, or dropped if raft sends it again.
type Queues struct {
	// MailboxMessages is how many raft messages may wait for one worker.
	MailboxMessages int `toml:"mailbox-messages"`
	// Reads is how many reads may wait for a confirmation of leadership.
	Reads int64 `toml:"reads"`
	// ProposalSize is the size of the writes that may be between arrival and answer.
	ProposalSize Size `toml:"proposal-size"`
	// LogSize is the size of the entries that may wait for the log writer.
	LogSize Size `toml:"log-size"`
	// TransportMessages is how many raft messages may wait for one other store.
	TransportMessages int `toml:"transport-messages"`
	// TransportSize is the same as TransportMessages in bytes.
	TransportSize Size `toml:"transport-size"`
}

func defaultRaftstore() Raftstore {
	return Raftstore{
		BaseTickInterval:     Duration{100 * time.Millisecond},
		ElectionTimeoutTicks: 10,
		HeartbeatTicks:       2,
		MaxLeaderLease:       Duration{700 * time.Millisecond},
		Prevote:              true,
		HibernateRegions:     true,
		RaftLimits: RaftLimits{
			RaftEntryMaxSize:    8 * MiB,
			RaftMaxSizePerMsg:   MiB,
			RaftMaxInflightMsgs: 256,
			RaftEntryCacheBytes: 16 * MiB,
		},
		LogGC: LogGC{
			RaftLogGcTickInterval: Duration{3 * time.Second},
			RaftLogGcThreshold:    500,
			RaftLogGcCountLimit:   100_000,
			RaftLogGcSizeLimit:    72 * MiB,
			RaftLogGcTimeLimit:    Duration{30 * time.Minute},
		},
		SplitCheck: SplitCheck{SplitRegionCheckTickInterval: Duration{10 * time.Second}},
		Checks: Checks{
			ConsistencyCheckInterval: Duration{24 * time.Hour},
			SnapGCTimeout:            Duration{4 * time.Hour},
		},
		Reports: Reports{
			RegionHeartbeatInterval: Duration{60 * time.Second},
			StoreHeartbeatInterval:  Duration{10 * time.Second},
		},
		Queues: Queues{
			MailboxMessages:   8192,
			Reads:             65536,
			ProposalSize:      128 * MiB,
			LogSize:           64 * MiB,
			TransportMessages: 16384,
			TransportSize:     64 * MiB,
		},
	}
}

// quicken makes time pass five times as fast, and logs be cut almost at once.
func (r *Raftstore) quicken() {
	r.BaseTickInterval = Duration{20 * time.Millisecond}
	r.MaxLeaderLease = Duration{140 * time.Millisecond}
	r.RaftLogGcTickInterval = Duration{50 * time.Millisecond}
	r.RaftLogGcThreshold = 50
	r.SplitRegionCheckTickInterval = Duration{100 * time.Millisecond}
	r.RegionHeartbeatInterval = Duration{100 * time.Millisecond}
	r.StoreHeartbeatInterval = Duration{500 * time.Millisecond}
}

func (r *Raftstore) validate(p *Problems) {
	durationBetween(p, "raftstore.raft-base-tick-interval", r.BaseTickInterval, Duration{time.Millisecond}, Duration{time.Minute})
	between(p, "raftstore.raft-heartbeat-ticks", r.HeartbeatTicks, 1, 1000)
	if r.ElectionTimeoutTicks <= 2*r.HeartbeatTicks || r.ElectionTimeoutTicks > 10000 {
		p.Addf("raftstore.raft-election-timeout-ticks is %d; it must be more than twice raft-heartbeat-ticks (%d), and at most 10000",
			r.ElectionTimeoutTicks, r.HeartbeatTicks)
	}
	if most := r.longestLease(); r.MaxLeaderLease.Duration < 0 || r.MaxLeaderLease.Duration > most {
		p.Addf("raftstore.raft-store-max-leader-lease is %v; it must be at most %v, which is 80%% of (raft-election-timeout-ticks - 1) ticks",
			r.MaxLeaderLease, most)
	}
	between(p, "raftstore.raft-entry-max-size", r.RaftEntryMaxSize, KiB, 32*MiB)
	between(p, "raftstore.raft-max-size-per-msg", r.RaftMaxSizePerMsg, 1, 32*MiB)
	between(p, "raftstore.raft-max-inflight-msgs", r.RaftMaxInflightMsgs, 1, 16384)
	between(p, "raftstore.raft-entry-cache-size", r.RaftEntryCacheBytes, KiB, GiB)
	durationBetween(p, "raftstore.raft-log-gc-tick-interval", r.RaftLogGcTickInterval, r.BaseTickInterval, Duration{time.Hour})
	between(p, "raftstore.raft-log-gc-threshold", r.RaftLogGcThreshold, 1, r.RaftLogGcCountLimit)
	between(p, "raftstore.raft-log-gc-count-limit", r.RaftLogGcCountLimit, 1, 1<<32)
	between(p, "raftstore.raft-log-gc-size-limit", r.RaftLogGcSizeLimit, KiB, 64*GiB)
	durationBetween(p, "raftstore.raft-log-gc-time-limit", r.RaftLogGcTimeLimit, r.RaftLogGcTickInterval, Duration{30 * 24 * time.Hour})
	if r.ConsistencyCheckInterval.Duration != 0 {
		durationBetween(p, "raftstore.consistency-check-interval", r.ConsistencyCheckInterval, Duration{time.Second}, Duration{365 * 24 * time.Hour})
	}
	durationBetween(p, "raftstore.snap-gc-timeout", r.SnapGCTimeout, Duration{time.Minute}, Duration{365 * 24 * time.Hour})
	durationBetween(p, "raftstore.pd-heartbeat-tick-interval", r.RegionHeartbeatInterval, r.BaseTickInterval, Duration{time.Hour})
	durationBetween(p, "raftstore.pd-store-heartbeat-tick-interval", r.StoreHeartbeatInterval, r.BaseTickInterval, Duration{time.Hour})
	durationBetween(p, "raftstore.split-region-check-tick-interval", r.SplitRegionCheckTickInterval, r.BaseTickInterval, Duration{time.Hour})
	between(p, "raftstore.region-split-check-diff", r.RegionSplitCheckDiff, 0, 64*GiB)
	r.Queues.validate(p)
	for _, q := range []struct {
		key  string
		size Size
	}{
		{"proposal-size", r.Queues.ProposalSize},
		{"log-size", r.Queues.LogSize},
		{"transport-size", r.Queues.TransportSize},
	} {
		if q.size < r.RaftEntryMaxSize {
			p.Addf("raftstore.queues.%s is %v; one entry must fit in, and raft-entry-max-size is %v", q.key, q.size, r.RaftEntryMaxSize)
		}
	}
}

// longestLease leaves a follower one tick, because its first tick may come at once, and a clock that runs a tenth too slow at
// the leader and one a tenth too fast at the follower: 0.9 / 1.1.
func (r *Raftstore) longestLease() time.Duration {
	return time.Duration(r.ElectionTimeoutTicks-1) * r.BaseTickInterval.Duration / 100 * 80
}

func (q *Queues) validate(p *Problems) {
	between(p, "raftstore.queues.mailbox-messages", q.MailboxMessages, 16, 1<<24)
	between(p, "raftstore.queues.reads", q.Reads, 1, 1<<24)
	between(p, "raftstore.queues.proposal-size", q.ProposalSize, MiB, 64*GiB)
	between(p, "raftstore.queues.log-size", q.LogSize, MiB, 64*GiB)
	between(p, "raftstore.queues.transport-messages", q.TransportMessages, 16, 1<<24)
	between(p, "raftstore.queues.transport-size", q.TransportSize, MiB, 64*GiB)
}
