package machine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What a leader's region is told to hold, and what is written since, makes it be measured exactly; keys that come back make it be split, and are tried again
// when the first attempt comes to nothing.
func TestWritesAreCounted(t *testing.T) {
	g := newRig(t, threeRegion())
	g.raft.cfg.Split = SplitLimits{MaxSize: 100, SplitSize: 50, MaxKeys: 1000, SplitKeys: 500, Diff: 10, Batch: 3, CheckTicks: 2}
	g.lead()
	tasks := func() (found []MeasureRegion) {
		for _, round := range g.rounds {
			for _, task := range round.Tasks {
				if m, ok := task.(MeasureRegion); ok {
					found = append(found, m)
				}
			}
		}
		g.rounds = nil
		return found
	}
	for len(tasks()) == 0 {
		g.tick()
	}
	g.run(Measured{RegionID: 1, PeerID: 11, Version: 1, Size: 95, Count: 10})
	g.asked = nil
	for range 4 {
		require.Empty(t, tasks(), "not enough was written")
		g.run(g.put("ke", 1, ignore)) // three bytes
		g.agree()
	}
	found := tasks()
	require.Len(t, found, 1)
	require.True(t, found[0].Exact)
	ask := AskSplit{Region: g.raft.peers[1].region, Count: 1}
	g.run(Measured{RegionID: 1, PeerID: 11, Version: 1, Size: 107, Count: 14, Keys: [][]byte{[]byte("kd")}})
	require.Contains(t, g.asked, SchedulerCall(ask))
	g.asked = nil
	g.run(SplitIDs{RegionID: 1, Version: 1}) // the scheduler has none to give
	for range 4 {
		g.tick()
	}
	require.Contains(t, g.asked, SchedulerCall(ask), "once more")
}
