package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// The scenarios of stage 3C that are about what the scheduler decides.

// balances fills the one store that has far fewer regions than the others, one replica after the other, and stops when that is even.
func balances(t *testing.T, replicas int) {
	stores := replicas + 1
	cfg := configured(func(c *schedule.Config) { c.MaxReplicas = replicas })
	c := paper.New(paper.Config{Schedule: cfg}, stores)
	c.Split(20, 96*mebibyte, func(int) []uint64 {
		var on []uint64
		for s := range replicas {
			on = append(on, uint64(s+1))
		}
		return on
	})
	empty := uint64(stores)
	require.Zero(t, c.Term.Picture.Tally(empty).Regions)
	require.True(t, c.Run(20*time.Minute, func() bool { return even(c, 0.1) && lacking(c, replicas) == "" }), "%+v", tallies(c))
	requireRest(t, c)
	require.InDelta(t, 20*replicas/stores, c.Term.Picture.Tally(empty).Regions, 2)
	requireWhole(t, c, replicas)
}

func TestReplicas13C(t *testing.T) { balances(t, 1) }
func TestReplicas33C(t *testing.T) { balances(t, 3) }
func TestReplicas53C(t *testing.T) { balances(t, 5) }

// A region whose peer is not caught up is not moved by balance; a peer that was pending on a store that is lost is replaced.
func TestReplacePendingRegion3C(t *testing.T) { // P8
	cfg := configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(2 * time.Minute) })
	c := paper.New(paper.Config{Schedule: cfg, Bandwidth: 1}, 4) // no snapshot ever arrives
	c.Split(9, 96*mebibyte, func(int) []uint64 { return []uint64{1, 2, 3} })
	c.Run(5*time.Minute, nil)
	ops := c.Term.Schedule.Operators()
	require.NotZero(t, ops.Count(), "learners are on their way to store 4")
	require.NotZero(t, c.Term.Picture.Tally(4).Pending)
	for _, r := range c.Regions() {
		require.LessOrEqual(t, len(r.Meta.Peers), 4)
		require.Equal(t, 3, c.Term.Picture.Region(r.Meta.Id).Voters(), "a peer that is not caught up does not vote")
	}
	c.Kill(4)
	require.True(t, c.Run(30*time.Minute, func() bool { return lacking(c, 3) == "" }), lacking(c, 3))
	require.Zero(t, c.Term.Picture.Tally(4).Regions)
	require.NotZero(t, ops.Ended(operator.Canceled)+ops.Ended(operator.Timeout)+ops.Ended(operator.Replaced))
}
