package raft

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// One node in async mode at a time: what must hold without a group around it. Stories that need one are in testdata.

// asyncNode returns a node whose log begins behind a snapshot at index 1 of term 1 with these members.
func asyncNode(t *testing.T, id uint64, change func(*Config), voters ...uint64) (*RawNode, *MemoryStorage) {
	t.Helper()
	s := NewMemoryStorage()
	require.NoError(t, s.ApplySnapshot(eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
		Index: 1, Term: 1, ConfState: &eraftpb.ConfState{Voters: voters},
	}}))
	s.SetHardState(eraftpb.HardState{Term: 1, Commit: 1})
	cfg := &Config{ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: s, Applied: 1, AsyncStorage: true}
	if change != nil {
		change(cfg)
	}
	rn, err := NewRawNode(cfg)
	require.NoError(t, err)
	return rn, s
}

// work takes a Ready, writes it, and reports it as durable and as applied.
func work(t *testing.T, rn *RawNode, s *MemoryStorage) Ready {
	t.Helper()
	rd := rn.Ready()
	if !IsEmptySnap(&rd.Snapshot) {
		require.NoError(t, s.ApplySnapshot(rd.Snapshot))
	}
	if !IsEmptyHardState(rd.HardState) {
		s.SetHardState(rd.HardState)
	}
	require.NoError(t, s.Append(rd.Entries))
	rn.Persisted(rd.Number)
	if !IsEmptySnap(&rd.Snapshot) {
		rn.Applied(rd.Snapshot.Metadata.Index)
	}
	if n := len(rd.CommittedEntries); n > 0 {
		rn.Applied(rd.CommittedEntries[n-1].Index)
	}
	return rd
}

func workAll(t *testing.T, rn *RawNode, s *MemoryStorage) (msgs []eraftpb.Message) {
	t.Helper()
	for rn.HasReady() {
		rd := work(t, rn, s)
		msgs = append(append(msgs, rd.Messages...), rd.PersistedMessages...)
	}
	return msgs
}

// lead makes node 1 of {1,2,3} the leader of term 2, with its empty entry committed at index 2.
func lead(t *testing.T, change func(*Config)) (*RawNode, *MemoryStorage) {
	t.Helper()
	rn, s := asyncNode(t, 1, change, 1, 2, 3)
	require.NoError(t, rn.Campaign())
	workAll(t, rn, s)
	if rn.Raft.State == StatePreCandidate {
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestPreVoteResponse, From: 2, Term: 2})
		workAll(t, rn, s)
	}
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, From: 2, Term: 2})
	workAll(t, rn, s)
	ack(t, rn, 2, 2)
	ack(t, rn, 3, 2)
	workAll(t, rn, s)
	require.Equal(t, StateLeader, rn.Raft.State)
	require.EqualValues(t, 2, rn.Raft.RaftLog.applied)
	return rn, s
}

func step(t *testing.T, rn *RawNode, m eraftpb.Message) {
	t.Helper()
	m.To = rn.Raft.id
	require.NoError(t, rn.Step(m))
}

func ack(t *testing.T, rn *RawNode, from, index uint64) {
	t.Helper()
	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppendResponse, From: from, Term: rn.Raft.Term, Index: index, Commit: index,
	})
}

// appendOf is an append of leader 2 whose entries have these terms.
func appendOf(term, prevTerm, prev, commit uint64, terms ...uint64) eraftpb.Message {
	m := eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, From: 2, Term: term, LogTerm: prevTerm, Index: prev, Commit: commit,
	}
	for i, entryTerm := range terms {
		m.Entries = append(m.Entries, &eraftpb.Entry{
			Term: entryTerm, Index: prev + 1 + uint64(i), Data: fmt.Appendf(nil, "of term %d", entryTerm),
		})
	}
	return m
}

func typesOf(msgs []eraftpb.Message) (types []eraftpb.MessageType) {
	for _, m := range msgs {
		types = append(types, m.MsgType)
	}
	return types
}

