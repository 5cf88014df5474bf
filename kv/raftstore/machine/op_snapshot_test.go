package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// R3, S3: a change of peers is being applied when a snapshot that is newer comes, and is done in the round in which raft takes that in: raft counts by the snapshot
// already. Found by the simulator, as a panic.
func TestSnapshotOvertakesAChangeOfPeers(t *testing.T) {
	g := newRig(t, threeRegion())
	leader := func(m *eraftpb.Message) *raft_serverpb.RaftMessage {
		m.From, m.To, m.Term = 12, 11, 7
		return &raft_serverpb.RaftMessage{
			RegionId: 1, FromPeer: &metapb.Peer{Id: 12, StoreId: 2}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1},
			RegionEpoch: threeRegion().RegionEpoch, Message: m,
		}
	}
	g.slow = true
	g.run(Step{leader(&eraftpb.Message{
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
	round := g.raft.Handle([]Mail{Step{leader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Snapshot: snapshot})}}, g.now)
	require.IsType(t, Claim{}, round.Mail[len(round.Mail)-1].Mail)
	change := confChanged{region: joined, change: eraftpb.ConfChangeV2{Changes: []*eraftpb.ConfChangeSingle{
		{ChangeType: eraftpb.ConfChangeType_AddLearnerNode, NodeId: 14},
	}}}
	applied := Applied{RegionID: 1, PeerID: 11, Results: ApplyResults{Applied: Pair{InitIndex + 1, 7}, Change: &change}}
	round = g.raft.Handle([]Mail{ClaimGranted{RegionID: 1, Granted: true}, applied}, g.now)
	require.NotEmpty(t, round.Apply)
	require.True(t, region.SameEpoch(moved.RegionEpoch, round.Apply[len(round.Apply)-1].Install.Region.RegionEpoch))
}
