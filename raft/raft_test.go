package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// The scenarios of the course's stages that need a group of nodes. A network delivers messages in the order in which they
// were sent until none are left; it is in the course's mode, so nothing waits for a disk.

// voiceless is a member that is down.
type voiceless struct{}

func (voiceless) Step(eraftpb.Message) error      { return nil }
func (voiceless) takeMessages() []eraftpb.Message { return nil }

type member interface {
	Step(eraftpb.Message) error
	takeMessages() []eraftpb.Message
}

func (r *Raft) takeMessages() []eraftpb.Message {
	msgs := r.msgs
	r.msgs = nil
	return msgs
}

type link struct{ from, to uint64 }

type network struct {
	members map[uint64]member
	disks   map[uint64]*MemoryStorage
	cut     map[link]bool
	ignored map[eraftpb.MessageType]bool
}

// newNetwork connects the given members, numbered from 1; a nil one becomes a new node.
func newNetwork(members ...member) *network {
	nw := &network{members: map[uint64]member{}, disks: map[uint64]*MemoryStorage{}}
	nw.heal()
	ids := idsUpTo(len(members))
	for i, m := range members {
		id := ids[i]
		if m == nil {
			nw.disks[id] = NewMemoryStorage()
			m = newTestRaft(id, ids, 10, 1, nw.disks[id])
		}
		nw.members[id] = m
	}
	return nw
}

func (nw *network) node(id uint64) *Raft { return nw.members[id].(*Raft) }

func (nw *network) nodes() (all []*Raft) {
	for id := range uint64(len(nw.members)) {
		if r, ok := nw.members[id+1].(*Raft); ok {
			all = append(all, r)
		}
	}
	return all
}

// send delivers messages, and all that follows from them.
func (nw *network) send(msgs ...eraftpb.Message) {
	for len(msgs) > 0 {
		m := msgs[0]
		to := nw.members[m.To]
		_ = to.Step(m)
		msgs = msgs[1:]
		for _, out := range to.takeMessages() {
			if !nw.cut[link{out.From, out.To}] && !nw.ignored[out.MsgType] {
				msgs = append(msgs, out)
			}
		}
	}
}

func (nw *network) campaign(id uint64) { nw.send(hupMsg(id)) }

func (nw *network) propose(id uint64, data string) {
	nw.send(proposal(id, data))
}

func (nw *network) beat(id uint64) {
	nw.send(eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgBeat})
}

// transfer asks node at to hand the leadership to.
func (nw *network) transfer(at, to uint64) {
	nw.send(eraftpb.Message{From: to, To: at, MsgType: eraftpb.MessageType_MsgTransferLeader})
}

func (nw *network) disconnect(a, b uint64) {
	nw.cut[link{a, b}], nw.cut[link{b, a}] = true, true
}

func (nw *network) isolate(id uint64) {
	for other := range nw.members {
		if other != id {
			nw.disconnect(id, other)
		}
	}
}

func (nw *network) heal() {
	nw.cut, nw.ignored = map[link]bool{}, map[eraftpb.MessageType]bool{}
}

func hupMsg(id uint64) eraftpb.Message {
	return eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgHup}
}

func proposal(id uint64, data string) eraftpb.Message {
	e := &eraftpb.Entry{}
	if data != "" {
		e.Data = []byte(data)
	}
	return eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgPropose, Entries: []*eraftpb.Entry{e}}
}

func idsUpTo(n int) []uint64 {
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = uint64(i) + 1
	}
	return ids
}

func newTestConfig(id uint64, peers []uint64, election, heartbeat int, storage Storage) *Config {
	return &Config{ID: id, peers: peers, ElectionTick: election, HeartbeatTick: heartbeat, Storage: storage}
}

func newTestRaft(id uint64, peers []uint64, election, heartbeat int, storage Storage) *Raft {
	return newRaft(newTestConfig(id, peers, election, heartbeat, storage))
}

// storageWith returns a storage whose log has these terms at indexes 1, 2, …
func storageWith(terms ...uint64) *MemoryStorage {
	s := NewMemoryStorage()
	if err := s.Append(entriesOf(terms...)); err != nil {
		panic(err)
	}
	return s
}

func entriesOf(terms ...uint64) []eraftpb.Entry {
	ents := make([]eraftpb.Entry, len(terms))
	for i, term := range terms {
		ents[i] = eraftpb.Entry{Index: uint64(i) + 1, Term: term}
	}
	return ents
}

// store makes everything durable that a node has, and takes what it may apply.
func store(t *testing.T, r *Raft, s *MemoryStorage) []eraftpb.Entry {
	t.Helper()
	require.NoError(t, s.Append(r.RaftLog.unstableEntries()))
	r.RaftLog.stabled = r.RaftLog.LastIndex()
	ents := r.RaftLog.nextEnts()
	r.RaftLog.applied = r.RaftLog.committed
	return ents
}

func requireLeader(t *testing.T, r *Raft) {
	t.Helper()
	require.Equal(t, StateLeader, r.State)
	require.Equal(t, r.id, r.Lead)
}

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
