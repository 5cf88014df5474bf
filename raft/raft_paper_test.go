package raft

import (
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// The course's stages that each hold one node against some sentences of section 5 of the Raft paper.

// byReceiver orders messages, so that whole outputs can be compared.
func byReceiver(msgs []eraftpb.Message) []eraftpb.Message {
	slices.SortStableFunc(msgs, func(a, b eraftpb.Message) int { return int(a.To) - int(b.To) })
	return msgs
}

func asPointers(ents []eraftpb.Entry) (ptrs []*eraftpb.Entry) {
	for i := range ents {
		ptrs = append(ptrs, &ents[i])
	}
	return ptrs
}

// accept is what a follower answers that takes in an append.
func accept(m eraftpb.Message) eraftpb.Message {
	return eraftpb.Message{
		From: m.To, To: m.From, Term: m.Term, MsgType: eraftpb.MessageType_MsgAppendResponse, Index: m.Index + uint64(len(m.Entries)),
	}
}

// inRole brings a node into a role in term 1.
func inRole(t *testing.T, r *Raft, state StateType) *Raft {
	t.Helper()
	switch state {
	case StateFollower:
		r.becomeFollower(1, 2)
	case StateCandidate:
		r.becomeCandidate()
	case StateLeader:
		r.becomeCandidate()
		r.becomeLeader()
	}
	return r
}

// leaderWithNoop returns a leader whose empty entry everybody has, and whose messages have all been sent.
func leaderWithNoop(t *testing.T, size int) (*Raft, *MemoryStorage) {
	t.Helper()
	s := NewMemoryStorage()
	r := inRole(t, newTestRaft(1, idsUpTo(size), 10, 1, s), StateLeader)
	for _, m := range r.takeMessages() {
		require.Len(t, m.Entries, 1)
		require.Nil(t, m.Entries[0].Data)
		require.NoError(t, r.Step(accept(m)))
	}
	r.takeMessages()
	store(t, r, s)
	require.EqualValues(t, 1, r.RaftLog.committed)
	return r, s
}

// § 5.1: a server with a smaller term adopts the larger one; a candidate or leader whose term is out of date steps down.
func testUpdateTermFromMessage(t *testing.T, state StateType) {
	r := inRole(t, newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage()), state)
	require.NoError(t, r.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppend, Term: 2}))
	require.EqualValues(t, 2, r.Term)
	require.Equal(t, StateFollower, r.State)
}

func TestFollowerUpdateTermFromMessage2AA(t *testing.T) {
	testUpdateTermFromMessage(t, StateFollower)
}

func TestCandidateUpdateTermFromMessage2AA(t *testing.T) {
	testUpdateTermFromMessage(t, StateCandidate)
}

func TestLeaderUpdateTermFromMessage2AA(t *testing.T) {
	testUpdateTermFromMessage(t, StateLeader)
}

// § 5.2: servers start up as followers.
func TestStartAsFollower2AA(t *testing.T) {
	require.Equal(t, StateFollower, newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage()).State)
}

// § 5.2: leaders send heartbeats, without entries, to all followers.
func TestLeaderBcastBeat2AA(t *testing.T) {
	r := inRole(t, newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage()), StateLeader)
	require.NoError(t, r.Step(proposal(1, "")))
	r.takeMessages()
	r.tick()
	require.Equal(t, []eraftpb.Message{
		{From: 1, To: 2, Term: 1, MsgType: eraftpb.MessageType_MsgHeartbeat},
		{From: 1, To: 3, Term: 1, MsgType: eraftpb.MessageType_MsgHeartbeat},
	}, byReceiver(r.takeMessages()))
}

// § 5.2: who hears nothing for an election timeout begins an election: next term, own vote, requests to all others. A
// candidate that does not win begins the next one.
func testStartElection(t *testing.T, state StateType) {
	r := inRole(t, newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage()), state)
	for range 2*10 - 1 {
		r.tick()
	}
	require.EqualValues(t, 2, r.Term)
	require.Equal(t, StateCandidate, r.State)
	require.True(t, r.votes[1])
	require.Equal(t, []eraftpb.Message{
		{From: 1, To: 2, Term: 2, MsgType: eraftpb.MessageType_MsgRequestVote},
		{From: 1, To: 3, Term: 2, MsgType: eraftpb.MessageType_MsgRequestVote},
	}, byReceiver(r.takeMessages()))
}

