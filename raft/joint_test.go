package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// Learners and joint configurations, one node at a time. Stories that need a group are in testdata.

// withConf returns a node that starts with this configuration as of index 1.
func withConf(id uint64, cs *eraftpb.ConfState, change func(*Config)) (*RawNode, *MemoryStorage, error) {
	s := NewMemoryStorage()
	if err := s.ApplySnapshot(eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: 1, Term: 1, ConfState: cs}}); err != nil {
		return nil, nil, err
	}
	s.SetHardState(eraftpb.HardState{Term: 1, Commit: 1})
	cfg := &Config{ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: s, Applied: 1, AsyncStorage: true}
	if change != nil {
		change(cfg)
	}
	rn, err := NewRawNode(cfg)
	return rn, s, err
}

// leadJoint makes node 1 leader of term 2 in a joint configuration, by the votes of these.
func leadJoint(t *testing.T, cs *eraftpb.ConfState, votes ...uint64) (*RawNode, *MemoryStorage) {
	t.Helper()
	rn, s, err := withConf(1, cs, nil)
	require.NoError(t, err)
	require.NoError(t, rn.Campaign())
	workAll(t, rn, s)
	for _, id := range votes {
		require.NotEqual(t, StateLeader, rn.Raft.State, "elected without %d", id)
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, From: id, Term: 2})
	}
	require.Equal(t, StateLeader, rn.Raft.State)
	workAll(t, rn, s)
	return rn, s
}

func explicitChange(changes ...*eraftpb.ConfChangeSingle) eraftpb.ConfChangeV2 {
	return eraftpb.ConfChangeV2{Transition: eraftpb.ConfChangeTransition_Explicit, Changes: changes}
}

func single(kind eraftpb.ConfChangeType, id uint64) *eraftpb.ConfChangeSingle {
	return &eraftpb.ConfChangeSingle{ChangeType: kind, NodeId: id}
}

// R14: votes, commits, rounds and the check of the quorum all ask both majorities; learners have no voice in any of them.
func TestBothMajoritiesDecide(t *testing.T) {
	here, there := []uint64{1, 4, 5}, []uint64{1, 2, 3}
	t.Run("outgoing first", func(t *testing.T) {
		bothMajoritiesDecide(t, &eraftpb.ConfState{Voters: here, VotersOutgoing: there, Learners: []uint64{6}})
	})
	t.Run("incoming first", func(t *testing.T) {
		bothMajoritiesDecide(t, &eraftpb.ConfState{Voters: there, VotersOutgoing: here, Learners: []uint64{6}})
	})
}

func bothMajoritiesDecide(t *testing.T, cs *eraftpb.ConfState) {
	rn, s := leadJoint(t, cs, 6, 2, 4)

	ack(t, rn, 6, 2)
	ack(t, rn, 4, 2)
	ack(t, rn, 5, 2)
	require.EqualValues(t, 1, rn.Raft.RaftLog.committed, "one majority alone")
	ack(t, rn, 3, 2)
	require.EqualValues(t, 2, rn.Raft.RaftLog.committed)
	workAll(t, rn, s)

	rn.ReadIndex([]byte("read"))
	rd := work(t, rn, s)
	echo := func(id uint64) []ReadState {
		for _, m := range rd.Messages {
			if m.To == id && m.MsgType == eraftpb.MessageType_MsgHeartbeat {
				step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeatResponse, From: id, Term: 2, Context: m.Context})
			}
		}
		return rn.Ready().ReadStates
	}
	require.Empty(t, echo(6))
	require.Empty(t, echo(2))
	require.Empty(t, echo(3), "one majority alone")
	require.Zero(t, rn.QuorumRound())
	require.Equal(t, []ReadState{{Index: 2, RequestCtx: []byte("read")}}, echo(5))
	require.Equal(t, rn.HeartbeatRound(), rn.QuorumRound())

	require.True(t, rn.Raft.checkQuorum())
	ack(t, rn, 6, 2)
	ack(t, rn, 2, 2)
	require.False(t, rn.Raft.checkQuorum(), "one majority alone")
	ack(t, rn, 2, 2)
	ack(t, rn, 4, 2)
	require.True(t, rn.Raft.checkQuorum())
}

