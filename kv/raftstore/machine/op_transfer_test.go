package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// R7 (tikv #17363): leadership goes only to a voter that could take it at once. Each reason to refuse is a time in which the region would stand still.
func TestTransfereeMustBeReady(t *testing.T) {
	for _, c := range []struct {
		why   string
		spoil func(p *peer, pr *raft.Progress)
	}{
		{"", func(*peer, *raft.Progress) {}},
		{"receiving a snapshot", func(_ *peer, pr *raft.Progress) { pr.State = raft.ProgressSnapshot }},
		{"lacks", func(_ *peer, pr *raft.Progress) { pr.Match = InitIndex - 1 }},
		{"is a learner", func(p *peer, _ *raft.Progress) { p.region.Peers[1].Role = metapb.PeerRole_Learner }},
		{"on its way out", func(p *peer, _ *raft.Progress) { p.region.Peers[1].Role = metapb.PeerRole_DemotingVoter }},
		{"no peer 12", func(p *peer, _ *raft.Progress) { p.region.Peers = p.region.Peers[:1] }},
		{"does not know yet who belongs", func(p *peer, pr *raft.Progress) {
			pr.Committed, p.node.Raft.PendingConfIndex = InitIndex-1, p.applied.Index
		}},
		{"change of peers", func(p *peer, _ *raft.Progress) { p.node.Raft.PendingConfIndex = p.applied.Index + 1 }},
		{"handed over to peer 13", func(p *peer, _ *raft.Progress) { p.node.TransferLeader(13) }},
	} {
		t.Run(c.why, func(t *testing.T) {
			g := newRig(t, threeRegion())
			g.lead()
			p := g.raft.peers[1]
			pr := p.node.Raft.Prs[12]
			pr.Committed = p.applied.Index
			c.spoil(p, pr)
			err := error(nil)
			answered := 0
			g.run(Admin{&AdminRequest{RegionID: 1, Op: TransferLeader{To: &metapb.Peer{Id: 12, StoreId: 2}}, Done: func(e error) { err, answered = e, answered+1 }}})
			require.Equal(t, 1, answered)
			if c.why == "" {
				require.NoError(t, err)
				require.Equal(t, uint64(12), p.node.Raft.LeadTransferee())
				return
			}
			require.ErrorContains(t, err, c.why)
			require.NotEqual(t, uint64(12), p.node.Raft.LeadTransferee())
		})
	}
}

// R7: while leadership is on its way nothing is proposed; writers are told whom to ask. A transferee that never answers holds the region up for an
// election timeout and no longer.
func TestTransferEndsInTime(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	p := g.raft.peers[1]
	p.node.Raft.Prs[12].Committed = p.applied.Index
	g.run(Admin{&AdminRequest{RegionID: 1, Op: TransferLeader{To: &metapb.Peer{Id: 12, StoreId: 2}}}})
	var early error
	g.run(g.put("a", 1, func(err error) { early = err }))
	require.IsType(t, &region.NotLeaderError{}, early)
	for range 2 * testConfig(1).ElectionTicks {
		g.tick()
	}
	require.Equal(t, raft.None, p.node.Raft.LeadTransferee())
	done := false
	g.run(g.put("a", 1, func(err error) { done = err == nil }))
	g.tick()
	require.True(t, done)
	require.True(t, g.has("a"))
}