// R15 (etcd #14370): the only voter of a group commits nothing before its own disk has it, its vote included.
func TestSingleVoterWaitsForItsDisk(t *testing.T) {
	rn, _ := asyncNode(t, 1, func(c *Config) { c.CheckQuorum, c.PreVote = true, true }, 1)
	require.NoError(t, rn.Campaign())
	vote := rn.Ready()
	require.True(t, vote.MustSync)
	require.Equal(t, StateCandidate, rn.Raft.State)
	rn.Persisted(vote.Number)
	require.Equal(t, StateLeader, rn.Raft.State)

	require.NoError(t, rn.Propose([]byte("x")))
	write := rn.Ready()
	require.Len(t, write.Entries, 2)
	require.Empty(t, write.CommittedEntries)
	require.False(t, rn.HasReady())
	rn.Persisted(write.Number)
	require.Len(t, rn.Ready().CommittedEntries, 2)

	// It acknowledges its own heartbeat rounds at once.
	require.Zero(t, rn.QuorumRound())
	rn.Tick()
	require.EqualValues(t, 1, rn.HeartbeatRound())
	require.EqualValues(t, 1, rn.QuorumRound())
	rn.Applied(3)
	require.EqualValues(t, 2, rn.AppliedTerm())
	rn.ReadIndex([]byte("r"))
	require.True(t, rn.HasReady())
	require.Equal(t, []ReadState{{Index: 3, RequestCtx: []byte("r")}}, rn.Ready().ReadStates)
}

// A leader's appends leave before they are durable anywhere, but it counts itself only when they are (R15).
func TestLeaderSendsBeforeItWrites(t *testing.T) {
	rn, _ := lead(t, nil)
	require.NoError(t, rn.Propose([]byte("x")))
	rd := rn.Ready()
	require.True(t, rd.MustSync)
	require.Equal(t, []eraftpb.MessageType{eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgAppend}, typesOf(rd.Messages))
	require.Empty(t, rd.PersistedMessages)

	ack(t, rn, 2, 3)
	require.EqualValues(t, 2, rn.Raft.RaftLog.committed)
	// A majority without the leader commits, too; but the leader applies only what it has.
	ack(t, rn, 3, 3)
	require.EqualValues(t, 3, rn.Raft.RaftLog.committed)
	require.Empty(t, rn.Ready().CommittedEntries)
	rn.Persisted(rd.Number)
	require.Len(t, rn.Ready().CommittedEntries, 1)
}

// R15: nothing that a Ready has given out is changed later, also if the log is cut off and written anew meanwhile.
func TestReadyIsNotChangedLater(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 1, 2, 2, 2))
	first := rn.Ready()
	step(t, rn, appendOf(3, 1, 1, 1, 3, 3))
	second := rn.Ready()
	for i, want := range []uint64{2, 2, 2} {
		require.Equal(t, want, first.Entries[i].Term)
	}
	require.Len(t, second.Entries, 2)
	require.NoError(t, s.Append(first.Entries))
	rn.Persisted(first.Number)
	require.EqualValues(t, 1, rn.Raft.RaftLog.stabled)
	require.NoError(t, s.Append(second.Entries))
	rn.Persisted(second.Number)
	require.EqualValues(t, 3, rn.Raft.RaftLog.stabled)
	rn.Persisted(first.Number) // repeated
	require.EqualValues(t, 3, rn.Raft.RaftLog.stabled)
}

// Messages that vouch for nothing that is not durable leave at once, also from a node that follows.
func TestPromisesWaitOnlyForWhatTheyPromise(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 1, 2))
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, From: 2, Term: 2, Commit: 2, Context: make([]byte, 8)})
	rd := work(t, rn, s)
	require.Equal(t, []eraftpb.MessageType{eraftpb.MessageType_MsgHeartbeatResponse}, typesOf(rd.Messages))
	require.Equal(t, []eraftpb.MessageType{eraftpb.MessageType_MsgAppendResponse}, typesOf(rd.PersistedMessages))

	// The same append once more, now that all of it is durable; beside it a commit index, which needs no sync.
	step(t, rn, appendOf(2, 1, 1, 1, 2))
	rd = rn.Ready()
	require.False(t, rd.MustSync)
	require.Empty(t, rd.PersistedMessages)
	require.Equal(t, []eraftpb.MessageType{eraftpb.MessageType_MsgAppendResponse}, typesOf(rd.Messages))
}

