package raft

import (
	"fmt"
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

// R15: a write from before a snapshot says nothing about the log behind the snapshot.
func TestWriteFromBeforeSnapshotDoesNotCount(t *testing.T) {
	rn, _ := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, rn, appendOf(2, 1, 1, 1, 2, 2, 2, 2))
	before := rn.Ready()
	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 3,
		Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{
			Index: 3, Term: 3, ConfState: &eraftpb.ConfState{Voters: []uint64{1, 2}},
		}},
	})
	step(t, rn, appendOf(3, 3, 3, 3, 3, 3))
	require.EqualValues(t, 5, rn.Raft.RaftLog.LastIndex())
	rn.Persisted(before.Number)
	require.EqualValues(t, 3, rn.Raft.RaftLog.stabled)
	require.NotNil(t, rn.Raft.RaftLog.pendingSnapshot)
	rn.Persisted(rn.Ready().Number)
	require.EqualValues(t, 5, rn.Raft.RaftLog.stabled)
	require.Nil(t, rn.Raft.RaftLog.pendingSnapshot)
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

// R4, R14: who does not know that the other one of two has been removed, and whose log is the shorter one, cannot win its
// vote; but the refusal tells what is committed, once that is durable, and whoever has that entry learns it.
func TestVotersTeachCommit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		last    uint64
		learned bool
	}{
		{"knows the removal", 3, true},
		{"lacks it", 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gone, goneDisk := asyncNode(t, 1, nil, 1, 2)
			step(t, gone, appendOf(2, 1, 1, 3, 2, 2, 2, 2))
			workAll(t, gone, goneDisk)
			gone.ApplyConfChange(eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_RemoveNode, NodeId: 1})

			left, leftDisk := asyncNode(t, 2, nil, 1, 2)
			ents := []uint64{2, 2}[:tt.last-1]
			step(t, left, appendOf(2, 1, 1, 1, ents...))
			workAll(t, left, leftDisk)
			require.NoError(t, left.Campaign())
			request := workAll(t, left, leftDisk)[0]
			require.Equal(t, eraftpb.MessageType_MsgRequestVote, request.MsgType)

			step(t, gone, request)
			refusals := workAll(t, gone, goneDisk)
			refusal := refusals[len(refusals)-1]
			require.True(t, refusal.Reject)
			step(t, left, refusal)
			require.Equal(t, tt.learned, left.Raft.RaftLog.Committed() == 3)
		})
	}
}

// The one who refuses a pre-vote may live in an earlier term; what it knows to be committed is.
func TestOldRefusalTeachesCommit(t *testing.T) {
	rn, s := asyncNode(t, 2, func(c *Config) { c.PreVote = true }, 1, 2)
	step(t, rn, appendOf(2, 1, 1, 1, 2, 2))
	workAll(t, rn, s)
	require.NoError(t, rn.Campaign())
	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgRequestPreVoteResponse, From: 1, Term: 1, Reject: true, Commit: 3, RejectHint: 2,
	})
	require.EqualValues(t, 3, rn.Raft.RaftLog.Committed())
	require.Equal(t, StatePreCandidate, rn.Raft.State)
}

// R8: with AnnounceApplied a follower never knows of a commit that the leader has not applied, and a read that it let in waits for no heartbeat.
func TestCommitIsAnnouncedWhenApplied(t *testing.T) {
	cfg := newTestConfig(1, []uint64{1, 2, 3}, 10, 1, NewMemoryStorage())
	cfg.AsyncStorage, cfg.LazyCommit, cfg.AnnounceApplied = true, true, true
	rn, err := NewRawNode(cfg)
	require.NoError(t, err)
	r := rn.Raft
	r.becomeCandidate()
	r.becomeLeader()
	persistAll := func() []eraftpb.Message {
		rd := rn.Ready()
		rn.Persisted(rd.Number)
		return append(rd.Messages, rn.Ready().Messages...)
	}
	persistAll()
	require.NoError(t, rn.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, From: 2, To: 1, Term: r.Term, Index: r.RaftLog.LastIndex()}))
	committed := r.RaftLog.committed
	require.Equal(t, r.RaftLog.LastIndex(), committed)
	require.Zero(t, r.announced())

	require.NoError(t, rn.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgReadIndex, From: 3, To: 1, Term: r.Term, Context: []byte("read")}))
	var round []byte
	for _, m := range persistAll() {
		if m.MsgType == eraftpb.MessageType_MsgHeartbeat {
			require.Zero(t, m.Commit)
			round = m.Context
		}
	}
	require.NoError(t, rn.Step(eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeatResponse, From: 2, To: 1, Term: r.Term, Context: round}))
	var index uint64
	for _, m := range persistAll() {
		if m.MsgType == eraftpb.MessageType_MsgReadIndexResp {
			index = m.Index
		}
	}
	require.Equal(t, committed, index, "what was acknowledged may be applied already, although nobody has said so here")
	rn.Applied(committed)
	var told uint64
	for _, m := range persistAll() {
		told = max(told, m.Commit)
	}
	require.Equal(t, committed, told)
}
