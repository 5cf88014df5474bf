package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// A follower that has asked for a snapshot takes in no entries, still acknowledges its log, so that what it is to reach can be committed, and
// takes only a snapshot that reaches the end of its log: nothing that it has acknowledged is lost by it (R12).
func TestFollowerAsksForASnapshot(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	require.False(t, rn.RequestSnapshot(), "nobody leads")
	step(t, rn, appendOf(3, 1, 1, 1, 2, 2))
	workAll(t, rn, s)
	require.False(t, rn.RequestSnapshot(), "the leader may not have the log's last entry, which is of an earlier term")
	step(t, rn, appendOf(3, 2, 3, 3, 3, 3))
	workAll(t, rn, s)
	require.True(t, rn.RequestSnapshot())
	step(t, rn, appendOf(3, 3, 5, 5, 3))
	require.EqualValues(t, 5, rn.Raft.RaftLog.LastIndex())
	answers := workAll(t, rn, s)
	require.Len(t, answers, 2, "at once, and in answer to the append")
	for _, m := range answers {
		require.False(t, m.Reject)
		require.EqualValues(t, 5, m.Index)
		require.EqualValues(t, 5, m.RequestSnapshot)
	}

	snap := func(index uint64) eraftpb.Message {
		return eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 3,
			Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
				Index: index, Term: 3, ConfState: &eraftpb.ConfState{Voters: []uint64{1, 2, 3}},
			}},
		}
	}
	step(t, rn, snap(4))
	require.Nil(t, rn.Raft.RaftLog.pendingSnapshot, "entry 5 would be lost")
	step(t, rn, snap(5))
	require.NotNil(t, rn.Raft.RaftLog.pendingSnapshot, "although the log holds as much")
	workAll(t, rn, s)
	step(t, rn, appendOf(3, 3, 5, 5, 3))
	require.EqualValues(t, 6, rn.Raft.RaftLog.LastIndex(), "everything is as before")

	// What was asked in a term is void in the next: its leader may have another log.
	require.True(t, rn.RequestSnapshot())
	step(t, rn, appendOf(4, 3, 6, 6, 4))
	require.EqualValues(t, 7, rn.Raft.RaftLog.LastIndex())
}

// A leader sends who asks a snapshot that is new enough, and one at a time; an acknowledgement of the log does not end that.
func TestLeaderAnswersWithASnapshot(t *testing.T) {
	rn, s := lead(t, nil)
	require.NoError(t, rn.Propose([]byte("3")))
	workAll(t, rn, s)
	ack(t, rn, 2, 3)
	ack(t, rn, 3, 3)
	workAll(t, rn, s)
	ask := func() (sent []uint64) {
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, From: 2, Term: 2, Index: 3, RequestSnapshot: 3})
		for _, m := range workAll(t, rn, s) {
			if m.MsgType == eraftpb.MessageType_MsgSnapshot {
				sent = append(sent, m.Snapshot.Metadata.Index)
			}
		}
		return sent
	}
	_, err := s.CreateSnapshot(2, nil, nil)
	require.NoError(t, err)
	require.Empty(t, ask(), "the one that there is does not reach so far")
	_, err = s.CreateSnapshot(3, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, ask())
	require.Equal(t, ProgressSnapshot, rn.Raft.Prs[2].State)
	require.Empty(t, ask(), "it is on its way")
	rn.ReportSnapshot(2, false)
	require.Equal(t, []uint64{3}, ask(), "it was lost")
	rn.ReportSnapshot(2, true)
	ack(t, rn, 2, 3)
	require.Equal(t, ProgressReplicate, rn.Raft.Prs[2].State)
}