// Every configuration that can be reached is restored as it was, from what is persisted and from a snapshot, and decides who
// may campaign and to whom requests for votes go.
func TestRestoreAnyConfiguration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		conf, err := confchange.Restore(&eraftpb.ConfState{Voters: []uint64{1, 2, 3}})
		require.NoError(t, err)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			cc := eraftpb.ConfChangeV2{Transition: eraftpb.ConfChangeTransition(rapid.Int32Range(0, 2).Draw(t, "transition"))}
			for range rapid.IntRange(0, 3).Draw(t, "count") {
				cc.Changes = append(cc.Changes, single(eraftpb.ConfChangeType(rapid.Int32Range(0, 2).Draw(t, "type")), rapid.Uint64Range(1, 6).Draw(t, "id")))
			}
			conf, _ = confchange.Apply(conf, cc)
		}
		cs := conf.State()
		started, s, err := withConf(1, cs, nil)
		require.NoError(t, err)
		require.Equal(t, *cs, started.Status().Conf)

		require.NoError(t, started.Campaign())
		require.Equal(t, conf.Voters.Contains(1), started.Raft.State != StateFollower)
		asked := map[uint64]bool{1: conf.Voters.Contains(1)}
		for started.HasReady() {
			rd := started.Ready()
			started.Persisted(rd.Number)
			for _, m := range rd.PersistedMessages {
				asked[m.To] = m.MsgType == eraftpb.MessageType_MsgRequestVote
			}
			require.NoError(t, s.Append(rd.Entries))
		}
		for id := uint64(1); id <= 6; id++ {
			require.Equal(t, conf.Voters.Contains(id) && conf.Voters.Contains(1), asked[id])
		}

		follower, _, err := withConf(9, &eraftpb.ConfState{Voters: []uint64{8}}, nil)
		require.NoError(t, err)
		cs.Learners = append(cs.Learners, 9)
		require.NoError(t, follower.Step(eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 3,
			Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: 9, Term: 2, ConfState: cs}},
		}))
		require.Equal(t, *cs, follower.Status().Conf)
		require.False(t, follower.Raft.isVoter())
	})
}

func TestImpossibleConfigurationIsRefused(t *testing.T) {
	impossible := &eraftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{1}}
	_, _, err := withConf(1, impossible, nil)
	require.ErrorContains(t, err, "node 1 is voter and learner")

	rn, _, err := withConf(1, &eraftpb.ConfState{Voters: []uint64{1, 2}}, nil)
	require.NoError(t, err)
	step(t, rn, eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgSnapshot, From: 2, Term: 3,
		Snapshot: &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: 9, Term: 2, ConfState: impossible}},
	})
	require.Nil(t, rn.Raft.RaftLog.pendingSnapshot)
}

// R7: a transfer ends when a change makes the transferee a learner, or a voter on its way out.
func TestTransferEndsWhenTransfereeLosesItsVote(t *testing.T) {
	for _, kind := range []eraftpb.ConfChangeType{eraftpb.ConfChangeType_AddLearnerNode, eraftpb.ConfChangeType_RemoveNode} {
		rn, _ := lead(t, nil)
		rn.TransferLeader(2)
		require.EqualValues(t, 2, rn.Raft.LeadTransferee())
		rn.ApplyConfChangeV2(explicitChange(single(kind, 2)))
		require.Equal(t, None, rn.Raft.LeadTransferee())
		rn.TransferLeader(2)
		require.Equal(t, None, rn.Raft.LeadTransferee())
		rn.TransferLeader(3)
		require.EqualValues(t, 3, rn.Raft.LeadTransferee())
	}
}