// R12: a snapshot that is late or repeated, or that was taken of the very log held here, rolls nothing back; one that does
// not name this node is not for it.
func TestSnapshotOnlyMovesForward(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 3, 2, 2, 2, 2))
	workAll(t, rn, s)
	snap := func(index, term uint64, voters ...uint64) eraftpb.Message {
		return eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 2,
			Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
				Index: index, Term: term, ConfState: &eraftpb.ConfState{Voters: voters},
			}},
		}
	}
	l := rn.Raft.RaftLog
	for _, tt := range []struct {
		m              eraftpb.Message
		committed, ack uint64
	}{
		{snap(1, 1, 1, 2, 3), 3, 3}, // older than the commit index
		{snap(3, 2, 1, 2, 3), 3, 3}, // just as old
		{snap(4, 2, 1, 2, 3), 4, 4}, // of this log: only the commit index moves
		{snap(9, 2, 2, 3), 4, 4},    // for another configuration
		{eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, From: 2}, 4, 4}, // empty
		{snap(4, 1, 1, 2, 3), 4, 4}, // impossible, and old
	} {
		step(t, rn, tt.m)
		require.Nil(t, l.pendingSnapshot)
		require.EqualValues(t, 5, l.LastIndex())
		require.Equal(t, tt.committed, l.committed)
		msgs := workAll(t, rn, s)
		require.Equal(t, tt.ack, msgs[len(msgs)-1].Index)
	}

	// One that is ahead takes the log's place.
	step(t, rn, snap(9, 2, 1, 2, 4))
	require.EqualValues(t, 9, l.LastIndex())
	require.Equal(t, []uint64{1, 2, 4}, rn.Raft.peers)
}

// While a snapshot is not installed the node applies nothing, does not campaign, and takes no membership change from before.
func TestNothingHappensWhileSnapshotIsInstalled(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 1, 2, 2))
	workAll(t, rn, s)
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, From: 2, Term: 2, Commit: 3})
	old := rn.Ready()
	require.Len(t, old.CommittedEntries, 2)

	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 2,
		Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
			Index: 9, Term: 2, ConfState: &eraftpb.ConfState{Voters: []uint64{1, 2}},
		}},
	})
	step(t, rn, appendOf(2, 2, 9, 10, 2))
	require.Zero(t, rn.AppliedTerm())
	rn.ApplyConfChange(eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_AddNode, NodeId: 3})
	require.Equal(t, []uint64{1, 2}, rn.Raft.peers)
	rn.Applied(3) // what was given out before is applied
	require.NoError(t, rn.Campaign())
	require.Equal(t, StateFollower, rn.Raft.State)

	rd := rn.Ready()
	require.EqualValues(t, 9, rd.Snapshot.Metadata.Index)
	require.Len(t, rd.Entries, 1)
	require.Empty(t, rd.CommittedEntries)
	require.Equal(t, []eraftpb.MessageType{eraftpb.MessageType_MsgAppendResponse, eraftpb.MessageType_MsgAppendResponse}, typesOf(rd.PersistedMessages))
	require.False(t, rn.HasReady())

	rn.Persisted(rd.Number)
	require.False(t, rn.HasReady(), "the state machine has not taken in the snapshot")
	rn.Applied(9)
	require.EqualValues(t, 2, rn.AppliedTerm())
	require.Len(t, rn.Ready().CommittedEntries, 1)
}

