package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

func smoke(seed uint64) Config {
	return Config{
		Seed: seed, Stores: 3, Duration: 40 * time.Second, Loss: 0.05, Duplicate: 0.05, CrashEvery: 4 * time.Second, Tick: 100 * time.Millisecond,
		Machine: machine.Config{
			ElectionTicks: 10, HeartbeatTicks: 2, LeaseDuration: machine.Instant(700 * time.Millisecond), PreVote: true,
			LogGCTicks: 10, LogGCThreshold: 10, LogGCCountLimit: 50, RegionHeartbeatTicks: 20,
			Raft: machine.RaftLimits{
				MaxSizePerMsg: 1 << 16, MaxCommittedPerReady: 1 << 16, MaxUncommitted: 1 << 20, MaxInflightBytes: 1 << 20, MaxInflightMsgs: 64,
				MaxCached: 1 << 10, MaxEntry: 1 << 20, MaxBatch: 1 << 16,
			},
		},
	}
}

// The frame holds if whole lives of a cluster run in one goroutine, nothing acknowledged is lost, and the same seed
// gives the same run twice.
func TestSmokeSimulation(t *testing.T) {
	crashes, snapshots := 0, 0
	for seed := uint64(1); seed <= 30; seed++ {
		first := Run(smoke(seed))
		require.NoError(t, first.Violation)
		require.Greater(t, first.Acked, 100, "seed %d: %+v", seed, first)
		require.Greater(t, first.Reads, 100, "seed %d", seed)
		crashes += first.Crashes
		snapshots += first.Snapshots
		require.Equal(t, first, Run(smoke(seed)), "seed %d does not repeat itself", seed)
	}
	require.Greater(t, crashes, 50)
	require.Greater(t, snapshots, 30, "catching up by snapshot was exercised")
}

func TestSeedsDiffer(t *testing.T) {
	require.NotEqual(t, Run(smoke(1)).Hash, Run(smoke(2)).Hash)
}
