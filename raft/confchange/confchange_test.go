package confchange

import (
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/raft/quorum"
)

const (
	add     = eraftpb.ConfChangeType_AddNode
	remove  = eraftpb.ConfChangeType_RemoveNode
	learner = eraftpb.ConfChangeType_AddLearnerNode

	auto     = eraftpb.ConfChangeTransition_Auto
	implicit = eraftpb.ConfChangeTransition_Implicit
	explicit = eraftpb.ConfChangeTransition_Explicit
)

func voters(ids ...uint64) Config {
	return Config{Voters: quorum.JointConfig{quorum.NewMajority(ids...)}}
}

func one(kind eraftpb.ConfChangeType, id uint64) *eraftpb.ConfChangeSingle {
	return &eraftpb.ConfChangeSingle{ChangeType: kind, NodeId: id}
}

func change(how eraftpb.ConfChangeTransition, changes ...*eraftpb.ConfChangeSingle) eraftpb.ConfChangeV2 {
	return eraftpb.ConfChangeV2{Transition: how, Changes: changes}
}

func TestSimpleChanges(t *testing.T) {
	for _, tt := range []struct {
		before string
		kind   eraftpb.ConfChangeType
		id     uint64
		after  string
		err    error
	}{
		{"voters=[1 3]", add, 2, "voters=[1 2 3]", nil},
		{"voters=[1 2]", add, 2, "voters=[1 2]", nil},
		{"voters=[1 2]", remove, 1, "voters=[2]", nil},
		{"voters=[1 2]", remove, 3, "voters=[1 2]", nil},
		{"voters=[1]", remove, 1, "voters=[1]", ErrLastVoter},
		{"voters=[1]", learner, 1, "voters=[1]", ErrLastVoter},
		{"voters=[1]", add, 0, "voters=[1]", ErrNoNode},
		{"voters=[1]", 99, 2, "voters=[1]", ErrUnknownType},
		{"voters=[1]", learner, 2, "voters=[1] learners=[2]", nil},
		{"voters=[1] learners=[2]", learner, 2, "voters=[1] learners=[2]", nil},
		{"voters=[1] learners=[2 3]", add, 2, "voters=[1 2] learners=[3]", nil},
		{"voters=[1] learners=[2 3]", remove, 2, "voters=[1] learners=[3]", nil},
		{"voters=[1] learners=[2]", remove, 1, "voters=[1] learners=[2]", ErrLastVoter},
		{"voters=[1 2]", learner, 2, "voters=[1] learners=[2]", nil},
	} {
		before := parse(t, tt.before)
		after, err := Apply(before, FromV1(eraftpb.ConfChange{ChangeType: tt.kind, NodeId: tt.id}))
		require.Equal(t, tt.err, err)
		require.Equal(t, tt.after, after.String())
		require.Equal(t, tt.before, before.String(), "a config was changed in place")
	}
}

// parse makes the configuration of which the string is written.
func parse(t *testing.T, s string) Config {
	for _, c := range []Config{
		voters(1), voters(1, 2), voters(1, 3),
		{Voters: voters(1).Voters, Learners: Set{2}},
		{Voters: voters(1).Voters, Learners: Set{2, 3}},
	} {
		if c.String() == s {
			return c
		}
	}
	require.Fail(t, "no such configuration", s)
	return Config{}
}

// A change of several nodes goes in and comes out again; in between nothing else is legal.
func TestJoint(t *testing.T) {
	for _, tt := range []struct {
		cc             eraftpb.ConfChangeV2
		joint, settled string
	}{
		{
			change(auto, one(add, 4), one(remove, 3)),
			"voters=[1 2 4] outgoing=[1 2 3] auto-leave", "voters=[1 2 4]",
		},
		{
			change(implicit, one(learner, 3)),
			"voters=[1 2] outgoing=[1 2 3] learners-next=[3] auto-leave", "voters=[1 2] learners=[3]",
		},
		{
			change(explicit, one(add, 4), one(add, 5), one(remove, 1), one(learner, 2), one(learner, 6)),
			"voters=[3 4 5] outgoing=[1 2 3] learners=[6] learners-next=[2]", "voters=[3 4 5] learners=[2 6]",
		},
		{change(explicit, one(add, 3)), "voters=[1 2 3] outgoing=[1 2 3]", "voters=[1 2 3]"},
	} {
		before := voters(1, 2, 3)
		in, err := Apply(before, tt.cc)
		require.NoError(t, err)
		require.Equal(t, tt.joint, in.String())
		require.True(t, in.Joint())
		for _, cc := range []eraftpb.ConfChangeV2{tt.cc, change(auto, one(add, 7))} {
			after, err := Apply(in, cc)
			require.Equal(t, ErrJoint, err)
			require.Equal(t, in, after)
		}
		out, err := Apply(in, eraftpb.ConfChangeV2{Context: []byte("mine")})
		require.NoError(t, err)
		require.Equal(t, tt.settled, out.String())
		require.Equal(t, out, in.Settled())
		require.Equal(t, before, voters(1, 2, 3))
	}
}