func TestFollowerStartElection2AA(t *testing.T) { testStartElection(t, StateFollower) }

func TestCandidateStartNewElection2AA(t *testing.T) { testStartElection(t, StateCandidate) }

// § 5.2: a candidate wins with the votes of a majority; otherwise it is open who wins.
func TestLeaderElectionInOneRoundRPC2AA(t *testing.T) {
	for _, tt := range []struct {
		size    int
		granted []uint64
		refused []uint64
		want    StateType
	}{
		{1, nil, nil, StateLeader},
		{3, []uint64{2, 3}, nil, StateLeader},
		{3, []uint64{2}, nil, StateLeader},
		{5, []uint64{2, 3, 4, 5}, nil, StateLeader},
		{5, []uint64{2, 3, 4}, nil, StateLeader},
		{5, []uint64{2, 3}, nil, StateLeader},
		{3, nil, nil, StateCandidate},
		{5, []uint64{2}, nil, StateCandidate},
		{5, nil, []uint64{2, 3}, StateCandidate},
		{5, nil, nil, StateCandidate},
	} {
		r := newTestRaft(1, idsUpTo(tt.size), 10, 1, NewMemoryStorage())
		require.NoError(t, r.Step(hupMsg(1)))
		answer := func(from uint64, reject bool) {
			require.NoError(t, r.Step(eraftpb.Message{
				From: from, To: 1, Term: 1, MsgType: eraftpb.MessageType_MsgRequestVoteResponse, Reject: reject,
			}))
		}
		for _, id := range tt.granted {
			answer(id, false)
		}
		for _, id := range tt.refused {
			answer(id, true)
		}
		require.Equal(t, tt.want, r.State, "%+v", tt)
		require.EqualValues(t, 1, r.Term)
	}
}

// § 5.2: one vote a term, to whoever asks first.
func TestFollowerVote2AA(t *testing.T) {
	for _, tt := range []struct {
		voted, candidate uint64
		reject           bool
	}{
		{None, 1, false},
		{None, 2, false},
		{1, 1, false},
		{2, 2, false},
		{1, 2, true},
		{2, 1, true},
	} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		r.Term, r.Vote = 1, tt.voted
		require.NoError(t, r.Step(eraftpb.Message{From: tt.candidate, To: 1, Term: 1, MsgType: eraftpb.MessageType_MsgRequestVote}))
		require.Equal(t, []eraftpb.Message{
			{From: 1, To: tt.candidate, Term: 1, MsgType: eraftpb.MessageType_MsgRequestVoteResponse, Reject: tt.reject},
		}, r.takeMessages())
	}
}

// § 5.2: a candidate that hears from a leader of at least its term returns to being a follower.
func TestCandidateFallback2AA(t *testing.T) {
	for _, term := range []uint64{1, 2} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		require.NoError(t, r.Step(hupMsg(1)))
		require.Equal(t, StateCandidate, r.State)
		require.NoError(t, r.Step(eraftpb.Message{From: 2, To: 1, Term: term, MsgType: eraftpb.MessageType_MsgAppend}))
		require.Equal(t, StateFollower, r.State)
		require.Equal(t, term, r.Term)
	}
}

// § 5.2: election timeouts are chosen at random from an interval, every value of which occurs.
func testTimeoutRandomized(t *testing.T, state StateType) {
	const election = 10
	r := newTestRaft(1, idsUpTo(3), election, 1, NewMemoryStorage())
	seen := map[int]bool{}
	for range 50 * election {
		if state == StateFollower {
			r.becomeFollower(r.Term+1, 2)
		} else {
			r.becomeCandidate()
		}
		ticks := 0
		for len(r.takeMessages()) == 0 {
			r.tick()
			ticks++
		}
		seen[ticks] = true
	}
	for ticks := range 3 * election {
		require.Equal(t, ticks >= election && ticks < 2*election, seen[ticks], "%d ticks", ticks)
	}
}