// R3: a new leader does not know what its log holds; R2: nor does it campaign before it has applied it.
func TestNewLeaderRefusesChangesUntilItHasAppliedItsLog(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2, 3)
	cc := eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_AddNode, NodeId: 4}
	data, err := cc.Marshal()
	require.NoError(t, err)
	m := appendOf(2, 1, 1, 1, 2)
	m.Entries[0].EntryType, m.Entries[0].Data = eraftpb.EntryType_EntryConfChange, data
	step(t, rn, m)
	workAll(t, rn, s)

	require.NoError(t, rn.Campaign())
	workAll(t, rn, s)
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, From: 2, Term: 3})
	require.Equal(t, StateLeader, rn.Raft.State)
	require.Equal(t, ErrConfChangePending, rn.ProposeConfChange(cc))
	rn.TransferLeader(2)
	require.Equal(t, None, rn.Raft.LeadTransferee(), "R7")

	workAll(t, rn, s)
	ack(t, rn, 2, 3)
	workAll(t, rn, s)
	rn.ApplyConfChange(cc)
	require.NoError(t, rn.ProposeConfChange(cc))
	require.Equal(t, ErrConfChangePending, rn.ProposeConfChange(cc))
}

// R8, R9: at most so many reads wait; a leader that steps down forgets them; without a leader they are dropped.
func TestReadsAreBoundedAndForgotten(t *testing.T) {
	rn, s := lead(t, nil)
	for i := range maxPendingReads + 10 {
		rn.ReadIndex(fmt.Append(nil, i))
	}
	rn.Ready()
	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgHeartbeatResponse, From: 2, Term: 2, Context: []byte{0, 0, 0, 0, 0, 0, 0, 1},
	})
	require.Len(t, rn.Ready().ReadStates, maxPendingReads)

	rn.ReadIndex([]byte("waits"))
	rn.Ready()
	for _, context := range [][]byte{nil, []byte("client"), {0, 0, 0, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 9}} {
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeatResponse, From: 2, Term: 2, Context: context})
		require.Empty(t, rn.Ready().ReadStates, "confirmed by %v", context)
	}
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 2, Term: 3, LogTerm: 9, Index: 9})
	require.Empty(t, rn.Raft.reads.waiting)
	require.Zero(t, rn.HeartbeatRound())
	require.Zero(t, rn.QuorumRound())
	workAll(t, rn, s)
	rn.ReadIndex([]byte("nobody leads"))
	require.False(t, rn.HasReady())
}

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

// R13: a node that does not know yet that it is a member votes.
func TestNonMemberVotes(t *testing.T) {
	rn, s := asyncNode(t, 4, nil, 1, 2, 3)
	step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 3, Term: 2, LogTerm: 5, Index: 5})
	msgs := workAll(t, rn, s)
	require.Len(t, msgs, 1)
	require.False(t, msgs[0].Reject)
}

// R4: a node that has left a group of two votes for the one that is left although its own log is longer, but not for one
// that lacks what is committed.
func TestVoteForTheOnlyVoterLeft(t *testing.T) {
	rn, s := asyncNode(t, 1, nil, 1, 2)
	step(t, rn, appendOf(2, 1, 1, 3, 2, 2, 2, 2))
	workAll(t, rn, s)
	rn.ApplyConfChange(eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_RemoveNode, NodeId: 1})
	for index, reject := range map[uint64]bool{2: true, 3: false, 4: false} {
		rn.Raft.Vote = None
		rn.Raft.Lead = None
		rn.Raft.Term = 3
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 2, Term: 3, LogTerm: 2, Index: index})
		msgs := workAll(t, rn, s)
		require.Equal(t, reject, msgs[len(msgs)-1].Reject, "index %d", index)
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 9, Term: 4, LogTerm: 2, Index: index})
		msgs = workAll(t, rn, s)
		require.True(t, msgs[len(msgs)-1].Reject, "somebody else")
	}
}