func TestIllegalChanges(t *testing.T) {
	before := voters(1, 2)
	for _, tt := range []struct {
		cc  eraftpb.ConfChangeV2
		err error
	}{
		{change(auto), ErrNotJoint},
		{change(explicit), ErrNoNode},
		{change(implicit), ErrNoNode},
		{change(auto, one(add, 3), one(remove, 3)), ErrRepeatedNode},
		{change(auto, one(add, 3), one(add, 0)), ErrNoNode},
		{change(auto, one(add, 3), nil), ErrNoNode},
		{change(auto, one(remove, 1), one(remove, 2)), ErrLastVoter},
		{change(auto, one(remove, 1), one(learner, 2)), ErrLastVoter},
		{change(auto, one(add, 3), one(7, 4)), ErrUnknownType},
	} {
		after, err := Apply(before, tt.cc)
		require.Equal(t, tt.err, err, tt.cc.String())
		require.Equal(t, voters(1, 2), after)
	}
	// A node that belongs to no group yet has nothing to be joint with.
	_, err := Apply(Config{}, change(auto, one(add, 1), one(add, 2)))
	require.Equal(t, ErrLastVoter, err)
	after, err := Apply(Config{}, change(auto, one(add, 1)))
	require.NoError(t, err)
	require.Equal(t, voters(1), after)
}

func TestRestoreRefusesTheImpossible(t *testing.T) {
	for _, tt := range []struct {
		cs   eraftpb.ConfState
		want string
	}{
		{eraftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{2}}, "node 2 is voter and learner"},
		{eraftpb.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{2}, Learners: []uint64{2}}, "node 2 is voter and learner"},
		{eraftpb.ConfState{Voters: []uint64{1}, LearnersNext: []uint64{2}}, "node 2 cannot become a learner"},
		{eraftpb.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{1}, LearnersNext: []uint64{1}}, "node 1 cannot become a learner"},
		{eraftpb.ConfState{Learners: []uint64{1}}, "there is no voter"},
		{eraftpb.ConfState{VotersOutgoing: []uint64{1}}, "there is no voter"},
		{eraftpb.ConfState{Voters: []uint64{0, 1}}, "0 is no node"},
		{eraftpb.ConfState{Voters: []uint64{1}, AutoLeave: true}, "not joint"},
	} {
		_, err := Restore(&tt.cs)
		require.ErrorContains(t, err, tt.want)
	}
	c, err := Restore(nil)
	require.NoError(t, err)
	require.Empty(t, c.Members())
}

var drawChange = rapid.Custom(func(t *rapid.T) eraftpb.ConfChangeV2 {
	cc := eraftpb.ConfChangeV2{Transition: eraftpb.ConfChangeTransition(rapid.Int32Range(0, 2).Draw(t, "transition"))}
	for range rapid.IntRange(0, 4).Draw(t, "count") {
		cc.Changes = append(cc.Changes, one(
			eraftpb.ConfChangeType(rapid.Int32Range(-1, 3).Draw(t, "type")), rapid.Uint64Range(0, 7).Draw(t, "id"),
		))
	}
	return cc
})

// R3, R14: whatever is committed, applying it never panics and never leaves a group without voters; every configuration that
// can be reached is sound, survives State and Restore, and its majorities meet those of the one before.
func TestApplyAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := voters(1, 2, 3)
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			cc := drawChange.Draw(t, "change")
			if rapid.IntRange(0, 2).Draw(t, "leave") == 0 {
				cc = eraftpb.ConfChangeV2{}
			}
			before := c.String()
			after, err := Apply(c, cc)
			require.Equal(t, before, c.String(), "a config was changed in place")
			if err != nil {
				require.Equal(t, c, after)
				continue
			}
			requireSound(t, c, after, cc)
			c = after
		}
	})
}

func requireSound(t *rapid.T, before, after Config, cc eraftpb.ConfChangeV2) {
	require.NoError(t, after.check())
	require.NotEmpty(t, after.Voters[0])
	back, err := Restore(after.State())
	require.NoError(t, err)
	require.Equal(t, after, back)

	require.True(t, slices.IsSorted(after.Members()))
	for _, id := range after.Members() {
		require.True(t, after.Contains(id))
	}
	_, enters := Enters(cc)
	require.Equal(t, enters, after.Joint() && !before.Joint())
	require.Equal(t, Leaves(cc), before.Joint() && !after.Joint())
	if enters {
		require.Equal(t, before.Voters[0], after.Voters[1])
	}
	requireMajoritiesMeet(t, before.Voters, after.Voters)

	// Each node has become what was asked for, once all is settled; nobody else has changed.
	settled := after.Settled()
	for _, change := range cc.Changes {
		require.Equal(t, change.ChangeType == add, settled.Voters.Contains(change.NodeId))
		require.Equal(t, change.ChangeType == learner, settled.Learners.Contains(change.NodeId))
	}
	for id := uint64(1); id <= 7; id++ {
		named := slices.ContainsFunc(cc.Changes, func(one *eraftpb.ConfChangeSingle) bool { return one.NodeId == id })
		if !named && !before.Joint() {
			require.Equal(t, before.Voters.Contains(id), settled.Voters.Contains(id))
			require.Equal(t, before.Learners.Contains(id), settled.Learners.Contains(id))
		}
	}
}

// requireMajoritiesMeet draws votes that elect one candidate before the change and finds that the others elect none after it.
func requireMajoritiesMeet(t *rapid.T, before, after quorum.JointConfig) {
	votes, against := map[uint64]bool{}, map[uint64]bool{}
	for _, id := range slices.Concat(before.Voters(), after.Voters()) {
		votes[id] = rapid.Bool().Draw(t, "vote")
		against[id] = !votes[id]
	}
	require.False(t, before.Vote(votes) == quorum.VoteWon && after.Vote(against) == quorum.VoteWon)
}