func TestFollowerElectionTimeoutRandomized2AA(t *testing.T) {
	testTimeoutRandomized(t, StateFollower)
}

func TestCandidateElectionTimeoutRandomized2AA(t *testing.T) {
	testTimeoutRandomized(t, StateCandidate)
}

// § 5.2: so that in most cases only one server times out first.
func testTimeoutNonconflict(t *testing.T, state StateType) {
	const rounds = 1000
	ids := idsUpTo(5)
	var group []*Raft
	for _, id := range ids {
		group = append(group, newTestRaft(id, ids, 10, 1, NewMemoryStorage()))
	}
	conflicts := 0
	for range rounds {
		for _, r := range group {
			if state == StateFollower {
				r.becomeFollower(r.Term+1, None)
			} else {
				r.becomeCandidate()
			}
		}
		first := 0
		for first == 0 {
			for _, r := range group {
				if r.tick(); len(r.takeMessages()) > 0 {
					first++
				}
			}
		}
		if first > 1 {
			conflicts++
		}
	}
	require.LessOrEqual(t, conflicts, rounds*3/10)
}

func TestFollowersElectionTimeoutNonconflict2AA(t *testing.T) {
	testTimeoutNonconflict(t, StateFollower)
}

func TestCandidatesElectionTimeoutNonconflict2AA(t *testing.T) {
	testTimeoutNonconflict(t, StateCandidate)
}

// § 5.3: the leader appends a proposal to its log and sends it to all others, with index and term of the entry before.
func TestLeaderStartReplication2AB(t *testing.T) {
	r, _ := leaderWithNoop(t, 3)
	require.NoError(t, r.Step(proposal(1, "some data")))
	require.EqualValues(t, 2, r.RaftLog.LastIndex())
	require.EqualValues(t, 1, r.RaftLog.committed)
	ents := []eraftpb.Entry{{Index: 2, Term: 1, Data: []byte("some data")}}
	require.Equal(t, []eraftpb.Message{
		{From: 1, To: 2, Term: 1, MsgType: eraftpb.MessageType_MsgAppend, Index: 1, LogTerm: 1, Entries: asPointers(ents), Commit: 1},
		{From: 1, To: 3, Term: 1, MsgType: eraftpb.MessageType_MsgAppend, Index: 1, LogTerm: 1, Entries: asPointers(ents), Commit: 1},
	}, byReceiver(r.takeMessages()))
	require.Equal(t, ents, r.RaftLog.unstableEntries())
}

// § 5.3: an entry that has been safely replicated is applied, and the followers hear of it in later appends.
func TestLeaderCommitEntry2AB(t *testing.T) {
	r, _ := leaderWithNoop(t, 3)
	require.NoError(t, r.Step(proposal(1, "some data")))
	for _, m := range r.takeMessages() {
		require.NoError(t, r.Step(accept(m)))
	}
	require.EqualValues(t, 2, r.RaftLog.committed)
	require.Equal(t, []eraftpb.Entry{{Index: 2, Term: 1, Data: []byte("some data")}}, r.RaftLog.nextEnts())
	msgs := byReceiver(r.takeMessages())
	require.Len(t, msgs, 2)
	for i, m := range msgs {
		require.EqualValues(t, i+2, m.To)
		require.Equal(t, eraftpb.MessageType_MsgAppend, m.MsgType)
		require.EqualValues(t, 2, m.Commit)
	}
}

// § 5.3: an entry is committed once its leader has replicated it on a majority.
func TestLeaderAcknowledgeCommit2AB(t *testing.T) {
	for _, tt := range []struct {
		size, acceptors int
		commit          bool
	}{
		{1, 0, true},
		{3, 0, false},
		{3, 1, true},
		{3, 2, true},
		{5, 0, false},
		{5, 1, false},
		{5, 2, true},
		{5, 3, true},
		{5, 4, true},
	} {
		r, _ := leaderWithNoop(t, tt.size)
		require.NoError(t, r.Step(proposal(1, "some data")))
		for i, m := range r.takeMessages() {
			if i < tt.acceptors {
				require.NoError(t, r.Step(accept(m)))
			}
		}
		require.Equal(t, tt.commit, r.RaftLog.committed == 2, "%+v", tt)
	}
}

