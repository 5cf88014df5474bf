package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

func snapshotAt(index, term uint64, voters ...uint64) *eraftpb.Snapshot {
	return &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
		Index: index, Term: term, ConfState: &eraftpb.ConfState{Voters: voters},
	}}
}

func TestRestoreSnapshot2C(t *testing.T) {
	r := newTestRaft(1, idsUpTo(2), 10, 1, NewMemoryStorage())
	r.handleSnapshot(eraftpb.Message{Snapshot: snapshotAt(11, 11, 1, 2, 3)})
	require.EqualValues(t, 11, r.RaftLog.LastIndex())
	require.EqualValues(t, 11, mustTerm(r.RaftLog.Term(11)))
	require.Equal(t, []uint64{1, 2, 3}, nodes(r))
}

// R12: an older snapshot rolls nothing back.
func TestRestoreIgnoreSnapshot2C(t *testing.T) {
	r := newTestRaft(1, idsUpTo(2), 10, 1, storageWith(1, 1, 1))
	r.RaftLog.committed = 3
	r.handleSnapshot(eraftpb.Message{Snapshot: snapshotAt(1, 1, 1, 2)})
	require.EqualValues(t, 3, r.RaftLog.committed)
	require.EqualValues(t, 3, r.RaftLog.LastIndex())
	require.Nil(t, r.RaftLog.pendingSnapshot)
}

// A follower that needs entries from before the leader's log receives the snapshot.
func TestProvideSnap2C(t *testing.T) {
	r := newTestRaft(1, []uint64{1}, 10, 1, NewMemoryStorage())
	r.handleSnapshot(eraftpb.Message{Snapshot: snapshotAt(11, 11, 1, 2)})
	r.becomeCandidate()
	r.becomeLeader()
	r.takeMessages()

	r.Prs[2].Next = 10
	require.NoError(t, r.Step(proposal(1, "somedata")))
	msgs := r.takeMessages()
	require.Len(t, msgs, 1)
	require.Equal(t, eraftpb.MessageType_MsgSnapshot, msgs[0].MsgType)
	require.EqualValues(t, 11, msgs[0].Snapshot.Metadata.Index)
}

func TestRestoreFromSnapMsg2C(t *testing.T) {
	r := newTestRaft(2, idsUpTo(2), 10, 1, NewMemoryStorage())
	require.NoError(t, r.Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgSnapshot, From: 1, Term: 2, Snapshot: snapshotAt(11, 11, 1, 2),
	}))
	require.EqualValues(t, 1, r.Lead)
	require.EqualValues(t, 11, r.RaftLog.committed)
}

// The members become those of the snapshot: new ones are known, former ones are not.
func TestRestoreFromSnapWithOverlapingPeersMsg2C(t *testing.T) {
	r := newTestRaft(3, idsUpTo(3), 10, 1, NewMemoryStorage())
	require.NoError(t, r.Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgSnapshot, From: 1, Term: 2, Snapshot: snapshotAt(11, 11, 2, 3, 4),
	}))
	require.EqualValues(t, 1, r.Lead)
	require.Equal(t, []uint64{2, 3, 4}, nodes(r))
	require.Len(t, r.Prs, 3)
	for _, id := range nodes(r) {
		require.NotNil(t, r.Prs[id])
	}
}

// compact makes a snapshot of everything that a node has applied and forgets the log up to there.
func (nw *network) compact(t *testing.T, id uint64) {
	t.Helper()
	r, s := nw.node(id), nw.disks[id]
	store(t, r, s)
	_, err := s.CreateSnapshot(r.RaftLog.applied, &eraftpb.ConfState{Voters: nodes(r)}, nil)
	require.NoError(t, err)
	require.NoError(t, s.Compact(r.RaftLog.applied))
	r.RaftLog.maybeCompact()
	require.Empty(t, r.RaftLog.allEntries())
}

func TestSlowNodeRestore2C(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	nw.campaign(1)
	nw.isolate(3)
	for range 100 {
		nw.propose(1, "")
	}
	nw.compact(t, 1)
	nw.heal()
	nw.beat(1)
	nw.propose(1, "")
	nw.propose(1, "")
	slow, lead := nw.node(3).RaftLog, nw.node(1).RaftLog
	require.NotNil(t, slow.pendingSnapshot)
	require.Equal(t, lead.committed, slow.committed)
	require.EqualValues(t, 103, slow.committed)
}
