package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

func testConfig(storeID uint64) Config {
	return Config{
		StoreID: storeID, ElectionTicks: 10, HeartbeatTicks: 2, PreVote: true, LeaseDuration: 700,
		Raft: RaftLimits{MaxSizePerMsg: 1 << 20, MaxCommittedPerReady: 1 << 20, MaxUncommitted: 1 << 20, MaxInflightBytes: 1 << 20, MaxInflightMsgs: 16, MaxCached: 1 << 20, MaxEntry: 1 << 10, MaxBatch: 1 << 16},
	}
}

func message(regionID, from, to uint64, kind eraftpb.MessageType, confVer uint64) *raft_serverpb.RaftMessage {
	return &raft_serverpb.RaftMessage{
		RegionId: regionID, FromPeer: &metapb.Peer{Id: from, StoreId: from}, ToPeer: &metapb.Peer{Id: to, StoreId: 1},
		RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: confVer}, Message: &eraftpb.Message{MsgType: kind, From: from, To: to, Term: 6},
	}
}

func unknown(m *StoreMachine, msg *raft_serverpb.RaftMessage) []Addressed {
	round := m.Handle([]Mail{Unknown{msg}}, 0)
	return round.Mail
}

// S7: a removed peer does not come back, whatever old message reaches the store, before and after a restart; a newer peer of the region may.
func TestTombstonesHold(t *testing.T) {
	m, err := NewStoreMachine(1, StoreState{})
	require.NoError(t, err)
	created := unknown(m, message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 5))
	require.IsType(t, Create{}, created[0].Mail)
	last := &metapb.Region{Id: 7, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 6}, Peers: []*metapb.Peer{{Id: 20, StoreId: 20}}}
	m.Handle([]Mail{Gone{RegionID: 7, PeerID: 30, Region: last}}, 0)

	restarted, err := NewStoreMachine(1, StoreState{Tombstones: map[uint64]Tombstone{7: {PeerID: 30, ConfVer: 6, Members: last.Peers}}})
	require.NoError(t, err)
	for _, m := range []*StoreMachine{m, restarted} {
		for kind := range eraftpb.MessageType_name {
			for _, confVer := range []uint64{4, 5, 6, 9} {
				require.Empty(t, unknown(m, message(7, 20, 30, eraftpb.MessageType(kind), confVer)), "peer 30 is dead")
				require.Empty(t, unknown(m, message(7, 20, 29, eraftpb.MessageType(kind), confVer)), "and so are its elders")
			}
		}
		require.Empty(t, unknown(m, message(7, 20, 31, eraftpb.MessageType_MsgHeartbeat, 5)), "an epoch before the removal proves nothing")
		require.IsType(t, Create{}, unknown(m, message(7, 20, 31, eraftpb.MessageType_MsgHeartbeat, 7))[0].Mail)
	}
}

// S8: a peer was removed and did not hear of it, and everybody whom it knows has left the region since. A store whose own peer left later than it tells it;
// one whose peer left while it was still a member only says who the others were. Found by the simulator.
func TestTheBuriedBuryTheForgotten(t *testing.T) {
	last := &metapb.Region{Id: 7, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 6}, Peers: []*metapb.Peer{{Id: 20, StoreId: 20}}}
	m, err := NewStoreMachine(1, StoreState{Tombstones: map[uint64]Tombstone{7: {PeerID: 30, ConfVer: 6, Members: last.Peers}, 8: {PeerID: 30}}})
	require.NoError(t, err)
	told := func(regionID, from, confVer uint64, kind eraftpb.MessageType) []*raft_serverpb.RaftMessage {
		round := m.Handle([]Mail{Unknown{message(regionID, from, 30, kind, confVer)}}, 0)
		require.Empty(t, round.Mail)
		return round.Send
	}
	sent := told(7, 10, 4, eraftpb.MessageType_MsgRequestVote)
	require.Len(t, sent, 1)
	require.True(t, sent[0].IsTombstone)
	require.Equal(t, uint64(10), sent[0].ToPeer.Id)
	require.Equal(t, uint64(6), sent[0].RegionEpoch.ConfVer)
	guided := told(7, 20, 4, eraftpb.MessageType_MsgRequestVote)
	require.False(t, guided[0].IsTombstone, "it was a member")
	require.Equal(t, last.Peers, guided[0].ExtraMsg.CheckPeers)
	require.Empty(t, told(7, 10, 6, eraftpb.MessageType_MsgRequestVote), "it may know better")
	require.Empty(t, told(7, 10, 4, eraftpb.MessageType_MsgRequestVoteResponse), "an answer")
	require.Empty(t, told(8, 10, 4, eraftpb.MessageType_MsgRequestVote), "a peer that never had its data knows nobody")
}