// § 5.3: committing an entry commits all before it, those of earlier leaders included, and they are applied in order.
func TestLeaderCommitPrecedingEntries2AB(t *testing.T) {
	for _, terms := range [][]uint64{{}, {2}, {1, 2}, {1}} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, storageWith(terms...))
		r.Term = 2
		r.becomeCandidate()
		r.becomeLeader()
		require.NoError(t, r.Step(proposal(1, "some data")))
		for _, m := range r.takeMessages() {
			require.NoError(t, r.Step(accept(m)))
		}
		want := entriesOf(append(terms, 3, 3)...)
		want[len(want)-1].Data = []byte("some data")
		require.Equal(t, want, r.RaftLog.nextEnts())
	}
}

// § 5.3: a follower applies an entry once it learns that it is committed.
func TestFollowerCommitEntry2AB(t *testing.T) {
	for _, tt := range []struct {
		data   []string
		commit uint64
	}{
		{[]string{"some data"}, 1},
		{[]string{"some data", "some data2"}, 2},
		{[]string{"some data2", "some data"}, 2},
		{[]string{"some data", "some data2"}, 1},
	} {
		r := inRole(t, newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage()), StateFollower)
		var ents []eraftpb.Entry
		for i, d := range tt.data {
			ents = append(ents, eraftpb.Entry{Term: 1, Index: uint64(i) + 1, Data: []byte(d)})
		}
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppend, Term: 1, Entries: asPointers(ents), Commit: tt.commit,
		}))
		require.Equal(t, tt.commit, r.RaftLog.committed)
		require.Equal(t, ents[:tt.commit], r.RaftLog.nextEnts())
	}
}

// § 5.3: a follower whose log lacks the entry before the new ones refuses them.
func TestFollowerCheckMessageType_MsgAppend2AB(t *testing.T) {
	for _, tt := range []struct {
		term, index uint64
		reject      bool
	}{
		{0, 0, false}, // before what is committed
		{1, 1, false}, // the last that is committed
		{2, 2, false}, // not committed, but there
		{1, 2, true},  // another term
		{3, 3, true},  // not there
	} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, storageWith(1, 2))
		r.RaftLog.committed = 1
		r.becomeFollower(2, 2)
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppend, Term: 2, LogTerm: tt.term, Index: tt.index,
		}))
		msgs := r.takeMessages()
		require.Len(t, msgs, 1)
		require.EqualValues(t, 2, msgs[0].Term)
		require.Equal(t, tt.reject, msgs[0].Reject, "%+v", tt)
		require.Zero(t, msgs[0].RejectHint)
		require.Zero(t, msgs[0].LogTerm)
	}
}

// § 5.3: a follower cuts off what conflicts with the new entries, and adds those that it does not have.
func TestFollowerAppendEntries2AB(t *testing.T) {
	for _, tt := range []struct {
		index, term uint64
		terms       []uint64
		want        []uint64
		unstable    []uint64
	}{
		{2, 2, []uint64{3}, []uint64{1, 2, 3}, []uint64{3}},
		{1, 1, []uint64{3, 4}, []uint64{1, 3, 4}, []uint64{3, 4}},
		{0, 0, []uint64{1}, []uint64{1, 2}, nil},
		{0, 0, []uint64{3}, []uint64{3}, []uint64{3}},
	} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, storageWith(1, 2))
		r.becomeFollower(2, 2)
		m := eraftpb.Message{From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppend, Term: 2, LogTerm: tt.term, Index: tt.index}
		for i, term := range tt.terms {
			m.Entries = append(m.Entries, &eraftpb.Entry{Term: term, Index: tt.index + 1 + uint64(i)})
		}
		require.NoError(t, r.Step(m))
		want := entriesOf(tt.want...)
		require.Equal(t, want, r.RaftLog.allEntries())
		require.Equal(t, want[len(want)-len(tt.unstable):], r.RaftLog.unstableEntries())
	}
}

