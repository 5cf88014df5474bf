package machine

import (
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// A leader that is told that its data is damaged serves nobody from then on, and tells people once.
func TestADamagedPeerServesNobody(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.rounds, g.sent = nil, nil
	damage := Damaged{RegionID: 1, PeerID: 11, Reason: "checksum mismatch"}
	g.run(Damaged{RegionID: 1, PeerID: 10, Reason: "of an earlier peer"})
	require.NoError(t, g.views[1].CheckPeer(1, 11, false))

	g.run(damage, damage)
	reports := 0
	for _, round := range g.rounds {
		for _, task := range round.Tasks {
			if _, ok := task.(ReportDamage); ok {
				reports++
			}
		}
	}
	require.Equal(t, 1, reports)
	var refused *region.DamagedError
	require.ErrorAs(t, g.views[1].CheckPeer(1, 11, true), &refused)
	require.Nil(t, refused.Leader, "it must not send clients to itself")
	err := error(nil)
	g.run(g.put("k", 1, func(e error) { err = e }))
	require.ErrorAs(t, err, &refused)
	g.run(Read{&ReadRequest{RegionID: 1, PeerID: 11, Version: 1, Replica: true, Grant: func(_ ReadGrant, e error) { err = e }}})
	require.ErrorAs(t, err, &refused)
	g.run(Inspect{RegionID: 1, Tell: func(r *PeerReport) { require.Equal(t, damage.Reason, r.Damaged) }})
}

// A damaged leader hands over to somebody who answers. One that is gone may have as much, and would be waited for again and again. Found by the simulator (seed 3130).
func TestADamagedLeaderHandsOverToTheLiving(t *testing.T) {
	for gone, living := range map[uint64]uint64{12: 13, 13: 12} {
		g := newRig(t, threeRegion())
		g.lead()
		for range 3 * g.raft.cfg.ElectionTicks { // only one answers
			g.run(Tick{})
			g.sent = slices.DeleteFunc(g.sent, func(m *raft_serverpb.RaftMessage) bool { return m.ToPeer.Id == gone })
			g.agree()
		}
		g.sent = nil
		g.run(Damaged{RegionID: 1, PeerID: 11, Reason: "checksum mismatch"})
		told := slices.DeleteFunc(g.sent, func(m *raft_serverpb.RaftMessage) bool {
			return m.Message.GetMsgType() != eraftpb.MessageType_MsgTimeoutNow
		})
		require.Len(t, told, 1)
		require.Equal(t, living, told[0].ToPeer.Id)
	}
}

// A damaged follower asks its leader for a snapshot, again and again, and is whole when one has taken the place of its data.
func TestADamagedFollowerIsMended(t *testing.T) {
	g := newRig(t, threeRegion())
	leader := func(m *eraftpb.Message) Mail {
		m.From, m.To, m.Term = 12, 11, 7
		return Step{&raft_serverpb.RaftMessage{
			RegionId: 1, FromPeer: &metapb.Peer{Id: 12, StoreId: 2}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1},
			RegionEpoch: threeRegion().RegionEpoch, Message: m,
		}}
	}
	g.run(leader(&eraftpb.Message{
		MsgType: eraftpb.MessageType_MsgAppend, Index: InitIndex, LogTerm: InitTerm, Commit: InitIndex + 1,
		Entries: []*eraftpb.Entry{{Index: InitIndex + 1, Term: 7}},
	}))
	asked := func() (n int) {
		for _, env := range g.sent {
			if env.Message.GetRequestSnapshot() == InitIndex+1 && env.ToPeer.GetId() == 12 {
				n++
			}
		}
		g.sent = nil
		return n
	}
	g.run(Tick{})
	require.Zero(t, asked())
	g.run(Damaged{RegionID: 1, PeerID: 11, Reason: "checksum mismatch"})
	for range testConfig(1).HeartbeatTicks {
		g.run(Tick{})
	}
	require.Positive(t, asked())
	for range testConfig(1).HeartbeatTicks {
		g.run(Tick{})
	}
	require.Positive(t, asked(), "messages are lost")
	require.True(t, g.views[1].Damaged)

	state := &raft_serverpb.RegionLocalState{Region: threeRegion()}
	data, err := SnapshotData(state).Marshal()
	require.NoError(t, err)
	g.run(leader(&eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Snapshot: &eraftpb.Snapshot{
		Data: data, Metadata: &eraftpb.SnapshotMetadata{Index: InitIndex + 1, Term: 7, ConfState: ConfStateOf(threeRegion())},
	}}))
	require.False(t, g.views[1].Damaged)
	require.NoError(t, g.views[1].CheckPeer(1, 11, true))
	g.sent = nil
	g.run(Tick{})
	require.Zero(t, asked())
}

// A leader builds a snapshot that a damaged follower can use, when it has applied enough for one.
func TestASnapshotForADamagedFollower(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	last := g.views[1].Log.Last
	p := g.raft.peers[1]
	p.log.snapshot = &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: last - 1, Term: InitTerm}}
	g.rounds = nil
	g.run(Step{&raft_serverpb.RaftMessage{
		RegionId: 1, FromPeer: &metapb.Peer{Id: 12, StoreId: 2}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1}, RegionEpoch: threeRegion().RegionEpoch,
		Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, From: 12, To: 11, Term: p.term(), Index: last, RequestSnapshot: last},
	}})
	built := 0
	for _, round := range g.rounds {
		for _, task := range round.Tasks {
			if _, ok := task.(BuildSnapshot); ok {
				built++
			}
		}
		require.Empty(t, round.Send, "the old one is of no use")
	}
	require.Equal(t, 1, built)
}