// S5: a peer that has no data yet gives way to a newer one of its region, keeps its vote, and hears nothing any more.
func TestUninitializedPeerIsReplaced(t *testing.T) {
	m, err := NewRaftMachine(testConfig(1), nil)
	require.NoError(t, err)
	vote := &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: 6, Vote: 20}}
	m.Handle([]Mail{Create{RegionID: 7, PeerID: 30, State: vote, First: message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 2)}}, 1)
	require.Equal(t, uint64(20), m.peers[7].node.Raft.Vote, "a vote that was given before the restart is remembered")

	round := m.Handle([]Mail{Step{message(7, 20, 31, eraftpb.MessageType_MsgHeartbeat, 4)}}, 2)
	require.Len(t, round.Apply, 1)
	require.NotNil(t, round.Apply[0].Destroy)
	require.True(t, round.Views[0].Gone)
	silent := m.Handle([]Mail{Step{message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 2)}, Tick{}}, 3)
	require.Empty(t, silent.Send)
	require.Empty(t, silent.Write)

	round = m.Handle([]Mail{Cleared{7, 30}}, 4)
	require.True(t, round.Write[0].Destroy && round.Write[0].Sync)
	require.Equal(t, vote, round.Write[0].State, "its vote outlives it")
	round = m.Handle([]Mail{LogDestroyed{7, 30}, Cleared{7, 30}}, 5)
	require.Equal(t, Gone{RegionID: 7, PeerID: 30, Region: &metapb.Region{Id: 7}, State: vote}, round.Mail[0].Mail)
	require.Empty(t, m.peers)
	late := m.Handle([]Mail{Persisted{7, 30, 3}, Applied{RegionID: 7, PeerID: 30}, LogDestroyed{7, 30}}, 6)
	require.Empty(t, late.Write, "completions of a peer that is gone are dropped")
}

// single makes a machine with a region of one peer that leads.
func single(t *testing.T) (*RaftMachine, *peer) {
	r := &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 2, StoreId: 1}}}
	at := Pair{InitIndex, InitTerm}
	m, err := NewRaftMachine(testConfig(1), []Restored{{
		Region: r, PeerID: 2, Apply: ApplyState(at, at),
		Raft: &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: InitTerm, Commit: InitIndex}, LastIndex: InitIndex},
	}})
	require.NoError(t, err)
	for now := Instant(1); !m.peers[1].isLeader() || m.peers[1].applied.Term != m.peers[1].term(); now++ {
		require.Less(t, now, Instant(100), "a group of one elects itself")
		settle(m, m.Handle([]Mail{Tick{}}, now), now)
	}
	return m, m.peers[1]
}

// settle plays the shells: everything is durable and applied at once.
func settle(m *RaftMachine, round Round, now Instant) {
	for len(round.Write)+len(round.Apply) > 0 {
		var mail []Mail
		for _, w := range round.Write {
			mail = append(mail, Persisted{w.RegionID, w.PeerID, w.Number})
		}
		for _, a := range round.Apply {
			last := a.Entries[len(a.Entries)-1]
			mail = append(mail, Applied{RegionID: a.RegionID, PeerID: a.PeerID, Results: ApplyResults{Applied: Pair{last.Index, last.Term}}})
		}
		round = m.Handle(mail, now)
	}
}

func proposal(term uint64, done func(error)) *Proposal {
	body := command.AppendOp(nil, command.Put, engine.Default, []byte("k"), []byte("v"))
	return &Proposal{RegionID: 1, Term: term, Done: done, Command: command.Command{Kind: command.Write, Epoch: command.Epoch{Version: 1, ConfVer: 1}, Body: body}}
}

// S13: what was computed from a snapshot of another term is refused, although this peer leads again.
func TestSnapshotTermMustStillRule(t *testing.T) {
	m, p := single(t)
	round := m.Handle([]Mail{Propose{proposal(p.term()-1, func(error) {})}}, 200)
	require.Len(t, round.Reply, 1)
	require.IsType(t, &region.StaleCommandError{}, round.Reply[0].Err)
	require.Empty(t, round.Write)
	round = m.Handle([]Mail{Propose{proposal(p.term(), func(error) {})}}, 201)
	require.Empty(t, round.Reply)
	require.Len(t, round.Write, 1)
}

