package sim

import (
	"time"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Config says what a run is like.
type Config struct {
	Seed            uint64
	Stores, Clients int
	// Schedulers is how many there are.
	Schedulers int
	// Duration is how long faults come and go, in virtual time.
	Duration time.Duration
	Tick     time.Duration
	// Think is the mean time between a client's operations.
	Think time.Duration
	// Machine is the stores' configuration; StoreID and Seed are set for each.
	Machine machine.Config
	Limits  raftstore.Limits
	// Replicas is how many the scheduler gives every region.
	Replicas int
	// ReplicaReads is the share of reads that any replica may answer.
	ReplicaReads float64
	// LostAfter is how long a store may be silent before its peers are replaced (max-store-down-time), MergeAfter how long small regions are left alone before
	// they are merged (split-merge-interval); 0 leaves the scheduler's defaults.
	LostAfter, MergeAfter time.Duration
	// Padding is how much longer values are than they need be.
	Padding int
	// Faults is how strong each nemesis is; 1 is its usual frequency, and a missing one does nothing.
	Faults map[string]float64
	// Weather is what the network is like while there are faults.
	Weather world.Weather
}

// Default is a cluster without faults, with small limits so that much happens.
func Default(seed uint64) Config {
	return Config{
		Seed: seed, Stores: 5, Clients: 8, Duration: 60 * time.Second, Tick: 100 * time.Millisecond, Replicas: 3,
		Schedulers: 3, Think: 70 * time.Millisecond, Weather: world.Fair,
		Machine: machine.Config{
			ElectionTicks: 10, HeartbeatTicks: 2, LeaseDuration: machine.Instant(700 * time.Millisecond), PreVote: true,
			LogGC: machine.LogGC{Ticks: 10, Threshold: 10, Count: 50}, RegionHeartbeatTicks: 20,
			Raft: machine.RaftLimits{
				MaxSizePerMsg: 1 << 16, MaxCommittedPerReady: 1 << 16, MaxUncommitted: 1 << 20, MaxInflightBytes: 1 << 20, MaxInflightMsgs: 64,
				MaxCached: 1 << 10, MaxEntry: 1 << 20, MaxBatch: 1 << 16,
			},
		},
		Limits: raftstore.Limits{MailboxMessages: 4096, ProposalBytes: 1 << 20, Reads: 1024, LogQueueBytes: 1 << 20},
	}
}
