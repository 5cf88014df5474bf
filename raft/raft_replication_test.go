package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

func TestProgressLeader2AB(t *testing.T) {
	r := newTestRaft(1, idsUpTo(2), 5, 1, NewMemoryStorage())
	r.becomeCandidate()
	r.becomeLeader()
	for i := uint64(1); i <= 5; i++ {
		require.Equal(t, i, r.Prs[1].Match)
		require.Equal(t, i+1, r.Prs[1].Next)
		require.NoError(t, r.Step(proposal(1, "foo")))
	}
}

// A new leader replaces entries of a later term that never reached a quorum.
func TestLeaderElectionOverwriteNewerLogs2AB(t *testing.T) {
	withLog := func(id uint64, terms ...uint64) *Raft {
		r := newTestRaft(id, idsUpTo(5), 10, 1, storageWith(terms...))
		r.Term = terms[len(terms)-1]
		return r
	}
	voted := func(id uint64) *Raft {
		s := NewMemoryStorage()
		s.SetHardState(eraftpb.HardState{Term: 2, Vote: 3})
		return newTestRaft(id, idsUpTo(5), 10, 1, s)
	}
	// Node 1 won term 1 and reached node 2; node 3 won term 2 with the votes of 4 and 5 and reached nobody.
	nw := newNetwork(withLog(1, 1), withLog(2, 1), withLog(3, 2), voted(4), voted(5))
	one := nw.node(1)

	nw.campaign(1) // in term 2, in which a quorum has voted already
	require.Equal(t, StateFollower, one.State)
	require.EqualValues(t, 2, one.Term)

	nw.campaign(1)
	requireLeader(t, one)
	require.EqualValues(t, 3, one.Term)
	for _, r := range nw.nodes() {
		ents := r.RaftLog.allEntries()
		require.Len(t, ents, 2, "node %d", r.id)
		require.EqualValues(t, 1, ents[0].Term)
		require.EqualValues(t, 3, ents[1].Term)
	}
}

func TestLogReplication2AB(t *testing.T) {
	for _, tt := range []struct {
		play   func(nw *network)
		commit uint64
		data   []string
	}{
		{func(nw *network) { nw.propose(1, "a") }, 2, []string{"a"}},
		{func(nw *network) {
			nw.propose(1, "a")
			nw.campaign(2)
			nw.propose(2, "b")
		}, 4, []string{"a", "b"}},
	} {
		nw := newNetwork(nil, nil, nil)
		nw.campaign(1)
		tt.play(nw)
		for id, r := range nw.nodes() {
			require.Equal(t, tt.commit, r.RaftLog.committed)
			var got []string
			for _, e := range store(t, r, nw.disks[uint64(id)+1]) {
				if e.Data != nil {
					got = append(got, string(e.Data))
				}
			}
			require.Equal(t, tt.data, got)
		}
	}
}

func TestSingleNodeCommit2AB(t *testing.T) {
	nw := newNetwork(nil)
	nw.campaign(1)
	nw.propose(1, "a")
	nw.propose(1, "b")
	require.EqualValues(t, 3, nw.node(1).RaftLog.committed)
}

// What an earlier term left behind is committed by the new leader's empty entry, without any proposal.
func TestCommitWithoutNewTermEntry2AB(t *testing.T) {
	nw := newNetwork(nil, nil, nil, nil, nil)
	nw.campaign(1)
	for _, far := range []uint64{3, 4, 5} {
		nw.disconnect(1, far)
	}
	nw.propose(1, "a")
	nw.propose(1, "b")
	require.EqualValues(t, 1, nw.node(1).RaftLog.committed)

	nw.heal()
	nw.campaign(2)
	require.EqualValues(t, 4, nw.node(1).RaftLog.committed)
}

// A follower that missed appends is brought up to date when it answers a heartbeat.
func TestCommitWithHeartbeat2AB(t *testing.T) {
	nw := newNetwork(nil, nil, nil, nil, nil)
	nw.campaign(1)
	nw.isolate(5)
	nw.propose(1, "a")
	nw.propose(1, "b")
	last := nw.node(5).RaftLog
	require.EqualValues(t, 1, last.committed)

	nw.heal()
	nw.beat(1)
	require.EqualValues(t, 3, last.committed)
}

