package recovery

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

func shape(id, confVer uint64, roles ...metapb.PeerRole) *metapb.Region {
	r := &metapb.Region{Id: id, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: confVer}}
	for i, role := range roles {
		store := uint64(i + 1)
		r.Peers = append(r.Peers, &metapb.Peer{Id: id*10 + store, StoreId: store, Role: role})
	}
	return r
}

func on(store uint64, r *metapb.Region, term, index uint64) Replica {
	return Replica{Store: store, Peer: r.Id*10 + store, Region: r, LastTerm: term, LastIndex: index, Committed: index - 1}
}

const (
	voter    = metapb.PeerRole_Voter
	learner  = metapb.PeerRole_Learner
	incoming = metapb.PeerRole_IncomingVoter
	demoting = metapb.PeerRole_DemotingVoter
)

func TestThePlanNamesWhoCannotElect(t *testing.T) {
	three := shape(1, 5, voter, voter, voter)
	plan := Make([]uint64{1, 2}, []Replica{on(3, three, 6, 9)}, []uint64{1})
	require.Len(t, plan.Rescues, 1)
	require.Equal(t, Order{Region: 1, Store: 3, Peer: 13, Seen: 5, Next: 1005}, plan.Rescues[0].Order)

	require.Empty(t, Make([]uint64{1}, []Replica{on(2, three, 6, 9), on(3, three, 6, 9)}, nil).Rescues, "two of three")
	require.Equal(t, []uint64{7}, Make([]uint64{1}, nil, []uint64{7}).Hopeless)
	require.Len(t, Make(nil, []Replica{on(2, shape(1, 5, voter, learner), 6, 9)}, nil).Rescues, 1, "a learner elects nobody")
	joint := shape(1, 5, demoting, voter, incoming, incoming)
	require.Len(t, Make(nil, []Replica{on(3, joint, 6, 9), on(4, joint, 6, 9)}, nil).Rescues, 1, "the old half has a voice too (R14)")
}

// A peer that has applied its own removal, and waits for the others to know, could not be made the only member, whatever the length of its log.
func TestTheRemovedIsNoSurvivor(t *testing.T) {
	before, now := shape(1, 5, voter, voter, voter, voter), shape(1, 6, voter, voter, voter)
	plan := Make([]uint64{1, 2}, []Replica{on(3, before, 6, 90), on(4, now, 6, 91)}, nil)
	require.Equal(t, uint64(13), plan.Rescues[0].Order.Peer)
	require.Len(t, plan.Rescues[0].Survivors, 1)
	require.Equal(t, []uint64{1}, Make([]uint64{1, 2, 3}, []Replica{on(4, now, 6, 91)}, []uint64{1}).Hopeless)
}

func TestTheLongestLogIsTheBase(t *testing.T) {
	old, now := shape(1, 5, voter, voter, voter, voter, voter), shape(1, 6, voter, voter, voter, voter, voter)
	plan := Make([]uint64{1, 2, 3}, []Replica{on(4, now, 6, 90), on(5, old, 7, 8)}, nil)
	require.Equal(t, Order{Region: 1, Store: 5, Peer: 15, Seen: 5, Next: 1006}, plan.Rescues[0].Order, "the later term wins, and the epoch passes all")
	require.Len(t, plan.Rescues[0].Survivors, 2)
	require.Contains(t, plan.Rescues[0].MayLose, "after entry 8 of term 7")
}