// What is not committed is bounded (R16); what commits makes room.
func TestUncommittedIsBounded(t *testing.T) {
	rn, s := lead(t, func(c *Config) { c.MaxUncommittedEntriesSize = 10; c.MaxInflightBytes = 1 })
	require.NoError(t, rn.Propose(bytes.Repeat([]byte("x"), 50)), "a single one may be larger")
	require.NoError(t, rn.Propose(nil), "an empty one costs nothing")
	require.Equal(t, ErrProposalDropped, rn.Propose([]byte("x")))
	require.True(t, rn.Raft.Prs[2].paused(), "the window counts bytes")
	workAll(t, rn, s)
	ack(t, rn, 2, 3)
	require.NoError(t, rn.Propose([]byte("x")))
	require.Error(t, rn.Raft.propose(nil))
}

// LazyCommit: a commit index alone causes no message.
func TestLazyCommit(t *testing.T) {
	for _, lazy := range []bool{false, true} {
		rn, s := lead(t, func(c *Config) { c.LazyCommit = lazy })
		require.NoError(t, rn.Propose([]byte("x")))
		workAll(t, rn, s)
		ack(t, rn, 2, 3)
		msgs := workAll(t, rn, s)
		require.Equal(t, lazy, len(msgs) == 0)
		rn.Tick()
		msgs = workAll(t, rn, s)
		require.EqualValues(t, 3, msgs[0].Commit)
	}
}

// R16: a log that differs in hundreds of thousands of entries is passed over in one round trip a term.
func TestLongDivergentLog(t *testing.T) {
	const size = 200_000
	terms := func(term uint64) []eraftpb.Entry {
		ents := make([]eraftpb.Entry, size)
		for i := range ents {
			ents[i] = eraftpb.Entry{Term: term + uint64(i)/(size/4), Index: uint64(i) + 2}
		}
		return ents
	}
	follower, s := asyncNode(t, 1, nil, 1, 2)
	require.NoError(t, s.Append(terms(2)))
	follower, err := NewRawNode(&follower.Raft.cfg)
	require.NoError(t, err)
	leader, ls := asyncNode(t, 2, nil, 1, 2)
	require.NoError(t, ls.Append(terms(10)))
	ls.SetHardState(eraftpb.HardState{Term: 20})
	leader, err = NewRawNode(&leader.Raft.cfg)
	require.NoError(t, err)

	require.NoError(t, leader.Campaign())
	trips := 0
	for follower.Raft.RaftLog.LastIndex() != leader.Raft.RaftLog.LastIndex() || leader.Raft.State != StateLeader {
		trips++
		require.Less(t, trips, 20)
		for _, m := range workAll(t, leader, ls) {
			require.NoError(t, follower.Step(m))
		}
		for _, m := range workAll(t, follower, s) {
			require.NoError(t, leader.Step(m))
		}
	}
	require.Equal(t, leader.Raft.RaftLog.lastTerm(), follower.Raft.RaftLog.lastTerm())
}

// R16: the entries in memory are bounded once they are applied, and the memory is given back.
func TestCacheIsBounded(t *testing.T) {
	const limit = 64 << 10
	rn, s := asyncNode(t, 1, func(c *Config) { c.MaxCachedBytes = limit }, 1)
	require.NoError(t, rn.Campaign())
	workAll(t, rn, s)
	l := rn.Raft.RaftLog
	for range 5000 {
		require.NoError(t, rn.Propose(make([]byte, 100)))
		workAll(t, rn, s)
		require.LessOrEqual(t, len(l.entries)*(100+entryOverhead), limit+2*(100+entryOverhead))
		require.LessOrEqual(t, cap(l.entries), 4*limit/entryOverhead)
	}
	require.EqualValues(t, 5002, l.LastIndex())
	// All of it is still to be had.
	for i := uint64(1); i <= l.LastIndex(); i++ {
		require.EqualValues(t, min(i, 2), mustTerm(l.Term(i)))
	}
	ents, err := l.entriesFrom(2, 0)
	require.NoError(t, err)
	require.Len(t, ents, entriesPerRead)
	require.EqualValues(t, 2, ents[0].Index)
}

