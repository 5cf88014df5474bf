package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

func change(kind eraftpb.ConfChangeType, id, store uint64) command.PeerChange {
	return command.PeerChange{Type: kind, Peer: &metapb.Peer{Id: id, StoreId: store}}
}

const (
	toVoter   = eraftpb.ConfChangeType_AddNode
	toLearner = eraftpb.ConfChangeType_AddLearnerNode
	toNothing = eraftpb.ConfChangeType_RemoveNode
)

func group() *metapb.Region {
	return &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 7}, Peers: []*metapb.Peer{
		{Id: 11, StoreId: 1}, {Id: 12, StoreId: 2}, {Id: 13, StoreId: 3, Role: metapb.PeerRole_Learner},
	}}
}

// R3: what makes no sense is refused, when it is proposed and when it is applied.
func TestSenselessChangesAreRefused(t *testing.T) {
	for want, changes := range map[string][]command.PeerChange{
		"no peer":             nil,
		"already":             {change(toVoter, 11, 1)},
		"store 2 has peer":    {change(toVoter, 99, 2)},
		"is on store 1":       {change(toVoter, 11, 4)},
		"there is no peer 99": {change(toNothing, 99, 9)},
		"changed twice":       {change(toVoter, 13, 3), change(toLearner, 13, 3)},
		"make it a learner":   {change(toVoter, 13, 3), change(toNothing, 12, 2)},
		"one after the other": {change(toLearner, 20, 5), change(toLearner, 21, 6)},
		"last voter":          {change(toLearner, 11, 1), change(toLearner, 12, 2)},
		"no peer that could":  {change(toVoter, 0, 4)},
		"not known":           {change(9, 30, 4)},
	} {
		_, err := changeMembers(group(), changes)
		require.ErrorContains(t, err, want)
	}
	joint, err := changeMembers(group(), []command.PeerChange{change(toVoter, 13, 3), change(toLearner, 12, 2)})
	require.NoError(t, err)
	_, err = changeMembers(joint, []command.PeerChange{change(toVoter, 20, 4)})
	require.ErrorContains(t, err, "in the middle of a joint change", "S18")
}

// R14: the roles of the peers tell raft's configuration, also of a joint one.
func TestRolesTellTheConfiguration(t *testing.T) {
	joint, err := changeMembers(group(), []command.PeerChange{change(toVoter, 13, 3), change(toLearner, 12, 2), change(toLearner, 14, 4)})
	require.NoError(t, err)
	require.Equal(t, uint64(10), joint.RegionEpoch.ConfVer)
	require.True(t, region.IsJoint(joint))
	cs := ConfStateOf(joint)
	require.Equal(t, []uint64{11, 13}, cs.Voters)
	require.Equal(t, []uint64{11, 12}, cs.VotersOutgoing)
	require.Equal(t, []uint64{12}, cs.LearnersNext)
	require.Equal(t, []uint64{14}, cs.Learners)
	require.True(t, cs.AutoLeave)

	after := leaveJoint(joint)
	require.Equal(t, uint64(12), after.RegionEpoch.ConfVer)
	require.Equal(t, []uint64{11, 13}, ConfStateOf(after).Voters)
	require.Equal(t, []uint64{12, 14}, ConfStateOf(after).Learners)
	require.Nil(t, leaveJoint(after))
}

// R4: the leader of two voters keeps its vote, unless both halves of a joint configuration agree.
func TestTheLeaderOfTwoStays(t *testing.T) {
	for _, c := range []command.PeerChange{change(toNothing, 11, 1), change(toLearner, 11, 1)} {
		next, err := changeMembers(group(), []command.PeerChange{c})
		require.NoError(t, err)
		require.ErrorContains(t, checkLeaderStays(group(), next, 11), "transfer the leadership first")
		require.NoError(t, checkLeaderStays(group(), next, 12))
	}
	next, err := changeMembers(group(), []command.PeerChange{change(toLearner, 11, 1), change(toVoter, 13, 3)})
	require.NoError(t, err)
	require.NoError(t, checkLeaderStays(group(), next, 11))
}

