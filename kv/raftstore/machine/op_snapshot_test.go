package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// fromLeader is a message to the rig's peer from that on store 2, which leads in term 7.
func fromLeader(m *eraftpb.Message) *raft_serverpb.RaftMessage {
	m.From, m.To, m.Term = 12, 11, 7
	return &raft_serverpb.RaftMessage{
		RegionId: 1, FromPeer: &metapb.Peer{Id: 12, StoreId: 2}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1},
		RegionEpoch: threeRegion().RegionEpoch, Message: m,
	}
}

// R4, S2: raft's commit index is the snapshot's as soon as raft has accepted it, while the log on disk is still the one before, which may go on differently: with a commit
// index beyond what is applied, a crash would make entries true that nobody agreed to. The old log is cut meanwhile. Found by the simulator (seed 4018).
func TestCutBehindASnapshotOnItsWayKeepsTheCommit(t *testing.T) {
	for _, together := range []bool{false, true} {
		g := newRig(t, threeRegion())
		var entries []*eraftpb.Entry
		for i := range uint64(9) { // the last six were never agreed to
			entries = append(entries, &eraftpb.Entry{Index: InitIndex + 1 + i, Term: InitTerm + 1})
		}
		g.run(Step{fromLeader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppend, Index: InitIndex, LogTerm: InitTerm, Commit: InitIndex + 3, Entries: entries})})
		require.EqualValues(t, InitIndex+3, g.raft.peers[1].applied.Index)

		data, err := SnapshotData(&raft_serverpb.RegionLocalState{Region: threeRegion()}).Marshal()
		require.NoError(t, err)
		snapshot := &eraftpb.Snapshot{Data: data, Metadata: &eraftpb.SnapshotMetadata{Index: InitIndex + 5, Term: 7, ConfState: ConfStateOf(threeRegion())}}
		g.raft.Handle([]Mail{Step{fromLeader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Snapshot: snapshot})}}, g.now)
		granted, cut := ClaimGranted{RegionID: 1, Granted: true}, StateSynced{RegionID: 1, PeerID: 11, CompactTo: InitIndex + 2}
		var writes []WriteTask
		if together {
			writes = g.raft.Handle([]Mail{granted, cut}, g.now).Write
		} else {
			g.raft.Handle([]Mail{granted}, g.now)
			writes = g.raft.Handle([]Mail{cut}, g.now).Write
		}
		require.True(t, g.raft.peers[1].snap.installing)
		require.Len(t, writes, 1)
		require.EqualValues(t, InitIndex+3, writes[0].State.HardState.Commit)
		require.EqualValues(t, InitIndex+9, writes[0].State.LastIndex)
		g.raft.resetLog(withRound(g.raft, g.raft.peers[1]), &ApplyResults{Region: threeRegion(), Applied: Pair{InitIndex + 5, 7}})
		require.EqualValues(t, InitIndex+5, g.raft.round.Write[0].State.HardState.Commit, "in its place it is agreed to")
	}
}

// R2: what has been written of the commit index is not taken back while a snapshot is on its way: a change of peers that is in the log may rest on it.
func TestCutBehindASnapshotTakesNoCommitBack(t *testing.T) {
	g := newRig(t, threeRegion())
	g.slow = true // nothing is applied
	g.run(Step{fromLeader(&eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, Index: InitIndex, LogTerm: InitTerm, Commit: InitIndex + 1,
		Entries: []*eraftpb.Entry{{Index: InitIndex + 1, Term: 7}, {Index: InitIndex + 2, Term: 7, EntryType: eraftpb.EntryType_EntryConfChangeV2}},
	})})
	data, err := SnapshotData(&raft_serverpb.RegionLocalState{Region: threeRegion()}).Marshal()
	require.NoError(t, err)
	snapshot := &eraftpb.Snapshot{Data: data, Metadata: &eraftpb.SnapshotMetadata{Index: InitIndex + 5, Term: 7, ConfState: ConfStateOf(threeRegion())}}
	g.raft.Handle([]Mail{Step{fromLeader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Snapshot: snapshot})}}, g.now)
	writes := g.raft.Handle([]Mail{ClaimGranted{RegionID: 1, Granted: true}, StateSynced{RegionID: 1, PeerID: 11, CompactTo: InitIndex}}, g.now).Write
	require.True(t, g.raft.peers[1].snap.installing)
	require.EqualValues(t, InitIndex, g.raft.peers[1].applied.Index)
	require.Len(t, writes, 1)
	require.EqualValues(t, InitIndex+1, writes[0].State.HardState.Commit)
}

// R3, S3: a change of peers is being applied when a snapshot that is newer comes, and is done in the round in which raft takes that in: raft counts by the snapshot
// already. Found by the simulator, as a panic.
func TestSnapshotOvertakesAChangeOfPeers(t *testing.T) {
	g := newRig(t, threeRegion())
	g.slow = true
	g.run(Step{fromLeader(&eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, Index: InitIndex, LogTerm: InitTerm, Commit: InitIndex + 1,
		Entries: []*eraftpb.Entry{{Index: InitIndex + 1, Term: 7}},
	})})
	joined, moved := threeRegion(), threeRegion()
	joined.Peers = append(joined.Peers, &metapb.Peer{Id: 14, StoreId: 4, Role: metapb.PeerRole_Learner})
	moved.Peers = append(moved.Peers[:2], &metapb.Peer{Id: 14, StoreId: 4})
	joined.RegionEpoch.ConfVer, moved.RegionEpoch.ConfVer = 2, 5

	data, err := SnapshotData(&raft_serverpb.RegionLocalState{Region: moved}).Marshal()
	require.NoError(t, err)
	snapshot := &eraftpb.Snapshot{Data: data, Metadata: &eraftpb.SnapshotMetadata{Index: InitIndex + 9, Term: 7, ConfState: ConfStateOf(moved)}}
	round := g.raft.Handle([]Mail{Step{fromLeader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Snapshot: snapshot})}}, g.now)
	require.IsType(t, Claim{}, round.Mail[len(round.Mail)-1].Mail)
	change := confChanged{region: joined, change: eraftpb.ConfChangeV2{Changes: []*eraftpb.ConfChangeSingle{
		{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, NodeId: 14},
	}}}
	applied := Applied{RegionID: 1, PeerID: 11, Results: ApplyResults{Applied: Pair{InitIndex + 1, 7}, Change: &change}}
	round = g.raft.Handle([]Mail{ClaimGranted{RegionID: 1, Granted: true}, applied}, g.now)
	require.NotEmpty(t, round.Apply)
	require.True(t, region.SameEpoch(moved.RegionEpoch, round.Apply[len(round.Apply)-1].Install.Region.RegionEpoch))
}
