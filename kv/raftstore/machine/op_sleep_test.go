package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
)

// S21: a store notices who is silent once, and who lives in another life, for all regions.
func TestStoresWatchOverEachOther(t *testing.T) {
	cfg := testConfig(1)
	cfg.SleepTicks = 10
	region := &metapb.Region{Id: 7, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 3}, Peers: []*metapb.Peer{{Id: 1, StoreId: 1}, {Id: 2, StoreId: 2}}}
	m, err := NewStoreMachine(1, StoreState{Regions: []Restored{{Region: region, PeerID: 1}}})
	require.NoError(t, err)
	m.WatchStores(cfg)
	sign := func(life uint64) []Addressed {
		round := m.Handle([]Mail{Step{&raft_serverpb.RaftMessage{
			FromPeer: &metapb.Peer{StoreId: 2}, ToPeer: &metapb.Peer{StoreId: 1}, ExtraMsg: &raft_serverpb.ExtraMessage{Index: life},
		}}}, 0)
		return round.Mail
	}
	require.Equal(t, []Addressed{{All: true, Mail: StoreAlive{2, 40}}}, sign(40))
	require.Empty(t, sign(40), "no news")
	require.Equal(t, []Addressed{{All: true, Mail: StoreAlive{2, 41}}}, sign(41), "started again")
	var told []Addressed
	signs := 0
	for range 2 * cfg.ElectionTicks {
		round := m.Handle([]Mail{Tick{}}, 0)
		told, signs = append(told, round.Mail...), signs+len(round.Send)
	}
	require.Equal(t, []Addressed{{All: true, Mail: StoreSilent{2}}}, told, "silence is told once")
	require.GreaterOrEqual(t, signs, signsOfLife, "this store says that it lives, however silent the other is")
	require.Equal(t, []Addressed{{All: true, Mail: StoreAlive{2, 41}}}, sign(41))
}

// S21: a wish to sleep counts only if it speaks of the same log in the same term, and comes from the life that is known to be alive.
func TestLateWishesToSleepDoNotCount(t *testing.T) {
	cfg := testConfig(1)
	cfg.SleepTicks = 10
	m, err := NewRaftMachine(cfg, nil)
	require.NoError(t, err)
	p := &peer{regionID: 7, id: 1, region: &metapb.Region{Id: 7}, log: &peerLog{last: Pair{Index: 9, Term: 6}}}
	fresh := &peer{regionID: 7, id: 1, region: p.region, log: &peerLog{}}
	require.NoError(t, m.start(fresh, 0))
	p.node = fresh.node
	wish := func(terms sleepTerms) bool {
		msg := m.extra(p, &metapb.Peer{Id: 1, StoreId: 1}, raft_serverpb.ExtraMessageType_MsgHibernateRequest)
		msg.FromPeer, msg.ExtraCtx = &metapb.Peer{Id: 2, StoreId: 2}, terms.encode()
		_, ok := m.sameTerms(p, msg)
		return ok
	}
	good := sleepTerms{term: p.term(), last: 9, round: 3, life: 40}
	require.False(t, wish(good), "nothing is known of that store")
	m.handleStoreAlive(StoreAlive{2, 40})
	require.True(t, wish(good))
	for _, wrong := range []sleepTerms{
		{term: good.term + 1, last: 9, round: 3, life: 40}, {term: good.term, last: 8, round: 3, life: 40}, {term: good.term, last: 9, round: 3, life: 41},
	} {
		require.False(t, wish(wrong))
	}
	m.handleStoreSilent(StoreSilent{2})
	require.False(t, wish(good), "it is silent")
}
