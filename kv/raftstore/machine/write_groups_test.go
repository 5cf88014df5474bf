package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

// manyRegions is a machine that leads n regions, alone in each.
func manyRegions(t *testing.T, n int) *RaftMachine {
	at := Pair{InitIndex, InitTerm}
	var found []Restored
	for id := uint64(1); id <= uint64(n); id++ {
		r := &metapb.Region{Id: id, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 100 + id, StoreId: 1}}}
		found = append(found, Restored{Region: r, PeerID: 100 + id, Apply: ApplyState(at, at), Raft: BirthState(nil)})
	}
	m, err := NewRaftMachine(testConfig(1), found)
	require.NoError(t, err)
	for now := Instant(1); now < 100; now++ {
		settle(m, m.Handle([]Mail{Tick{}}, now), now)
	}
	for _, p := range m.peers {
		require.True(t, p.isLeader() && p.applied.Term == p.term())
	}
	return m
}

func writeTo(ids ...uint64) (mail []Mail) {
	for _, id := range ids {
		pr := proposal(0, func(error) {})
		pr.RegionID = id
		mail = append(mail, Propose{pr})
	}
	return mail
}

func from(lo, hi uint64) (ids []uint64) {
	for ; lo <= hi; lo++ {
		ids = append(ids, lo)
	}
	return ids
}

func persisted(round Round) (mail []Mail) {
	for _, w := range round.Write {
		mail = append(mail, Persisted{w.RegionID, w.PeerID, w.Number})
	}
	return mail
}

// crowded is a machine from which a group of crowd writes has set out at 1001, to regions beyond the first crowd, and the round of it; a write to
// the last region waits for the next. The group before took 10.
func crowded(t *testing.T) (*RaftMachine, Round) {
	m := manyRegions(t, 2*crowd+1)
	first := m.Handle(writeTo(from(1, crowd)...), 1000)
	require.Len(t, first.Write, crowd, "few writes set out at once")
	m.groups.took = 10
	group := m.Handle(writeTo(from(crowd+1, 2*crowd)...), 1001)
	require.Len(t, group.Write, crowd, "no group is on its way")
	settle(m, first, 1002)
	require.Equal(t, crowd, m.groups.onWay)
	require.Equal(t, crowd, m.groups.left)
	next := m.Handle(writeTo(2*crowd+1), 1002)
	require.Empty(t, next.Write, "the next group gathers while one is on its way")
	require.Equal(t, Instant(1021), next.Wake, "or takes twice as long as the one before")
	return m, group
}

func TestWritesOfManyRegionsSetOutTogether(t *testing.T) {
	m, group := crowded(t)
	round := m.Handle(persisted(group), 1013)
	require.Empty(t, round.Write, "those who were answered are expected")
	require.Equal(t, Instant(1037), round.Wake, "for twice as long as the last group took")
	require.Empty(t, m.Handle(writeTo(from(1, crowd-1)...), 1014).Write)
	round = m.Handle(writeTo(crowd), 1015)
	require.Len(t, round.Write, crowd+1, "as many as were expected")
	require.Zero(t, round.Wake)
	require.Empty(t, m.groups.held)
}

func TestExpectedWritesAreNotWaitedForForEver(t *testing.T) {
	m, group := crowded(t)
	require.Empty(t, m.Handle(persisted(group), 1013).Write)
	require.Empty(t, m.Handle(nil, 1036).Write)
	round := m.Handle(nil, 1037)
	require.Len(t, round.Write, 1, "nobody else came")
	settle(m, round, 1038)
	require.Len(t, m.Handle(writeTo(1), 1039).Write, 1, "there are few now: nobody waits")
	require.Len(t, m.Handle(writeTo(2), 1040).Write, 1)
}

// Another store's entries are written at once, and a group goes with them if its time has nearly come.
func TestAGroupSetsOutWithAnotherStores(t *testing.T) {
	m, group := crowded(t)
	const other = 100
	at := Pair{InitIndex, InitTerm}
	r := &metapb.Region{
		Id: other, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 200, StoreId: 1}, {Id: 201, StoreId: 201}},
	}
	p, err := m.restore(Restored{Region: r, PeerID: 200, Apply: ApplyState(at, at), Raft: BirthState(nil)})
	require.NoError(t, err)
	m.add(p)
	append1 := message(other, 201, 200, eraftpb.MessageType_MsgAppend, 1)
	append1.Message.Index, append1.Message.LogTerm = InitIndex, InitTerm
	append1.Message.Entries = []*eraftpb.Entry{{Index: InitIndex + 1, Term: 6}}
	entriesCome := func(now Instant) (written int) { return len(m.Handle([]Mail{Step{append1}}, now).Write) }

	require.Equal(t, 1, entriesCome(1010), "a group is on its way: no other sets out")
	require.Empty(t, m.Handle(persisted(group), 1013).Write)
	require.Equal(t, crowd+1, m.groups.expected)
	require.Empty(t, m.Handle(writeTo(1), 1014).Write)
	require.Equal(t, 1, entriesCome(1015), "too few wait")
	require.Empty(t, m.Handle(writeTo(2), 1016).Write, "what came before does not count")
	require.Equal(t, 3+1, entriesCome(1017))
	require.Empty(t, m.groups.held)
}

func TestRegionWithoutQuorumDoesNotHoldUpTheOthers(t *testing.T) {
	m, group := crowded(t)
	require.Empty(t, m.Handle(persisted(group)[1:], 1013).Write, "one of the group is never decided")
	require.Empty(t, m.Handle(nil, 1020).Write)
	require.Len(t, m.Handle(nil, 1021).Write, 1)
	require.Equal(t, Instant(20), m.groups.took, "it takes that long at least")
}

// Writes that end otherwise are on their way no more, and a peer that is held may have nothing to write when its group sets out.
func TestGroupsForgetWhatIsAbandoned(t *testing.T) {
	m, _ := crowded(t)
	var round Round
	m.round = &round
	for id := uint64(1); id <= 2*crowd+1; id++ {
		m.abandonWrites(m.peers[id], m.peers[id].notLeader())
	}
	m.round = nil
	require.Len(t, round.Reply, crowd+1)
	require.Zero(t, m.groups.onWay)
	require.Zero(t, m.groups.left)
	require.Empty(t, m.Handle(nil, 1100).Write)
	require.Empty(t, m.groups.held)
}
