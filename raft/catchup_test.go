package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Who knows from outside that an entry is committed may say so: it is applied as if the leader had said it, once it is durable, and no more than it.
func TestCommitToWhatIsKnownFromOutside(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 1, 2, 2, 2))
	require.ErrorIs(t, rn.CommitTo(5), ErrUnavailable, "the log ends before")
	require.NoError(t, rn.CommitTo(3))
	rd := rn.Ready()
	require.Len(t, rd.Entries, 3)
	require.Empty(t, rd.CommittedEntries, "nothing is durable yet")
	require.NoError(t, s.Append(rd.Entries))
	rn.Persisted(rd.Number)
	rd = rn.Ready()
	require.Len(t, rd.CommittedEntries, 2)
	rn.Applied(3)
	require.NoError(t, rn.CommitTo(2), "nothing goes back")
	require.Equal(t, uint64(3), rn.Raft.RaftLog.Committed())

	step(t, rn, appendOf(3, 2, 4, 4)) // the next leader finds what was committed, and goes on
	workAll(t, rn, s)
	require.Equal(t, uint64(4), rn.Raft.RaftLog.Committed())
	require.Equal(t, StateFollower, rn.Raft.State)
}
