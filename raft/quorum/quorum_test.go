package quorum

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

type acks map[uint64]uint64

func (a acks) Acked(id uint64) uint64 { return a[id] }

var (
	drawVoters = rapid.SliceOfNDistinct(rapid.Uint64Range(1, 12), 0, 11, rapid.ID[uint64])
	drawAcks   = rapid.MapOf(rapid.Uint64Range(1, 12), rapid.Uint64Range(0, 6))
	drawVotes  = rapid.MapOf(rapid.Uint64Range(1, 12), rapid.Bool())
)

// naiveCommitted tries every number: the largest that more than half of the voters have reached.
func naiveCommitted(voters []uint64, a acks) uint64 {
	if len(voters) == 0 {
		return math.MaxUint64
	}
	for n := uint64(6); n > 0; n-- {
		reached := 0
		for _, id := range voters {
			if a[id] >= n {
				reached++
			}
		}
		if 2*reached > len(voters) {
			return n
		}
	}
	return 0
}

// naiveVote tries every way in which the missing votes may still be cast.
func naiveVote(voters []uint64, votes map[uint64]bool) VoteResult {
	granted, missing := 0, 0
	for _, id := range voters {
		if v, ok := votes[id]; !ok {
			missing++
		} else if v {
			granted++
		}
	}
	won, lost := 0, 0
	for extra := 0; extra <= missing; extra++ {
		if 2*(granted+extra) > len(voters) || len(voters) == 0 {
			won++
		} else {
			lost++
		}
	}
	switch {
	case lost == 0:
		return VoteWon
	case won == 0:
		return VoteLost
	}
	return VotePending
}

func TestCommittedAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out := drawVoters.Draw(t, "incoming"), drawVoters.Draw(t, "outgoing")
		a := acks(drawAcks.Draw(t, "acks"))
		require.Equal(t, naiveCommitted(in, a), NewMajority(in...).Committed(a))
		joint := JointConfig{NewMajority(in...), NewMajority(out...)}
		require.Equal(t, min(naiveCommitted(in, a), naiveCommitted(out, a)), joint.Committed(a))
	})
}

func TestVoteAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out := drawVoters.Draw(t, "incoming"), drawVoters.Draw(t, "outgoing")
		votes := drawVotes.Draw(t, "votes")
		a, b := naiveVote(in, votes), naiveVote(out, votes)
		require.Equal(t, a, NewMajority(in...).Vote(votes))
		want := VotePending
		switch {
		case a == VoteLost || b == VoteLost:
			want = VoteLost
		case a == VoteWon && b == VoteWon:
			want = VoteWon
		}
		require.Equal(t, want, JointConfig{NewMajority(in...), NewMajority(out...)}.Vote(votes))
	})
}

// Any majority before a single step meets any majority after it: what the safety of membership changes rests on.
func TestSingleStepMajoritiesMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := NewMajority(rapid.SliceOfNDistinct(rapid.Uint64Range(1, 12), 1, 9, rapid.ID[uint64]).Draw(t, "voters")...)
		id := rapid.Uint64Range(1, 12).Draw(t, "id")
		after := before.With(id)
		if before.Contains(id) && len(before) > 1 {
			after = before.Without(id)
		}
		votes := map[uint64]bool{}
		for _, v := range after.With(id) {
			votes[v] = rapid.Bool().Draw(t, "vote")
		}
		against := map[uint64]bool{}
		for v, granted := range votes {
			against[v] = !granted
		}
		require.False(t, before.Vote(votes) == VoteWon && after.Vote(against) == VoteWon)
	})
}

func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(rapid.Uint64Range(1, 12)).Draw(t, "ids")
		id := rapid.Uint64Range(1, 12).Draw(t, "id")
		c := NewMajority(ids...)
		require.True(t, slices.IsSorted(c))
		require.Equal(t, slices.Contains(ids, id), c.Contains(id))
		before := slices.Clone(c)
		require.True(t, c.With(id).Contains(id))
		require.False(t, c.Without(id).Contains(id))
		require.Equal(t, NewMajority(append(ids, id)...), c.With(id))
		require.Equal(t, before, c, "a config was changed in place")
	})
	joint := JointConfig{NewMajority(3, 1), NewMajority(2, 3)}
	require.Equal(t, []uint64{1, 2, 3}, joint.Voters())
	require.True(t, joint.Contains(2))
	require.False(t, joint.Contains(4))
	require.False(t, joint.Singleton(1))
	require.True(t, JointConfig{NewMajority(1)}.Singleton(1))
	require.True(t, JointConfig{NewMajority(1), NewMajority(1)}.Singleton(1))
	require.False(t, JointConfig{NewMajority(1), NewMajority(2)}.Singleton(1))
	require.False(t, JointConfig{NewMajority(1), NewMajority(1, 2)}.Singleton(1))
	require.Equal(t, "pending lost won", VotePending.String()+" "+VoteLost.String()+" "+VoteWon.String())
}

func TestCommittedDoesNotAllocate(t *testing.T) {
	c := NewMajority(1, 2, 3, 4, 5)
	var a Acked = acks{1: 5, 2: 4, 3: 3, 4: 2, 5: 1}
	require.Zero(t, testing.AllocsPerRun(100, func() { c.Committed(a) }))
}
