package machine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// A leader that is told that its data is damaged serves nobody from then on, and tells people once.
func TestADamagedPeerServesNobody(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.rounds, g.sent = nil, nil
	damage := Damaged{RegionID: 1, PeerID: 11, Reason: "checksum mismatch"}
	g.run(Damaged{RegionID: 1, PeerID: 10, Reason: "of an earlier peer"})
	require.NoError(t, g.views[1].CheckPeer(1, 11, false))

	g.run(damage, damage)
	reports := 0
	for _, round := range g.rounds {
		for _, task := range round.Tasks {
			if _, ok := task.(ReportDamage); ok {
				reports++
			}
		}
	}
	require.Equal(t, 1, reports)
	var refused *region.DamagedError
	require.ErrorAs(t, g.views[1].CheckPeer(1, 11, true), &refused)
	require.Nil(t, refused.Leader, "it must not send clients to itself")
	err := error(nil)
	g.run(g.put("k", 1, func(e error) { err = e }))
	require.ErrorAs(t, err, &refused)
	g.run(Read{&ReadRequest{RegionID: 1, PeerID: 11, Version: 1, Replica: true, Grant: func(_ ReadGrant, e error) { err = e }}})
	require.ErrorAs(t, err, &refused)
	g.run(Inspect{RegionID: 1, Tell: func(r *PeerReport) { require.Equal(t, damage.Reason, r.Damaged) }})
}