// A restart loads what is not applied, and a commit index that was not written down in time is at least the applied one.
func TestRestartLoadsOnlyWhatIsNeeded(t *testing.T) {
	s := NewMemoryStorage()
	ents := make([]eraftpb.Entry, 10)
	for i := range ents {
		ents[i] = eraftpb.Entry{Term: 1, Index: uint64(i) + 1}
	}
	require.NoError(t, s.Append(ents))
	s.SetHardState(eraftpb.HardState{Term: 1, Commit: 3})
	cfg := Config{ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: s, AsyncStorage: true, Applied: 6}
	rn, err := NewRawNode(&cfg)
	require.NoError(t, err)
	l := rn.Raft.RaftLog
	require.Len(t, l.entries, 4)
	require.EqualValues(t, 6, l.committed)
	require.EqualValues(t, 10, l.stabled)
	require.EqualValues(t, 1, mustTerm(l.Term(2)))
	require.False(t, rn.HasReady())
	require.EqualValues(t, 1, l.firstIndex())
	require.NoError(t, s.Compact(6))
	rn.Applied(6)
	require.EqualValues(t, 7, l.firstIndex())
	_, err = l.Term(2)
	require.Equal(t, ErrCompacted, err)

	for name, breakIt := range map[string]func(c *Config){
		"ID must not be 0":               func(c *Config) { c.ID = None },
		"HeartbeatTick is 0":             func(c *Config) { c.HeartbeatTick = 0 },
		"must be greater than Heartbeat": func(c *Config) { c.ElectionTick = 1 },
		"Storage is missing":             func(c *Config) { c.Storage = nil },
		"must not be negative":           func(c *Config) { c.MaxInflightMsgs = -1 },
		"outside of the persisted log":   func(c *Config) { c.Applied = 11 },
		"from 6 to 10":                   func(c *Config) { c.Applied = 5 },
		"lost entries":                   func(*Config) { s.SetHardState(eraftpb.HardState{Commit: 11}) },
	} {
		broken := cfg
		breakIt(&broken)
		_, err := NewRawNode(&broken)
		require.ErrorContains(t, err, name)
		require.Panics(t, func() { newRaft(&broken) })
	}
}

// brokenStorage answers errors where it is told to.
type brokenStorage struct {
	*MemoryStorage
	initial, first, last, term, entries error
}

func (b *brokenStorage) InitialState() (eraftpb.HardState, eraftpb.ConfState, error) {
	return eraftpb.HardState{}, eraftpb.ConfState{}, b.initial
}
func (b *brokenStorage) FirstIndex() (uint64, error)                  { return 1, b.first }
func (b *brokenStorage) LastIndex() (uint64, error)                   { return 1, b.last }
func (b *brokenStorage) Term(uint64) (uint64, error)                  { return 0, b.term }
func (b *brokenStorage) Entries(_, _ uint64) ([]eraftpb.Entry, error) { return nil, b.entries }

func TestStorageErrorsAtStart(t *testing.T) {
	for name, s := range map[string]*brokenStorage{
		"reading the initial state": {initial: ErrUnavailable},
		"reading the first index":   {first: ErrUnavailable},
		"reading the last index":    {last: ErrUnavailable},
		"reading the term":          {term: ErrUnavailable},
		"reading entries 1 to 1":    {entries: ErrLogTemporarilyUnavailable},
	} {
		_, err := NewRawNode(&Config{ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: s})
		require.ErrorContains(t, err, name)
		if s.initial == nil {
			require.Panics(t, func() { newLog(s) })
		}
	}
}

// Reports of what cannot be are broken invariants of the owner.
func TestImpossibleReportsPanic(t *testing.T) {
	rn, _ := lead(t, nil)
	require.Panics(t, func() { rn.Persisted(99) })
	require.Panics(t, func() { rn.Applied(99) })
	require.Panics(t, func() { rn.Advance(Ready{}) })
	require.Panics(t, func() { rn.Raft.RaftLog.commitTo(99) })
	require.Panics(t, func() { rn.Raft.becomeCandidate() })
	rn.Raft.becomeFollower(2, None)
	require.Panics(t, func() { rn.Raft.becomeLeader() })
	require.Panics(t, func() { rn.Raft.RaftLog.maybeAppend(1, 1, []*eraftpb.Entry{{Term: 9, Index: 2}}) })
}

