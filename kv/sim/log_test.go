package sim

import (
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
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
		require.True(t, c.sawLagAbove(t, 256), "the leaders' metrics tell that a replica is far behind")
		asleep.p.Resume()
		c.judge()
		require.NoError(t, c.result.Err())
		require.Equal(t, before+1, c.result.Counts.Snapshots)
	}
}

// sawLagAbove says that a leader's metrics have counted a replica that was more than n entries behind; n is a bound of the histogram.
func (c *Cluster) sawLagAbove(t *testing.T, n float64) bool {
	above := uint64(0)
	for _, s := range c.stores {
		families, err := s.figures.Gather()
		require.NoError(t, err)
		at := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "tikv_raftstore_log_lag" })
		h := families[at].Metric[0].Histogram
		below := slices.IndexFunc(h.Bucket, func(b *dto.Bucket) bool { return b.GetUpperBound() == n })
		above += h.GetSampleCount() - h.Bucket[below].GetCumulativeCount()
	}
	return above > 0
}
