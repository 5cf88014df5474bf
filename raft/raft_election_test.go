package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

func TestLeaderElection2AA(t *testing.T) {
	down := voiceless{}
	for _, tt := range []struct {
		nw   *network
		want StateType
	}{
		{newNetwork(nil, nil, nil), StateLeader},
		{newNetwork(nil, nil, down), StateLeader},
		{newNetwork(nil, down, down), StateCandidate},
		{newNetwork(nil, down, down, nil), StateCandidate},
		{newNetwork(nil, down, down, nil, nil), StateLeader},
	} {
		tt.nw.campaign(1)
		r := tt.nw.node(1)
		require.Equal(t, tt.want, r.State, "with %d members", len(tt.nw.members))
		require.EqualValues(t, 1, r.Term)
	}
}

// Each node can win an election, also when there is a leader and a log already.
func TestLeaderCycle2AA(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	for winner := uint64(1); winner <= 3; winner++ {
		nw.campaign(winner)
		for _, r := range nw.nodes() {
			want := StateFollower
			if r.id == winner {
				want = StateLeader
			}
			require.Equal(t, want, r.State, "node %d when %d campaigned", r.id, winner)
			require.Equal(t, winner, r.Lead)
		}
	}
}

func TestSingleNodeCandidate2AA(t *testing.T) {
	nw := newNetwork(nil)
	nw.campaign(1)
	requireLeader(t, nw.node(1))
}

// A request for a vote of a later term is answered from every role, and brings the node into that term as a follower.
func TestVoteFromAnyState2AA(t *testing.T) {
	for _, state := range []StateType{StateFollower, StateCandidate, StateLeader} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		r.Term = 1
		switch state {
		case StateFollower:
			r.becomeFollower(1, 3)
		case StateCandidate:
			r.becomeCandidate()
		case StateLeader:
			r.becomeCandidate()
			r.becomeLeader()
		}
		r.takeMessages()
		term := r.Term + 1
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgRequestVote, Term: term, LogTerm: term, Index: 42,
		}))
		require.Equal(t, []eraftpb.Message{
			{From: 1, To: 2, Term: term, MsgType: eraftpb.MessageType_MsgRequestVoteResponse},
		}, r.takeMessages())
		require.Equal(t, StateFollower, r.State)
		require.Equal(t, term, r.Term)
		require.EqualValues(t, 2, r.Vote)
	}
}

// A candidate that was cut off adopts the term of the leader that it hears, whatever the leader sends.
func testCandidateResetTerm(t *testing.T, mt eraftpb.MessageType) {
	nw := newNetwork(nil, nil, nil)
	nw.campaign(1)
	nw.isolate(3)
	nw.campaign(2)
	nw.campaign(1)
	a, c := nw.node(1), nw.node(3)
	requireLeader(t, a)
	for c.State != StateCandidate {
		c.tick()
	}
	c.takeMessages()
	nw.heal()
	nw.send(eraftpb.Message{From: 1, To: 3, Term: a.Term, MsgType: mt})
	require.Equal(t, StateFollower, c.State)
	require.Equal(t, a.Term, c.Term)
	require.EqualValues(t, 1, c.Lead)
}

func TestCandidateResetTermMessageType_MsgHeartbeat2AA(t *testing.T) {
	testCandidateResetTerm(t, eraftpb.MessageType_MsgHeartbeat)
}

func TestCandidateResetTermMessageType_MsgAppend2AA(t *testing.T) {
	testCandidateResetTerm(t, eraftpb.MessageType_MsgAppend)
}

// A follower that heard nothing becomes a candidate; its answer to a late heartbeat of the old term makes the leader step
// down, so that the candidate is not stuck with its higher term (R5).
func TestDisruptiveFollower2AA(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	for _, r := range nw.nodes() {
		r.becomeFollower(1, None)
	}
	nw.campaign(1)
	lead, lonely := nw.node(1), nw.node(3)
	requireLeader(t, lead)
	require.EqualValues(t, 2, lead.Term)
	for lonely.State != StateCandidate {
		lonely.tick()
	}
	require.EqualValues(t, 3, lonely.Term)
	require.Equal(t, StateLeader, lead.State)
	lonely.takeMessages() // its requests for votes are lost

	nw.send(eraftpb.Message{From: 1, To: 3, Term: lead.Term, MsgType: eraftpb.MessageType_MsgHeartbeat})
	require.Equal(t, StateFollower, lead.State)
	require.EqualValues(t, 3, lead.Term)
}

func TestRecvMessageType_MsgBeat2AA(t *testing.T) {
	for state, want := range map[StateType]int{StateLeader: 2, StateCandidate: 0, StateFollower: 0} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		r.RaftLog = newLog(storageWith(0, 1))
		r.Term, r.State = 1, state
		require.NoError(t, r.Step(eraftpb.Message{From: 1, To: 1, MsgType: eraftpb.MessageType_MsgBeat}))
		msgs := r.takeMessages()
		require.Len(t, msgs, want, "%s", state)
		for _, m := range msgs {
			require.Equal(t, eraftpb.MessageType_MsgHeartbeat, m.MsgType)
		}
	}
}

func TestCampaignWhileLeader2AA(t *testing.T) {
	r := newTestRaft(1, []uint64{1}, 5, 1, NewMemoryStorage())
	require.Equal(t, StateFollower, r.State)
	require.NoError(t, r.Step(hupMsg(1)))
	requireLeader(t, r)
	term := r.Term
	require.NoError(t, r.Step(hupMsg(1)))
	requireLeader(t, r)
	require.Equal(t, term, r.Term)
}

// When votes are split, nobody wins; the next candidate does.
func TestSplitVote2AA(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	for _, r := range nw.nodes() {
		r.becomeFollower(1, None)
	}
	nw.campaign(1)
	nw.isolate(1)
	nw.send(hupMsg(2), hupMsg(3))
	two, three := nw.node(2), nw.node(3)
	for _, r := range []*Raft{two, three} {
		require.EqualValues(t, 3, r.Term)
		require.Equal(t, StateCandidate, r.State)
	}
	nw.campaign(2)
	require.EqualValues(t, 4, two.Term)
	require.EqualValues(t, 4, three.Term)
	requireLeader(t, two)
	require.Equal(t, StateFollower, three.State)
}
