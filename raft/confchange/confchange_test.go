package confchange

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/raft/quorum"
)

func voters(ids ...uint64) quorum.JointConfig {
	return quorum.JointConfig{quorum.NewMajority(ids...)}
}

func TestApply(t *testing.T) {
	const (
		add     = eraftpb.ConfChangeType_AddNode
		remove  = eraftpb.ConfChangeType_RemoveNode
		learner = eraftpb.ConfChangeType_AddLearnerNode
	)
	for _, tt := range []struct {
		before quorum.JointConfig
		kind   eraftpb.ConfChangeType
		id     uint64
		after  quorum.JointConfig
		err    error
	}{
		{voters(1, 3), add, 2, voters(1, 2, 3), nil},
		{voters(1, 2), add, 2, voters(1, 2), nil},
		{voters(1, 2), remove, 1, voters(2), nil},
		{voters(1, 2), remove, 3, voters(1, 2), nil},
		{voters(1), remove, 1, voters(1), ErrLastVoter},
		{voters(1), add, 0, voters(1), ErrNoNode},
		{voters(1), learner, 2, voters(1), ErrUnsupported},
		{voters(1), 99, 2, voters(1), ErrUnsupported},
	} {
		after, err := Apply(tt.before, eraftpb.ConfChange{ChangeType: tt.kind, NodeId: tt.id})
		require.Equal(t, tt.err, err)
		require.Equal(t, tt.after, after)
	}
}

// R3: whatever is committed, applying it never panics, never leaves a group without voters, and changes one voter at most.
func TestApplyAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := voters(1, 2, 3)
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			cc := eraftpb.ConfChange{
				ChangeType: eraftpb.ConfChangeType(rapid.Int32Range(-1, 4).Draw(t, "type")),
				NodeId:     rapid.Uint64Range(0, 6).Draw(t, "id"),
			}
			after, _ := Apply(c, cc)
			require.NotEmpty(t, after.Voters())
			require.LessOrEqual(t, len(after.Voters())-len(c.Voters()), 1)
			require.LessOrEqual(t, len(c.Voters())-len(after.Voters()), 1)
			c = after
			require.Equal(t, c, Restore(State(c)))
		}
	})
}