// S12: an answer finds its proposal by index and term; what another leader's entry displaced is rejected, not answered.
func TestProposalsMatchByIndexAndTerm(t *testing.T) {
	m, p := single(t)
	var round Round
	m.round = &round
	ours, theirs := proposal(0, func(error) {}), proposal(0, func(error) {})
	p.pending = []pendingEntry{{Pair: Pair{10, 6}, proposals: []*Proposal{theirs}}, {Pair: Pair{11, 7}, proposals: []*Proposal{ours}}}
	require.Empty(t, m.takePending(p, Pair{10, 7}), "another leader's entry is at 10")
	require.Len(t, round.Reply, 1)
	require.IsType(t, &region.StaleCommandError{}, round.Reply[0].Err)
	require.Equal(t, []*Proposal{ours}, m.takePending(p, Pair{11, 7}))
	require.Empty(t, p.pending)
	m.round = nil
}

// Writes that wait while one is on its way to the log become one entry; each keeps its own answer.
func TestWaitingWritesBecomeOneEntry(t *testing.T) {
	m, _ := single(t)
	first := m.Handle([]Mail{Propose{proposal(0, func(error) {})}}, 300)
	require.Len(t, first.Write[0].Entries, 1)
	gathering := m.Handle([]Mail{Propose{proposal(0, func(error) {})}, Propose{proposal(0, func(error) {})}, Propose{proposal(0, func(error) {})}}, 301)
	require.Empty(t, gathering.Write, "one own entry is in flight")
	next := m.Handle([]Mail{Persisted{1, 2, first.Write[0].Number}}, 302)
	require.Len(t, next.Write, 1)
	require.Len(t, next.Write[0].Entries, 1)
	commands := 0
	require.NoError(t, command.Decode(next.Write[0].Entries[0].Data, func(command.Command) error { commands++; return nil }))
	require.Equal(t, 3, commands)
	done := m.Handle([]Mail{Persisted{1, 2, next.Write[0].Number}}, 303)
	require.Len(t, done.Apply[0].Waiting[0].proposals, 3)
}

// A write that exceeds the limit is refused with the limit in the error, and leaves no trace.
func TestEntryTooLarge(t *testing.T) {
	m, _ := single(t)
	big := proposal(0, func(error) {})
	big.Command.Body = command.AppendOp(nil, command.Put, engine.Default, []byte("k"), make([]byte, 2<<10))
	round := m.Handle([]Mail{Propose{big}}, 400)
	require.ErrorContains(t, round.Reply[0].Err, "limit of 1024 bytes")
	require.Empty(t, round.Write)
}

// R11: while a leadership transfer is under way there is no lease, and rounds from before its end do not renew it.
func TestViewsLeaveBeforeMessages(t *testing.T) {
	m, p := single(t)
	settle(m, m.Handle([]Mail{Tick{}, Tick{}}, 500), 500)
	require.Positive(t, p.view.LeaseEnd)
	require.True(t, p.view.HasLease(p.view.LeaseEnd-1))
	require.False(t, p.view.HasLease(p.view.LeaseEnd))
	var order []string
	round := Round{
		Views: []*RegionView{p.view}, Send: []*raft_serverpb.RaftMessage{{}}, Write: []WriteTask{{}}, Apply: []ApplyTask{{}},
		Mail: []Addressed{{}}, Reply: []Reply{{}}, Ask: []SchedulerCall{RegionHeartbeat{}}, Tasks: []Task{SyncState{}},
	}
	round.CarryOut(Outlets{
		Publish: func(*RegionView) { order = append(order, "view") }, Send: func([]*raft_serverpb.RaftMessage) { order = append(order, "send") },
		Write: func([]WriteTask) { order = append(order, "write") }, Apply: func([]ApplyTask) { order = append(order, "apply") },
		Post: func(Addressed) { order = append(order, "mail") }, Reply: func(Reply) { order = append(order, "reply") },
		Ask: func(SchedulerCall) { order = append(order, "ask") }, Run: func(Task) { order = append(order, "task") },
	})
	require.Equal(t, []string{"view", "send", "write", "apply", "mail", "reply", "ask", "task"}, order)
}

// S3, S4: no two regions of a store share a key, nor do the snapshots that wait to become regions.
func TestClaimsDoNotOverlap(t *testing.T) {
	r := func(id uint64, start, end string) *metapb.Region {
		return &metapb.Region{Id: id, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: 1}}
	}
	m, err := NewStoreMachine(1, StoreState{Regions: []Restored{{Region: r(1, "b", "d"), PeerID: 1}, {Region: r(2, "m", ""), PeerID: 2}}})
	require.NoError(t, err)
	claim := func(c *metapb.Region) bool {
		round := m.Handle([]Mail{Claim{Region: c}}, 0)
		return round.Mail[0].Mail.(ClaimGranted).Granted
	}
	require.False(t, claim(r(5, "", "")), "over everything")
	require.False(t, claim(r(5, "a", "bb")), "over a region's start")
	require.False(t, claim(r(5, "c", "e")), "over a region's end")
	require.False(t, claim(r(5, "z", "")), "inside the last region")
	require.True(t, claim(r(1, "b", "d")), "a region's own range")
	require.True(t, claim(r(5, "d", "m")), "exactly between two")
	require.False(t, claim(r(6, "e", "f")), "another claim has it")
	m.Handle([]Mail{Unclaim{5}}, 0)
	require.True(t, claim(r(6, "e", "f")))
	_, err = NewStoreMachine(1, StoreState{Regions: []Restored{{Region: r(1, "b", "d")}, {Region: r(2, "c", "")}}})
	require.ErrorContains(t, err, "overlap")
}

