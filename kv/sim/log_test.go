package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// S15: a peer that stands still makes nobody's log grow beyond the limit, although what is to be cut has long left the leader's memory. When the peer
// goes on it gets one snapshot.
func TestLogStaysShortWhileAPeerStandsStill(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		cfg := Default(seed)
		cfg.Stores, cfg.Think = 3, 20*time.Millisecond
		cfg.Machine.LogGC.Ticks, cfg.Machine.LogGC.Threshold, cfg.Machine.LogGC.Count = 5, 3, 400
		cfg.Machine.Raft.MaxCached = 1
		c := New(cfg, nil)
		c.Boot()
		c.setUp()
		_, lead := c.leadership(nil)
		asleep := c.stores[lead.id%3]
		before := c.result.Counts.Snapshots
		asleep.p.Suspend()
		for range 60 {
			c.w.RunUntil(c.w.Now() + world.Time(500*time.Millisecond))
			if v, _ := c.leadership(nil); v != nil {
				require.LessOrEqual(t, v.Log.Last-v.Log.Truncated, uint64(900), "seed %d at %s", seed, c.w.Now())
			}
		}
		asleep.p.Resume()
		c.judge()
		require.NoError(t, c.result.Err())
		require.Equal(t, before+1, c.result.Counts.Snapshots)
	}
}
