package machine

import (
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
)

// lastReport is the latest that was said of region 1.
func (g *rig) lastReport() (n int, last RegionHeartbeat) {
	for _, call := range g.asked {
		if hb, ok := call.(RegionHeartbeat); ok {
			n, last = n+1, hb
		}
	}
	return n, last
}

// silentTick lets time pass in which nothing reaches the peer on store 3.
func (g *rig) silentTick() {
	g.now += 10
	g.run(Tick{})
	for len(g.sent) > 0 {
		kept := slices.DeleteFunc(g.sent, func(m *raft_serverpb.RaftMessage) bool { return m.ToPeer.StoreId == 3 })
		if g.sent = kept; len(kept) > 0 {
			g.agree()
		}
	}
}

// P8: a lost peer is reported when it is noticed, not with the next regular report, which may be a minute away; so is its return. In between nothing is said again.
func TestSilenceIsReportedAtOnce(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	before, report := g.lastReport()
	require.Equal(t, 1, before)
	require.Empty(t, report.Down)
	silent := downAfter*g.raft.cfg.ElectionTicks + 3
	for range silent {
		g.silentTick()
	}
	n, report := g.lastReport()
	require.Equal(t, before+1, n)
	require.Len(t, report.Down, 1)
	require.Equal(t, uint64(13), report.Down[0].Peer.Id)
	for range silent {
		g.silentTick()
	}
	n, _ = g.lastReport()
	require.Equal(t, before+1, n, "it is down as before")
	for range 2 * g.raft.cfg.HeartbeatTicks {
		g.tick()
	}
	n, report = g.lastReport()
	require.Equal(t, before+2, n)
	require.Empty(t, report.Down)
}
