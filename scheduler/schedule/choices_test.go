package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// What stores' limits hold back is counted by who wanted it: regions that are balanced, and those of a store that is drained.
func TestWhatLimitsHoldBackIsCounted(t *testing.T) {
	cfg := configured(func(c *schedule.Config) { c.StoreLimitAddPeer, c.StoreLimitRemovePeer = 4, 4 })
	c := spread(paper.Config{Schedule: cfg}, 3, 60)
	c.Run(time.Minute, nil)
	require.Empty(t, c.Term.Schedule.Operators().Limited(), "nothing is wanted")
	c.Join(4, nil)
	c.Run(time.Minute, nil)
	held := c.Term.Schedule.Operators().Limited()
	require.NotZero(t, held["balance-region"])
	require.Len(t, held, 1)
	require.NoError(t, c.Save(c.Term.DeleteStore(1, false)))
	c.Run(time.Minute, nil)
	require.NotZero(t, c.Term.Schedule.Operators().Limited()["replace-rule-offline-peer"])
}

// Stores that are passed over are counted by who did it and why; what a person asks counts for nothing.
func TestPassedOverIsCounted(t *testing.T) {
	cfg := configured(func(c *schedule.Config) { c.StoreLimitAddPeer = 4 })
	c := spread(paper.Config{Schedule: cfg}, 4, 60)
	c.Run(2*time.Minute, nil)
	sources, targets := c.Term.Schedule.PassedOver()
	require.Empty(t, sources)
	require.Empty(t, targets)
	c.Join(5, map[string]string{"x": "y"})
	c.Run(time.Minute, nil)
	_, targets = c.Term.Schedule.PassedOver()
	require.NotZero(t, targets[schedule.Passed{By: schedule.BalanceRegion, For: schedule.AddLimit, Store: 5}])
	c.Store(2).Stats.IsBusy = true
	c.Kill(1)
	c.Run(40*time.Second, nil)
	require.NoError(t, c.Save(c.Term.DeleteStore(3, false)))
	c.Run(time.Minute, nil)
	sources, targets = c.Term.Schedule.PassedOver()
	for by, why := range map[string]schedule.Barrier{schedule.BalanceLeader: schedule.Disconnected, schedule.BalanceRegion: schedule.Disconnected, "rule-checker": schedule.Disconnected} {
		require.NotZero(t, targets[schedule.Passed{By: by, For: why, Store: 1}], by)
	}
	require.NotZero(t, sources[schedule.Passed{By: schedule.BalanceLeader, For: schedule.Disconnected, Store: 1}])
	require.NotZero(t, targets[schedule.Passed{By: "rule-checker", For: schedule.Busy, Store: 2}])
	require.NotZero(t, targets[schedule.Passed{By: "rule-checker", For: schedule.AddLimit, Store: 5}])
	require.NotZero(t, c.Term.Schedule.Operators().Limited()["replace-rule-offline-peer"])
	for _, r := range c.Regions() {
		c.Term.Schedule.ExplainRegion(c.Term.Picture.Region(r.Meta.Id), c.Now())
	}
	c.Term.Schedule.ExplainBalance(c.Now())
	again, too := c.Term.Schedule.PassedOver()
	require.Equal(t, sources, again)
	require.Equal(t, targets, too)
}

// Each barrier has a name of its own.
func TestBarriersHaveNames(t *testing.T) {
	names := map[string]bool{}
	for b := schedule.Open; b <= schedule.Isolation; b++ {
		require.NotEmpty(t, b.String())
		names[b.String()] = true
	}
	require.Len(t, names, int(schedule.Isolation)+1)
}

// What balance tolerates is what it is shown to tolerate: leaders and regions differ by no more, and by more things move.
func TestToleranceIsShown(t *testing.T) {
	c := spread(paper.Config{}, 3, 60)
	c.Run(2*time.Minute, nil)
	requireRest(t, c)
	s := c.Term.Picture.Store(1)
	leaders, regions := c.Term.Schedule.Tolerance(s)
	require.InDelta(t, 1, leaders, 0, "one leader")
	require.InDelta(t, 10, regions, 0, "one region of 10 MiB")
	require.NoError(t, c.Save(c.Term.TuneStore(1, cluster.Tuning{LeaderWeight: 2, RegionWeight: 4})))
	leaders, regions = c.Term.Schedule.Tolerance(c.Term.Picture.Store(1))
	require.InDelta(t, 0.5, leaders, 0)
	require.InDelta(t, 2.5, regions, 0)
	require.NoError(t, c.Save(c.Term.SetConfig(map[string]string{"leader-schedule-policy": "size", "tolerant-size-ratio": "3"})))
	leaders, regions = c.Term.Schedule.Tolerance(c.Term.Picture.Store(1))
	require.InDelta(t, 15, leaders, 0, "three leaders of 10 MiB at a weight of 2")
	require.InDelta(t, 7.5, regions, 0)
}