func TestDuelingCandidates2AB(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	nw.disconnect(1, 3)
	nw.campaign(1)
	nw.campaign(3)
	requireLeader(t, nw.node(1))
	require.Equal(t, StateCandidate, nw.node(3).State) // its own vote, and one refusal

	// With a higher term 3 ends the office of 1, but its log is too short for anybody's vote.
	nw.heal()
	nw.campaign(3)
	full := ltoa(&RaftLog{committed: 1, entries: entriesOf(1)})
	for id, want := range map[uint64]string{1: full, 2: full, 3: ltoa(newLog(NewMemoryStorage()))} {
		r := nw.node(id)
		require.Equal(t, StateFollower, r.State, "node %d", id)
		require.EqualValues(t, 2, r.Term)
		require.Empty(t, diffu(want, ltoa(r.RaftLog)), "node %d", id)
	}
}

// A candidate gives in when it hears from the winner of its term.
func TestCandidateConcede2AB(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	nw.isolate(1)
	nw.campaign(1)
	nw.campaign(3)
	nw.heal()
	nw.beat(3)
	nw.propose(3, "force follower")
	nw.beat(3)

	require.Equal(t, StateFollower, nw.node(1).State)
	require.EqualValues(t, 1, nw.node(1).Term)
	want := entriesOf(1, 1)
	want[1].Data = []byte("force follower")
	for _, r := range nw.nodes() {
		require.Empty(t, diffu(ltoa(&RaftLog{committed: 2, entries: want}), ltoa(r.RaftLog)), "node %d", r.id)
	}
}

// An append of a former leader is ignored.
func TestOldMessages2AB(t *testing.T) {
	nw := newNetwork(nil, nil, nil)
	nw.campaign(1)
	nw.campaign(2)
	nw.campaign(1)
	nw.send(eraftpb.Message{
		From: 2, To: 1, MsgType: eraftpb.MessageType_MsgAppend, Term: 2, Entries: []*eraftpb.Entry{{Index: 3, Term: 2}},
	})
	nw.propose(1, "somedata")

	want := entriesOf(1, 2, 3, 3)
	want[3].Data = []byte("somedata")
	for _, r := range nw.nodes() {
		require.Empty(t, diffu(ltoa(&RaftLog{committed: 4, entries: want}), ltoa(r.RaftLog)), "node %d", r.id)
	}
}

func TestProposal2AB(t *testing.T) {
	down := voiceless{}
	for _, tt := range []struct {
		nw *network
		ok bool
	}{
		{newNetwork(nil, nil, nil), true},
		{newNetwork(nil, nil, down), true},
		{newNetwork(nil, down, down), false},
		{newNetwork(nil, down, down, nil), false},
		{newNetwork(nil, down, down, nil, nil), true},
	} {
		tt.nw.campaign(1)
		tt.nw.propose(1, "somedata")
		want := &RaftLog{}
		if tt.ok {
			want.entries, want.committed = entriesOf(1, 1), 2
			want.entries[1].Data = []byte("somedata")
		}
		for _, r := range tt.nw.nodes() {
			require.Empty(t, diffu(ltoa(want), ltoa(r.RaftLog)), "node %d of %d", r.id, len(tt.nw.members))
		}
		require.EqualValues(t, 1, tt.nw.node(1).Term)
	}
}

// An append is refused unless the log has the entry before it (1); what conflicts with it is cut off (2); the commit index
// follows the leader's as far as this append vouches for the log (3).
func TestHandleMessageType_MsgAppend2AB(t *testing.T) {
	app := func(prevTerm, prev, commit uint64, terms ...uint64) eraftpb.Message {
		m := eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppend, Term: 2, LogTerm: prevTerm, Index: prev, Commit: commit}
		for i, term := range terms {
			m.Entries = append(m.Entries, &eraftpb.Entry{Index: prev + 1 + uint64(i), Term: term})
		}
		return m
	}
	for i, tt := range []struct {
		m            eraftpb.Message
		last, commit uint64
		reject       bool
	}{
		{app(3, 2, 3), 2, 0, true}, // (1) another term there
		{app(3, 3, 3), 2, 0, true}, // (1) nothing there

		{app(1, 1, 1), 2, 1, false}, // (2)
		{app(0, 0, 1, 2), 1, 1, false},
		{app(2, 2, 3, 2, 2), 4, 3, false},
		{app(2, 2, 4, 2), 3, 3, false},
		{app(1, 1, 4, 2), 2, 2, false},

		{app(1, 1, 3), 2, 1, false}, // (3)
		{app(1, 1, 3, 2), 2, 2, false},
		{app(2, 2, 3), 2, 2, false},
		{app(2, 2, 4), 2, 2, false},
	} {
		r := newTestRaft(1, []uint64{1}, 10, 1, storageWith(1, 2))
		r.becomeFollower(2, None)
		r.handleAppendEntries(tt.m)
		require.Equal(t, tt.last, r.RaftLog.LastIndex(), "#%d", i)
		require.Equal(t, tt.commit, r.RaftLog.committed, "#%d", i)
		msgs := r.takeMessages()
		require.Len(t, msgs, 1)
		require.Equal(t, tt.reject, msgs[0].Reject, "#%d", i)
	}
}