// Messages of the node itself do not come from outside, nor do answers from strangers.
func TestStepRefuses(t *testing.T) {
	rn, _ := lead(t, nil)
	for _, mt := range []eraftpb.MessageType{
		eraftpb.MessageType_MsgHup, eraftpb.MessageType_MsgBeat, eraftpb.MessageType_MsgUnreachable,
		eraftpb.MessageType_MsgSnapStatus, eraftpb.MessageType_MsgCheckQuorum,
	} {
		require.Equal(t, ErrStepLocalMsg, rn.Step(eraftpb.Message{MsgType: mt, From: 2}))
	}
	for _, mt := range []eraftpb.MessageType{
		eraftpb.MessageType_MsgAppendResponse, eraftpb.MessageType_MsgHeartbeatResponse,
		eraftpb.MessageType_MsgRequestVoteResponse, eraftpb.MessageType_MsgRequestPreVoteResponse,
	} {
		require.Equal(t, ErrStepPeerNotFound, rn.Step(eraftpb.Message{MsgType: mt, From: 9, Term: 2}))
	}
	// A leader may get what only makes sense for others: it does nothing.
	require.NoError(t, rn.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgTimeoutNow, From: 2, Term: 2}))
	require.NoError(t, rn.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgTransferLeader, From: 9, Term: 2}))
	ack(t, rn, 2, 99)
	require.EqualValues(t, 2, rn.Raft.Prs[2].Match)
	require.False(t, rn.HasReady())
}

// Refusals that are delayed or repeated are no news.
func TestStaleRejections(t *testing.T) {
	pr := Progress{Match: 5, Next: 10, State: ProgressReplicate}
	require.False(t, pr.maybeDecrease(5, 3))
	require.True(t, pr.maybeDecrease(9, 7))
	require.Equal(t, ProgressProbe, pr.State)
	require.EqualValues(t, 8, pr.Next)
	require.False(t, pr.maybeDecrease(9, 7))
	require.True(t, pr.maybeDecrease(7, 2))
	require.EqualValues(t, 6, pr.Next, "never before what is known to agree")
	pr.becomeSnapshot(20)
	require.False(t, pr.maybeDecrease(20, 2))
	require.True(t, pr.paused())
	pr.becomeProbe()
	require.EqualValues(t, 21, pr.Next)
}

func TestInflightWindow(t *testing.T) {
	in := inflight{maxCount: 3, maxBytes: 100}
	for i := range uint64(3) {
		require.False(t, in.full())
		in.add(i+1, 10)
	}
	require.True(t, in.full())
	in.acked(2)
	require.False(t, in.full())
	in.add(4, 90)
	require.True(t, in.full(), "by bytes")
	in.acked(4)
	require.Zero(t, in.count)
	require.Zero(t, in.bytes)
	for i := range uint64(10) { // grows while it is wrapped around
		in.maxCount, in.maxBytes = 100, 1000
		in.add(i+5, 1)
		if i == 2 {
			in.acked(5)
		}
	}
	in.acked(9)
	require.Equal(t, 5, in.count)
	in.reset()
	require.False(t, in.full())
}