// R11: while a membership change may be pending there is no lease, since the group may consist of one other node by the time
// that the leader hears of it; nor is there one for a leader without a vote.
func TestNoLeaseWhileMembersChange(t *testing.T) {
	rn, s := lead(t, nil)
	round := func() {
		rn.Tick()
		for _, m := range workAll(t, rn, s) {
			if m.MsgType == eraftpb.MessageType_MsgHeartbeat {
				step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeatResponse, From: m.To, Term: 2, Context: m.Context})
			}
		}
	}
	round()
	require.NotZero(t, rn.QuorumRound())
	demotion := eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, NodeId: 1}
	require.NoError(t, rn.ProposeConfChange(demotion))
	round()
	require.Zero(t, rn.QuorumRound(), "proposed")
	workAll(t, rn, s)
	ack(t, rn, 2, 3)
	rn.ApplyConfChange(demotion)
	round()
	require.Equal(t, StateLeader, rn.Raft.State, "nobody has told that it knows")
	require.False(t, rn.Raft.isVoter())
	require.Zero(t, rn.QuorumRound(), "without a vote")
}

// At most one change is in flight, and a refusal says why.
func TestRefusedChanges(t *testing.T) {
	rn, s := lead(t, nil)
	add := single(eraftpb.ConfChangeType_AddNode, 4)
	last := rn.Raft.RaftLog.LastIndex()
	require.Equal(t, confchange.ErrNotJoint, rn.ProposeConfChangeV2(eraftpb.ConfChangeV2{}))
	require.Equal(t, confchange.ErrNoNode, rn.ProposeConfChangeV2(explicitChange()))
	change := eraftpb.Entry{EntryType: eraftpb.EntryType_EntryConfChangeV2}
	require.Equal(t, ErrConfChangePending, rn.Raft.propose([]*eraftpb.Entry{&change, {}, &change}), "two at once")
	require.Equal(t, last, rn.Raft.RaftLog.LastIndex())

	enter := explicitChange(add, single(eraftpb.ConfChangeType_RemoveNode, 3))
	require.NoError(t, rn.ProposeConfChangeV2(enter))
	require.Equal(t, ErrConfChangePending, rn.ProposeConfChangeV2(enter), "proposed")
	workAll(t, rn, s)
	ack(t, rn, 2, 3)
	require.Equal(t, ErrConfChangePending, rn.ProposeConfChangeV2(enter), "committed")
	for rn.HasReady() {
		rd := rn.Ready()
		for _, e := range rd.CommittedEntries {
			rn.ApplyConfChangeV2(enter)
			rn.Applied(e.Index)
			require.Equal(t, ErrConfChangePending, rn.ProposeConfChangeV2(eraftpb.ConfChangeV2{}), "in force, not durable")
		}
		require.NoError(t, s.Append(rd.Entries))
		rn.Persisted(rd.Number)
	}
	require.Equal(t, confchange.ErrJoint, rn.ProposeConfChangeV2(enter))
	require.Equal(t, confchange.ErrJoint, rn.ProposeConfChange(eraftpb.ConfChange{NodeId: 5}))
	require.NoError(t, rn.ProposeConfChangeV2(eraftpb.ConfChangeV2{}))
	rn.Raft.becomeFollower(3, 2)
	require.Equal(t, ErrProposalDropped, rn.ProposeConfChangeV2(eraftpb.ConfChangeV2{}))
}

// R3: what is illegal by the time at which it is applied has no effect.
func TestIllegalChangeHasNoEffect(t *testing.T) {
	rn, _ := lead(t, nil)
	before := rn.Status().Conf
	require.Equal(t, &before, rn.ApplyConfChangeV2(eraftpb.ConfChangeV2{}))
	enter := explicitChange(single(eraftpb.ConfChangeType_AddNode, 4))
	joint := rn.ApplyConfChangeV2(enter)
	require.Equal(t, []uint64{1, 2, 3}, joint.VotersOutgoing)
	require.Equal(t, joint, rn.ApplyConfChangeV2(enter))
	require.Equal(t, joint, rn.ApplyConfChange(eraftpb.ConfChange{NodeId: 5}))
}

