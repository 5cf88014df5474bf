package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// R5: a question of an earlier term is refused, not dropped; a grant speaks of the term that was asked about.
func TestPreVoteAnswers(t *testing.T) {
	rn, s := asyncNode(t, 1, func(c *Config) { c.PreVote, c.CheckQuorum = true, true }, 1, 2, 3)
	ask := func(term uint64) eraftpb.Message {
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVote, From: 3, Term: term, LogTerm: 5, Index: 5})
		msgs := workAll(t, rn, s)
		require.Len(t, msgs, 1)
		require.EqualValues(t, 1, rn.Raft.Term, "a question begins no term")
		return msgs[0]
	}
	refused := ask(1)
	require.False(t, refused.Reject) // of this very term, in which it has not voted
	granted := ask(7)
	require.False(t, granted.Reject)
	require.EqualValues(t, 7, granted.Term)
	rn.Raft.Term = 3
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVote, From: 3, Term: 2, LogTerm: 5, Index: 5})
	old := workAll(t, rn, s)
	require.True(t, old[len(old)-1].Reject)
	require.EqualValues(t, 3, old[len(old)-1].Term)

	// A refusal with a higher term is believed.
	require.NoError(t, rn.Campaign())
	require.Equal(t, StatePreCandidate, rn.Raft.State)
	require.Equal(t, ErrProposalDropped, rn.Propose(nil))
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVoteResponse, From: 2, Term: 8, Reject: true})
	require.Equal(t, StateFollower, rn.Raft.State)
	require.EqualValues(t, 8, rn.Raft.Term)
	// Two refusals of this term end the question.
	require.NoError(t, rn.Campaign())
	for _, from := range []uint64{2, 3} {
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVoteResponse, From: from, Term: 8, Reject: true})
	}
	require.Equal(t, StateFollower, rn.Raft.State)
}

// R11: a node that has just answered its leader elects nobody for an election timeout, also when a late word takes it into another candidate's term first.
func TestPromiseOutlivesTheTerm(t *testing.T) {
	for _, word := range []eraftpb.MessageType{
		eraftpb.MessageType_MsgRequestPreVoteResponse, eraftpb.MessageType_MsgRequestVoteResponse, eraftpb.MessageType_MsgAppendResponse,
	} {
		rn, s := asyncNode(t, 1, func(c *Config) { c.PreVote, c.CheckQuorum = true, true }, 1, 2, 3)
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, From: 2, Term: 1})
		workAll(t, rn, s)
		elect := rn.Raft.cfg.ElectionTick
		for range 4 {
			rn.Tick()
		}
		step(t, rn, eraftpb.Message{MsgType: word, From: 3, Term: 8, Reject: true})
		require.EqualValues(t, 8, rn.Raft.Term)
		vote := eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, Term: 8, LogTerm: 5, Index: 5}
		for range elect - 4 {
			step(t, rn, vote)
			require.Empty(t, workAll(t, rn, s), word)
			require.Zero(t, rn.Raft.Vote)
			rn.Tick()
			vote.Term++ // words of yet later terms make it no longer
			step(t, rn, eraftpb.Message{MsgType: word, From: 3, Term: vote.Term, Reject: true})
		}
		step(t, rn, vote)
		require.Len(t, workAll(t, rn, s), 1)
		require.EqualValues(t, 3, rn.Raft.Vote, "and no longer than that")
	}
}

// Raft 5.2: a candidate whose log is too short campaigns in vain, sooner than anybody else each time. Who could win still campaigns within two election timeouts.
func TestVainCampaignsPutNobodyOff(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppend, From: 2, Term: 1, Entries: []*eraftpb.Entry{{Index: 1, Term: 1}}})
	workAll(t, rn, s)
	vain := eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, Term: 1}
	for range 2 * rn.Raft.cfg.ElectionTick {
		if rn.Raft.State == StateCandidate {
			break
		}
		vain.Term++
		step(t, rn, vain)
		workAll(t, rn, s)
		rn.Tick()
	}
	require.Equal(t, StateCandidate, rn.Raft.State)
	require.Equal(t, vain.Term+1, rn.Raft.Term)
}

// Raft 5.4.1: a candidate that has spent its vote on itself when one with a better log asks for it campaigns after that one in the next term, not before it again.
func TestTheBetterCandidateGoesFirst(t *testing.T) {
	for better, wait := range map[bool]int{true: 2, false: 1} {
		for seed := range uint64(20) {
			rn, s := asyncNode(t, 1, func(c *Config) { c.Seed = seed }, 1, 2, 3)
			require.NoError(t, rn.Campaign())
			workAll(t, rn, s)
			require.Equal(t, StateCandidate, rn.Raft.State)
			vote := eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 2, Term: rn.Raft.Term, Index: rn.Raft.RaftLog.LastIndex()}
			vote.LogTerm, _ = rn.Raft.RaftLog.Term(vote.Index)
			if better {
				vote.Index++
			}
			step(t, rn, vote)
			require.True(t, workAll(t, rn, s)[0].Reject)
			ticks := 0
			for ; rn.Raft.Term == vote.Term; ticks++ {
				rn.Tick()
			}
			require.GreaterOrEqual(t, ticks, wait*rn.Raft.cfg.ElectionTick)
			require.LessOrEqual(t, ticks, (wait+1)*rn.Raft.cfg.ElectionTick)
		}
	}
}

// R13: a node that does not know yet that it is a member votes.
func TestNonMemberVotes(t *testing.T) {
	rn, s := asyncNode(t, 4, nil, 1, 2, 3)
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, Term: 2, LogTerm: 5, Index: 5})
	msgs := workAll(t, rn, s)
	require.Len(t, msgs, 1)
	require.False(t, msgs[0].Reject)
}