// Status and GetProgress are copies.
func TestStatusIsACopy(t *testing.T) {
	rn, _ := lead(t, func(c *Config) { c.MaxInflightMsgs = 4 })
	require.NoError(t, rn.Propose([]byte("x")))
	st := rn.Status()
	require.Equal(t, StateLeader, st.RaftState)
	require.EqualValues(t, 2, st.AppliedTerm)
	require.EqualValues(t, 4, st.Progress[2].Next)
	require.NoError(t, rn.Propose([]byte("y")))
	require.EqualValues(t, 4, st.Progress[2].Next)
	require.Contains(t, st.String(), "2: replicate match=2 next=4")
	st.Voters[0] = 9
	require.Equal(t, []uint64{1, 2, 3}, rn.Raft.peers)
	require.EqualValues(t, 2, rn.Raft.RaftLog.Committed())
	require.EqualValues(t, 2, rn.Raft.RaftLog.Stabled())

	rn.TransferLeader(2)
	require.Contains(t, rn.Status().String(), "transferee=2")
	rn.Raft.becomeFollower(3, None)
	require.Nil(t, rn.Status().Progress)
	rn.EntriesAvailable()
	rn.SnapshotAvailable()
	require.Equal(t, "StatePreCandidate", StatePreCandidate.String())
}

// Equal seeds give equal timeouts, other seeds other ones.
func TestTimeoutsFollowTheSeed(t *testing.T) {
	timeouts := func(seed, id uint64) (drawn []int) {
		rn, _ := asyncNode(t, id, func(c *Config) { c.Seed = seed }, 1, 2, 3)
		for range 20 {
			rn.Raft.becomeFollower(rn.Raft.Term+1, None)
			drawn = append(drawn, rn.Raft.clock.electionTimeout)
		}
		return drawn
	}
	require.Equal(t, timeouts(1, 2), timeouts(1, 2))
	require.False(t, slices.Equal(timeouts(1, 2), timeouts(2, 2)))
	require.False(t, slices.Equal(timeouts(1, 2), timeouts(1, 3)))
}

func TestMemoryStorage(t *testing.T) {
	s := NewMemoryStorage()
	ents := []eraftpb.Entry{{Index: 1, Term: 1}, {Index: 2, Term: 1}, {Index: 3, Term: 2}}
	require.NoError(t, s.Append(ents))
	require.NoError(t, s.Append(nil))
	require.ErrorContains(t, s.Append([]eraftpb.Entry{{Index: 9}}), "gap")
	snap, err := s.CreateSnapshot(2, &eraftpb.ConfState{Voters: []uint64{1}}, []byte("state"))
	require.NoError(t, err)
	require.EqualValues(t, 1, snap.Metadata.Term)
	_, err = s.CreateSnapshot(2, nil, nil)
	require.Equal(t, ErrCompacted, err)
	_, err = s.CreateSnapshot(9, nil, nil)
	require.Equal(t, ErrUnavailable, err)
	later, err := s.CreateSnapshot(3, nil, nil)
	require.NoError(t, err)
	require.Equal(t, []uint64{1}, later.Metadata.ConfState.Voters)
	require.EqualValues(t, 2, snap.Metadata.Index, "a snapshot is not changed")

	require.NoError(t, s.Compact(2))
	require.Equal(t, ErrCompacted, s.Compact(2))
	require.Equal(t, ErrUnavailable, s.Compact(9))
	_, err = s.Entries(2, 3)
	require.Equal(t, ErrCompacted, err)
	_, err = s.Entries(3, 5)
	require.Equal(t, ErrUnavailable, err)
	got, err := s.Entries(3, 4)
	require.NoError(t, err)
	require.Equal(t, ents[2:], got)
	_, err = s.Term(1)
	require.Equal(t, ErrCompacted, err)
	_, err = s.Term(4)
	require.Equal(t, ErrUnavailable, err)
	require.EqualValues(t, 1, mustTerm(s.Term(2)))
	require.Equal(t, ErrCompacted, s.ApplySnapshot(snap))
	require.NoError(t, s.Append([]eraftpb.Entry{{Index: 1}, {Index: 2}}), "what is compacted is ignored")
	require.Panics(t, func() { mustTerm(s.Term(9)) })
}

func TestDiffu(t *testing.T) {
	require.Empty(t, diffu("a\nb", "a\nb"))
	require.Equal(t, "  a\n- b\n+ c\n- \n+ d\n", diffu("a\nb", "a\nc\nd"))
}