// The scheduler is told of a change when the next one is welcome, which it asks for at once: what is refused it repeats only seconds later.
func TestAChangeIsReportedWhenTheNextIsWelcome(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.agree()
	ask := func(c command.PeerChange) (got *error) {
		got = new(error)
		g.run(Admin{&AdminRequest{RegionID: 1, Op: ChangePeers{[]command.PeerChange{c}}, Done: func(err error) { *got = err }}})
		return got
	}
	reported := func() bool {
		for _, a := range g.asked {
			if hb, ok := a.(RegionHeartbeat); ok && len(hb.Region.Peers) == 4 {
				return true
			}
		}
		return false
	}
	g.lazy = true
	settle := func() {
		next := g.owed[0]
		g.owed = g.owed[1:]
		g.run(next)
		g.agree()
	}
	first := ask(change(toLearner, 14, 4))
	g.agree()
	settle() // the entry is durable here, and its commit is not
	require.NoError(t, *first)
	require.Len(t, g.raft.peers[1].region.Peers, 4, "in force")
	require.False(t, reported(), "while its commit is not durable another change would be refused")
	second := ask(change(toVoter, 14, 4))
	require.ErrorContains(t, *second, "one change at a time")

	settle()
	require.True(t, reported())
	g.lazy = false
	third := ask(change(toVoter, 14, 4))
	g.agree()
	require.NoError(t, *third)
	require.Equal(t, metapb.PeerRole_Voter, g.raft.peers[1].region.Peers[3].Role)
}

// P8: a learner that the leader has not heard of lately is not made a voter where that could cost the majority; nor is a voter removed that is needed for one.
func TestOnlyTheLivingAreCountedOn(t *testing.T) {
	m, p := leading(t, false)
	limit := m.cfg.ElectionTicks
	p.region = region.Clone(p.region) // voters 2, 3 and 4, of which 4 is dead; 5 learns
	p.region.Peers = append(p.region.Peers, &metapb.Peer{Id: 5, StoreId: 5, Role: metapb.PeerRole_Learner})
	p.ticks = uint64(10 * limit)
	p.members.hear(3, p.ticks)
	refused := func(changes ...command.PeerChange) error {
		next, err := changeMembers(p.region, changes)
		require.NoError(t, err)
		return p.checkMajorityLives(next, limit)
	}
	require.ErrorContains(t, refused(change(toVoter, 5, 5)), "only 2 of 4 voters")
	require.ErrorContains(t, refused(change(toNothing, 3, 3)), "only 1 of 2 voters")
	require.ErrorContains(t, refused(change(toVoter, 5, 5), change(toLearner, 3, 3)), "only 1 of 3 voters")
	require.NoError(t, refused(change(toNothing, 4, 4)), "the dead may go")
	require.NoError(t, refused(change(toVoter, 6, 6)), "who is about to come has credit")
	require.NoError(t, refused(change(toVoter, 5, 5), change(toLearner, 4, 4)), "two of three live")
	p.members.hear(5, p.ticks-uint64(aliveFor*limit))
	require.NoError(t, refused(change(toVoter, 5, 5)))
	p.members.hear(5, p.ticks-uint64(aliveFor*limit)-1)
	require.Error(t, refused(change(toVoter, 5, 5)))
}

// However many peers came and went, those that are there are heard.
func TestManyPeersComeAndGo(t *testing.T) {
	var c memberCache
	for id := range uint64(10 * mostHeard) {
		c.hear(id, id)
		c.hear(1000, id)
	}
	require.True(t, c.lately(1000, 10*mostHeard, 1))
	require.True(t, c.lately(10*mostHeard-1, 10*mostHeard, 1))
	require.LessOrEqual(t, len(c.heard), mostHeard)
}