// A vote goes to a log that is at least as up to date, and only if this node has none to give away already; the role does
// not matter.
func TestRecvMessageType_MsgRequestVote2AB(t *testing.T) {
	type row struct {
		state       StateType
		index, term uint64
		votedFor    uint64
		reject      bool
	}
	rows := []row{
		{StateFollower, 3, 2, 2, false},
		{StateFollower, 3, 2, 1, true},
		{StateLeader, 3, 3, 1, true},
		{StateCandidate, 3, 3, 1, true},
	}
	// The log is 2, 2: a higher last term wins, with the same one the longer log.
	for index := uint64(0); index <= 3; index++ {
		for term := uint64(0); term <= 3; term++ {
			rows = append(rows, row{StateFollower, index, term, None, !(term > 2 || term == 2 && index >= 2)})
		}
	}
	for _, tt := range rows {
		r := newTestRaft(1, []uint64{1}, 10, 1, NewMemoryStorage())
		r.RaftLog = newLog(storageWith(2, 2))
		r.State, r.Vote, r.Term = tt.state, tt.votedFor, max(2, tt.term)
		require.NoError(t, r.Step(eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgRequestVote, From: 2, Term: r.Term, Index: tt.index, LogTerm: tt.term,
		}))
		msgs := r.takeMessages()
		require.Len(t, msgs, 1)
		require.Equal(t, eraftpb.MessageType_MsgRequestVoteResponse, msgs[0].MsgType)
		require.Equal(t, tt.reject, msgs[0].Reject, "%+v", tt)
	}
}

func TestAllServerStepdown2AB(t *testing.T) {
	for state, entries := range map[StateType]int{StateFollower: 0, StateCandidate: 0, StateLeader: 1} {
		r := newTestRaft(1, idsUpTo(3), 10, 1, NewMemoryStorage())
		switch state {
		case StateFollower:
			r.becomeFollower(1, None)
		case StateCandidate:
			r.becomeCandidate()
		case StateLeader:
			r.becomeCandidate()
			r.becomeLeader()
		}
		for _, step := range []struct {
			mt   eraftpb.MessageType
			lead uint64
		}{{eraftpb.MessageType_MsgRequestVote, None}, {eraftpb.MessageType_MsgAppend, 2}} {
			require.NoError(t, r.Step(eraftpb.Message{From: 2, MsgType: step.mt, Term: 3, LogTerm: 3}))
			require.Equal(t, StateFollower, r.State)
			require.EqualValues(t, 3, r.Term)
			require.EqualValues(t, entries, r.RaftLog.LastIndex())
			require.Len(t, r.RaftLog.allEntries(), entries)
			require.Equal(t, step.lead, r.Lead)
		}
	}
}

// A heartbeat does not commit what a follower's log may not agree with.
func TestHeartbeatUpdateCommit2AB(t *testing.T) {
	for _, tt := range []struct{ failed, succeeded int }{{1, 1}, {5, 3}, {5, 10}} {
		nw := newNetwork(nil, nil, nil)
		nw.campaign(1)
		nw.isolate(1)
		for range tt.failed {
			nw.propose(1, "")
		}
		require.EqualValues(t, 1, nw.node(1).RaftLog.committed)

		nw.campaign(2)
		for range tt.succeeded {
			nw.propose(2, "")
		}
		for _, id := range []uint64{2, 3} {
			require.EqualValues(t, 2+tt.succeeded, nw.node(id).RaftLog.committed)
		}

		nw.heal()
		nw.ignored[eraftpb.MessageType_MsgAppend] = true
		nw.beat(2)
		require.EqualValues(t, 1, nw.node(1).RaftLog.committed)
	}
}

func TestLeaderIncreaseNext2AB(t *testing.T) {
	lead := newTestRaft(1, idsUpTo(3), 10, 1, storageWith(1, 1, 1))
	lead.Term = 1
	nw := newNetwork(lead, nil, nil)
	nw.campaign(1)
	nw.propose(1, "somedata")
	require.EqualValues(t, 3+1+1+1, lead.Prs[2].Next)
}