// § 5.3, figure 7: a leader brings every kind of follower's log into agreement with its own.
func TestLeaderSyncFollowerLog2AB(t *testing.T) {
	const term = 8
	ents := []uint64{1, 1, 1, 4, 4, 5, 5, 6, 6, 6}
	for name, theirs := range map[string][]uint64{
		"a: lacks one":           {1, 1, 1, 4, 4, 5, 5, 6, 6},
		"b: lacks many":          {1, 1, 1, 4},
		"c: has one too many":    {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
		"d: has another term":    {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},
		"e: lacks and has extra": {1, 1, 1, 4, 4, 4, 4},
		"f: has terms of no use": {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			lead := newTestRaft(1, idsUpTo(3), 10, 1, storageWith(ents...))
			lead.Term = term
			lead.RaftLog.committed = lead.RaftLog.LastIndex()
			follower := newTestRaft(2, idsUpTo(3), 10, 1, storageWith(theirs...))
			follower.Term = term - 1
			nw := newNetwork(lead, follower, voiceless{})
			nw.campaign(1)
			// The follower's log may be the newer one: the third vote decides.
			nw.send(eraftpb.Message{From: 3, To: 1, Term: term + 1, MsgType: eraftpb.MessageType_MsgRequestVoteResponse})
			nw.propose(1, "")
			requireLeader(t, lead)
			require.Empty(t, diffu(ltoa(lead.RaftLog), ltoa(follower.RaftLog)))
		})
	}
}

// § 5.4.1: a request for a vote tells about the candidate's log, and goes to all others.
func TestVoteRequest2AB(t *testing.T) {
	for _, terms := range [][]uint64{{1}, {1, 2}} {
		ents := entriesOf(terms...)
		last := ents[len(ents)-1]
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppend, Term: last.Term, Entries: asPointers(ents),
		}))
		r.takeMessages()
		for r.State != StateCandidate {
			r.tick()
		}
		want := eraftpb.Message{From: 1, Term: last.Term + 1, MsgType: eraftpb.MessageType_MsgRequestVote, Index: last.Index, LogTerm: last.Term}
		to2, to3 := want, want
		to2.To, to3.To = 2, 3
		require.Equal(t, []eraftpb.Message{to2, to3}, byReceiver(r.takeMessages()))
	}
}

// § 5.4.1: the voter denies its vote if its own log is more up to date.
func TestVoter2AB(t *testing.T) {
	for _, tt := range []struct {
		terms       []uint64
		term, index uint64
		reject      bool
	}{
		{[]uint64{1}, 1, 1, false}, // same last term: the longer log
		{[]uint64{1}, 1, 2, false},
		{[]uint64{1, 1}, 1, 1, true},
		{[]uint64{1}, 2, 1, false}, // the candidate's is higher
		{[]uint64{1}, 2, 2, false},
		{[]uint64{1, 1}, 2, 1, false},
		{[]uint64{2}, 1, 1, true}, // the voter's is higher
		{[]uint64{2}, 1, 2, true},
		{[]uint64{1, 2}, 1, 3, true},
	} {
		r := newTestRaft(1, idsUpTo(2), 10, 1, storageWith(tt.terms...))
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgRequestVote, Term: 3, LogTerm: tt.term, Index: tt.index,
		}))
		msgs := r.takeMessages()
		require.Len(t, msgs, 1)
		require.Equal(t, eraftpb.MessageType_MsgRequestVoteResponse, msgs[0].MsgType)
		require.Equal(t, tt.reject, msgs[0].Reject, "%+v", tt)
	}
}

// § 5.4.2 (R1): only entries of the leader's term are committed by counting.
func TestLeaderOnlyCommitsLogFromCurrentTerm2AB(t *testing.T) {
	for _, tt := range []struct{ acked, commit uint64 }{{1, 0}, {2, 0}, {3, 3}} {
		r := newTestRaft(1, idsUpTo(2), 10, 1, storageWith(1, 2))
		r.Term = 2
		r.becomeCandidate()
		r.becomeLeader()
		r.takeMessages()
		require.NoError(t, r.Step(proposal(1, "")))
		require.NoError(t, r.Step(eraftpb.Message{
			From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppendResponse, Term: 3, Index: tt.acked,
		}))
		require.Equal(t, tt.commit, r.RaftLog.committed)
	}
}