// A removed node is needed until those who remain know (R4). That is so when a leader tells it, which it does last; not if only
// its own disk says so.
func TestDismissed(t *testing.T) {
	remove := eraftpb.ConfChange{ChangeType: eraftpb.ConfChangeType_RemoveNode, NodeId: 1}
	heartbeat := eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, From: 2, Term: 2, Commit: 2}

	told, s := asyncNode(t, 1, nil, 1, 2, 3)
	step(t, told, appendOf(2, 1, 1, 1, 2))
	workAll(t, told, s)
	step(t, told, heartbeat)
	require.False(t, told.Dismissed())
	told.ApplyConfChange(remove)
	require.True(t, told.Dismissed())
	told.ApplyConfChange(eraftpb.ConfChange{NodeId: 1})
	require.False(t, told.Dismissed(), "added again")

	s.SetHardState(eraftpb.HardState{Term: 2, Commit: 2})
	restarted, err := NewRawNode(&Config{ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: s, Applied: 1, AsyncStorage: true})
	require.NoError(t, err)
	restarted.ApplyConfChange(remove)
	require.False(t, restarted.Dismissed())
	step(t, restarted, heartbeat)
	require.True(t, restarted.Dismissed())

	_, err = s.CreateSnapshot(2, &eraftpb.ConfState{Voters: []uint64{2, 3}}, nil)
	require.NoError(t, err)
	restarted, err = NewRawNode(&Config{ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: s, Applied: 2, AsyncStorage: true})
	require.NoError(t, err)
	require.False(t, restarted.Dismissed(), "it had applied its removal before it stopped")
	step(t, restarted, heartbeat)
	require.True(t, restarted.Dismissed())
}

// In the course's mode a joint configuration is left by itself, too.
func TestCourseModeLeavesJoint(t *testing.T) {
	s := NewMemoryStorage()
	rn, err := NewRawNode(newTestConfig(1, []uint64{1}, 10, 1, s))
	require.NoError(t, err)
	require.NoError(t, rn.Campaign())
	require.NoError(t, rn.ProposeConfChangeV2(eraftpb.ConfChangeV2{
		Transition: eraftpb.ConfChangeTransition_Implicit, Changes: []*eraftpb.ConfChangeSingle{single(eraftpb.ConfChangeType_AddLearnerNode, 2)},
	}))
	for rn.HasReady() {
		rd := rn.Ready()
		require.NoError(t, s.Append(rd.Entries))
		for _, e := range rd.CommittedEntries {
			if e.EntryType == eraftpb.EntryType_EntryConfChangeV2 {
				var cc eraftpb.ConfChangeV2
				require.NoError(t, cc.Unmarshal(e.Data))
				rn.ApplyConfChangeV2(cc)
			}
		}
		rn.Advance(rd)
	}
	require.Equal(t, eraftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}, rn.Status().Conf)
}

// A region that has just split off has a log and a term but no past: without silence it campaigns, and answers, at once.
func TestNewPeerIsNotSilent(t *testing.T) {
	for _, silence := range []int{0, 10} {
		rn, s, err := withConf(1, &eraftpb.ConfState{Voters: []uint64{1, 2, 3}}, func(c *Config) {
			c.PreVote, c.CheckQuorum, c.VoteSilenceTicks = true, true, silence
		})
		require.NoError(t, err)
		step(t, rn, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVote, From: 2, Term: 2, LogTerm: 1, Index: 1})
		require.Equal(t, silence == 0, len(workAll(t, rn, s)) > 0)
		require.NoError(t, rn.Campaign())
		require.Equal(t, silence == 0, rn.Raft.State == StatePreCandidate)
	}
}