// A built snapshot whose sending failed is thrown away: its file may be damaged, and would be refused for ever. Found by the simulator.
func TestFailedSnapshotIsBuiltAnew(t *testing.T) {
	m, p := single(t)
	built := &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: p.applied.Index, Term: p.applied.Term, ConfState: &eraftpb.ConfState{}}}
	m.Handle([]Mail{SnapshotBuilt{RegionID: 1, PeerID: 2, Snapshot: built}}, 600)
	require.Empty(t, m.Handle([]Mail{SnapshotSent{RegionID: 1, ToPeer: 3, OK: true}}, 601).Tasks, "one more peer may want it")
	_, err := p.log.Snapshot()
	require.NoError(t, err)

	round := m.Handle([]Mail{SnapshotSent{RegionID: 1, ToPeer: 3}}, 602)
	require.Equal(t, []Task{DropSnapshot{RegionID: 1, At: p.applied}}, round.Tasks)
	_, err = p.log.Snapshot()
	require.ErrorIs(t, err, raft.ErrSnapshotTemporarilyUnavailable)
}

// R15, S2: an append that comes in the same batch as the snapshot before it must not be acknowledged: nobody would write it. Found by the simulator.
func TestAppendBehindASnapshotWaits(t *testing.T) {
	m, err := NewRaftMachine(testConfig(1), nil)
	require.NoError(t, err)
	m.Handle([]Mail{Create{RegionID: 7, PeerID: 30, First: message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 2)}}, 1)
	r := &metapb.Region{
		Id: 7, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 2}, Peers: []*metapb.Peer{{Id: 20, StoreId: 20}, {Id: 30, StoreId: 1}},
	}
	data, err := (&raft_serverpb.RaftSnapshotData{Region: r}).Marshal()
	require.NoError(t, err)
	snapshot := message(7, 20, 30, eraftpb.MessageType_MsgSnapshot, 2)
	snapshot.Message.Snapshot = &eraftpb.Snapshot{
		Data: data, Metadata: &eraftpb.SnapshotMetadata{Index: 50, Term: 6, ConfState: &eraftpb.ConfState{Voters: []uint64{20, 30}}},
	}
	next := message(7, 20, 30, eraftpb.MessageType_MsgAppend, 2)
	next.Message.Index, next.Message.LogTerm, next.Message.Commit = 50, 6, 50
	next.Message.Entries = []*eraftpb.Entry{{Index: 51, Term: 6}}

	m.Handle([]Mail{Step{snapshot}}, 2)
	round := m.Handle([]Mail{ClaimGranted{RegionID: 7, Granted: true}, Step{next}}, 3)
	require.Len(t, round.Apply, 1)
	require.Equal(t, Pair{50, 6}, round.Apply[0].Install.At)
	round = m.Handle([]Mail{Step{next}, Applied{RegionID: 7, PeerID: 30, Results: ApplyResults{Applied: Pair{50, 6}, Installed: true, Region: r}}}, 4)
	require.Len(t, round.Write, 1)
	require.True(t, round.Write[0].Reset)
	for _, a := range round.Write[0].After {
		require.LessOrEqual(t, a.Message.Index, uint64(50), "index 51 is nowhere")
	}
	m.Handle([]Mail{Persisted{7, 30, round.Write[0].Number}}, 5)
	round = m.Handle([]Mail{Step{next}}, 6)
	require.Len(t, round.Write, 1)
	require.Equal(t, uint64(51), round.Write[0].Entries[0].Index)
	require.Equal(t, uint64(51), round.Write[0].After[0].Message.Index)
}

// S15: a region that nobody writes to comes to rest, however low the threshold: the entry that cut its log is no reason to cut it again. Found by the
// simulator.
func TestIdleRegionStopsCompacting(t *testing.T) {
	m, p := single(t)
	m.cfg.LogGC.Threshold, m.cfg.LogGC.Count = 1, 1
	p.log.truncated.Index = p.applied.Index - 1
	require.Zero(t, m.compactTarget(p))
	p.log.truncated.Index = p.applied.Index - 2
	require.Equal(t, p.applied.Index, m.compactTarget(p))
}
