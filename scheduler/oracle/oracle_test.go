package oracle

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const window = 3 * time.Second

var (
	start = time.Unix(1000, 0)
	lease = start.Add(time.Hour)
)

// grant asks until something other than SaveFirst comes out, persisting into saved.
func grant(t require.TestingT, o *Timestamps, saved *int64, count uint32, wall int64) TimestampGrant {
	for range 3 {
		g := o.Next(count, wall, start, lease)
		if g.Verdict != SaveFirst {
			return g
		}
		require.Greater(t, g.Save, *saved, "a bound never goes back")
		*saved = g.Save
		o.Saved(g.Save)
	}
	require.FailNow(t, "the oracle asks for ever larger bounds without serving")
	return TimestampGrant{}
}

func compose(g TimestampGrant) int64 { return g.Physical<<18 | g.Logical }

func TestTimestampWindowIsSavedBeforeServing(t *testing.T) { // P1
	o := NewTimestamps(0, 5000, window)
	g := o.Next(1, 5000, start, lease)
	require.Equal(t, TimestampGrant{Verdict: SaveFirst, Save: 8000}, g)
	require.Equal(t, SaveFirst, o.Next(1, 5000, start, lease).Verdict, "an unsaved bound serves nothing")
	o.Saved(8000)
	g = o.Next(3, 5000, start, lease)
	require.Equal(t, TimestampGrant{Verdict: Granted, Physical: 5000, Logical: 3}, g)
	require.Equal(t, TimestampGrant{Verdict: Granted, Physical: 7999, Logical: 1}, o.Next(1, 7999, start, lease))
	require.Equal(t, SaveFirst, o.Next(1, 8000, start, lease).Verdict, "the bound itself is the next leader's")
}

func TestTimestampStartsAboveSavedBound(t *testing.T) { // P1
	saved := int64(9000)
	o := NewTimestamps(saved, 5000, window)
	g := grant(t, o, &saved, 1, 5000)
	require.Equal(t, int64(9001), g.Physical)
}

func TestTimestampNotLeaderOnceLeaseEnds(t *testing.T) { // P1
	o := NewTimestamps(0, 5000, window)
	o.Saved(8000)
	require.Equal(t, Granted, o.Next(1, 5000, lease.Add(-1), lease).Verdict)
	require.Equal(t, NotLeader, o.Next(1, 5000, lease, lease).Verdict)
	require.Equal(t, NotLeader, o.Next(1, 5000, lease.Add(time.Second), lease).Verdict)
}

func TestTimestampLogicalOverflowMovesPhysical(t *testing.T) { // P1
	saved := int64(0)
	o := NewTimestamps(0, 5000, window)
	last := grant(t, o, &saved, MaxLogical-1, 5000)
	require.Equal(t, int64(MaxLogical-1), last.Logical)
	next := grant(t, o, &saved, 1, 5000)
	require.Equal(t, int64(5001), next.Physical)
	require.Equal(t, int64(1), next.Logical)
}

func TestTimestampCountLimits(t *testing.T) {
	o := NewTimestamps(0, 5000, window)
	require.Equal(t, TooMany, o.Next(0, 5000, start, lease).Verdict)
	require.Equal(t, TooMany, o.Next(MaxLogical, 5000, start, lease).Verdict)
}

func TestTimestampRenewKeepsAhead(t *testing.T) {
	o := NewTimestamps(0, 5000, window)
	bound := o.Renew(5000)
	require.Equal(t, int64(8000), bound)
	o.Saved(bound)
	require.Zero(t, o.Renew(6000))
	require.Equal(t, int64(9500), o.Renew(6500))
	o.Saved(4000) // a late report of an older bound changes nothing
	require.Zero(t, o.Renew(6000))
}

// P1: timestamps strictly increase through any number of failovers, clock steps of an hour either way, lost and late
// writes of the bound.
func TestTimestampsStrictlyIncrease(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		wall := int64(10_000_000)
		durable := int64(0)
		var last int64
		o := NewTimestamps(durable, wall, window)
		for range rapid.IntRange(1, 400).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"ask", "ask", "ask", "step", "fail over", "renew"}).Draw(r, "what") {
			case "ask":
				count := rapid.IntRange(1, MaxLogical-1).Draw(r, "count")
				g := o.Next(uint32(count), wall, start, lease)
				if g.Verdict == SaveFirst {
					switch rapid.IntRange(0, 2).Draw(r, "write") {
					case 0: // durable and known
						durable = g.Save
						o.Saved(g.Save)
					case 1: // durable, but the writer never learns
						durable = g.Save
					}
					continue
				}
				require.Equal(r, Granted, g.Verdict)
				require.Less(r, g.Physical, durable, "what is served lies below what is durable")
				require.Less(r, g.Logical, int64(MaxLogical))
				require.GreaterOrEqual(r, g.Logical, int64(count), "a batch lies within one physical part")
				require.Greater(r, compose(g)-int64(count)+1, last, "the batch's first is above the last batch")
				last = compose(g)
			case "step":
				wall += rapid.Int64Range(-3_600_000, 3_600_000).Draw(r, "clock")
			case "fail over":
				o = NewTimestamps(durable, wall, window)
			case "renew":
				if bound := o.Renew(wall); bound > 0 {
					durable = bound
					o.Saved(bound)
				}
			}
		}
	})
}

func TestID(t *testing.T) {
	a := NewIDs(0, 1000)
	require.Equal(t, IDGrant{Verdict: SaveFirst, Save: 1000}, a.Next(1, start, lease))
	a.Saved(1000)
	for want := uint64(1); want <= 1000; want++ {
		require.Equal(t, IDGrant{Verdict: Granted, First: want, Last: want}, a.Next(1, start, lease))
	}
	require.Equal(t, IDGrant{Verdict: SaveFirst, Save: 2000}, a.Next(1, start, lease))
	require.Equal(t, NotLeader, a.Next(1, lease, lease).Verdict)
	require.Equal(t, TooMany, a.Next(0, start, lease).Verdict)
	require.Equal(t, TooMany, a.Next(maxIDs+1, start, lease).Verdict)
}

// P2: ids are unique and increasing through failovers in the middle of an allocation.
func TestIDsIncreaseOverFailovers(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var durable, last uint64
		a := NewIDs(durable, 10)
		for range rapid.IntRange(1, 300).Draw(r, "steps") {
			if rapid.IntRange(0, 9).Draw(r, "what") == 0 {
				a = NewIDs(durable, 10)
				continue
			}
			g := a.Next(uint64(rapid.IntRange(1, 25).Draw(r, "count")), start, lease)
			if g.Verdict == SaveFirst {
				if rapid.Bool().Draw(r, "durable") {
					durable = max(durable, g.Save)
					if rapid.Bool().Draw(r, "known") {
						a.Saved(g.Save)
					}
				}
				continue
			}
			require.Greater(r, g.First, last)
			require.GreaterOrEqual(r, g.Last, g.First)
			require.LessOrEqual(r, g.Last, durable)
			last = g.Last
		}
	})
}
