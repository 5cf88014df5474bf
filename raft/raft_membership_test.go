package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

func TestAddNode3A(t *testing.T) {
	r := newTestRaft(1, []uint64{1}, 10, 1, NewMemoryStorage())
	r.addNode(2)
	require.Equal(t, []uint64{1, 2}, nodes(r))
	r.addNode(2)
	require.Equal(t, []uint64{1, 2}, nodes(r))
}

func TestRemoveNode3A(t *testing.T) {
	r := newTestRaft(1, idsUpTo(2), 10, 1, NewMemoryStorage())
	r.removeNode(2)
	require.Equal(t, []uint64{1}, nodes(r))
	r.removeNode(1)
	require.Equal(t, []uint64{}, nodes(r))
	r.removeNode(1)
	require.Equal(t, []uint64{}, nodes(r))
}

// What waited for the removed node's acknowledgement is committed when it leaves.
func TestCommitAfterRemoveNode3A(t *testing.T) {
	s := NewMemoryStorage()
	r := newTestRaft(1, idsUpTo(2), 5, 1, s)
	r.becomeCandidate()
	r.becomeLeader()
	cc := eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_RemoveNode, NodeId: 2}
	data, err := cc.Marshal()
	require.NoError(t, err)
	require.NoError(t, r.Step(eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgPropose, Entries: []*eraftpb.Entry{{EntryType: eraftpb.EntryType_EntryConfChange, Data: data}},
	}))
	require.Empty(t, store(t, r, s))
	change := r.RaftLog.LastIndex()
	require.NoError(t, r.Step(proposal(1, "hello")))

	require.NoError(t, r.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, From: 2, Index: change}))
	ents := store(t, r, s)
	require.Len(t, ents, 2)
	require.Nil(t, ents[0].Data)
	require.Equal(t, eraftpb.EntryType_EntryConfChange, ents[1].EntryType)

	r.removeNode(2)
	ents = store(t, r, s)
	require.Len(t, ents, 1)
	require.Equal(t, "hello", string(ents[0].Data))
}

func requireRole(t *testing.T, r *Raft, state StateType, lead uint64) {
	t.Helper()
	require.Equal(t, state, r.State)
	require.Equal(t, lead, r.Lead)
	require.Equal(t, None, r.leadTransferee)
}

func transferNetwork() (*network, *Raft) {
	nw := newNetwork(nil, nil, nil)
	nw.campaign(1)
	return nw, nw.node(1)
}

func TestLeaderTransferToUpToDateNode3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.transfer(1, 2)
	requireRole(t, lead, StateFollower, 2)
	nw.propose(2, "")
	nw.transfer(2, 1)
	requireRole(t, lead, StateLeader, 1)
}

// A follower passes the request on.
func TestLeaderTransferToUpToDateNodeFromFollower3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.transfer(2, 2)
	requireRole(t, lead, StateFollower, 2)
	nw.propose(2, "")
	nw.transfer(1, 1)
	requireRole(t, lead, StateLeader, 1)
}

func TestLeaderTransferToSlowFollower3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.propose(1, "")
	nw.heal()
	require.EqualValues(t, 1, lead.Prs[3].Match)
	nw.transfer(1, 3)
	requireRole(t, lead, StateFollower, 3)
}

func TestLeaderTransferAfterSnapshot3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.propose(1, "")
	nw.compact(t, 1)
	nw.heal()
	require.EqualValues(t, 1, lead.Prs[3].Match)
	nw.transfer(1, 3)
	nw.send(eraftpb.Message{From: 3, To: 1, MsgType: eraftpb.MessageType_MsgHeartbeatResponse})
	requireRole(t, lead, StateFollower, 3)
	require.NotNil(t, nw.node(3).RaftLog.pendingSnapshot)
}

func TestLeaderTransferToSelf3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.transfer(1, 1)
	requireRole(t, lead, StateLeader, 1)
}

func TestLeaderTransferToNonExistingNode3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.transfer(1, 4)
	requireRole(t, lead, StateLeader, 1)
}

func TestLeaderTransferReceiveHigherTermVote3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.transfer(1, 3)
	require.EqualValues(t, 3, lead.leadTransferee)
	nw.campaign(2)
	requireRole(t, lead, StateFollower, 2)
}

// R7: a transfer ends when the transferee leaves, and cannot go to who has left.
func TestLeaderTransferRemoveNode3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.transfer(1, 3)
	require.EqualValues(t, 3, lead.leadTransferee)
	lead.removeNode(3)
	requireRole(t, lead, StateLeader, 1)
	nw.heal()
	nw.transfer(1, 3)
	requireRole(t, lead, StateLeader, 1)
}

func TestLeaderTransferBack3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.transfer(1, 3)
	require.EqualValues(t, 3, lead.leadTransferee)
	nw.transfer(1, 1)
	requireRole(t, lead, StateLeader, 1)
}

func TestLeaderTransferSecondTransferToAnotherNode3A(t *testing.T) {
	nw, lead := transferNetwork()
	nw.isolate(3)
	nw.transfer(1, 3)
	require.EqualValues(t, 3, lead.leadTransferee)
	nw.transfer(1, 2)
	requireRole(t, lead, StateFollower, 2)
}

// A node that is no member does not campaign, whoever tells it to.
func TestTransferNonMember3A(t *testing.T) {
	r := newTestRaft(1, []uint64{2, 3, 4}, 5, 1, NewMemoryStorage())
	require.NoError(t, r.Step(eraftpb.Message{From: 2, To: 1, MsgType: eraftpb.MessageType_MsgTimeoutNow}))
	for _, from := range []uint64{2, 3} {
		require.NoError(t, r.Step(eraftpb.Message{From: from, To: 1, MsgType: eraftpb.MessageType_MsgRequestVoteResponse}))
	}
	require.Equal(t, StateFollower, r.State)
	require.EqualValues(t, 0, r.Term)
}

// A leader that has to go hands over to somebody whom it hears, though one that is gone has more: that one would be waited for again and again.
func TestSuccessorIsAlive(t *testing.T) {
	rn, _ := lead(t, nil)
	r := rn.Raft
	for id, pr := range r.Prs { // order-free: each by itself
		pr.Match, pr.Committed, pr.RecentActive = 10-id, 1, id == 3
	}
	require.EqualValues(t, 3, r.successor(1))
	r.Prs[2].RecentActive = true
	require.EqualValues(t, 2, r.successor(1))
	require.Equal(t, None, r.successor(2))
}
