package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// S8: a peer that was cut off hears from a store that has buried its region what became of it, and either catches up or goes.
func TestForgottenSourceIsTold(t *testing.T) {
	source, target := twoRegions()
	into := &raft_serverpb.MergeState{Target: target, Commit: InitIndex + 1}
	m, err := NewStoreMachine(2, StoreState{Tombstones: map[uint64]Tombstone{1: {PeerID: 12, ConfVer: 2, Members: source.Peers, Into: into}}})
	require.NoError(t, err)
	ask := message(1, 11, 12, eraftpb.MessageType_MsgRequestPreVote, 1)
	ask.ToPeer.StoreId = 2
	sent := m.Handle([]Mail{Unknown{ask}}, 0).Send
	require.Len(t, sent, 1)
	require.True(t, sent[0].IsTombstone)

	g := newMergeRig(t)
	g.run(Step{sent[0]})
	require.NotNil(t, g.raft.peers[1], "the target is here and may need it")
	require.True(t, g.raft.peers[1].contact.doubts, "it asks again soon")

	lone, err := NewStoreMachine(1, StoreState{Regions: []Restored{{Region: source, PeerID: 11}}, Tombstones: map[uint64]Tombstone{2: {PeerID: 21}}})
	require.NoError(t, err)
	mail := lone.Handle([]Mail{MergedAway{RegionID: 1, PeerID: 11, Into: into}}, 0).Mail
	require.IsType(t, Discard{}, mail[0].Mail)
}

// S8: a source waits for a target whose peer never came to this store: the region that it would have been split off from was removed from here before that, and the target's peer
// after it. That peer is made, to ask, and with its burial the source is free to go. Found by the simulator (seed 1764).
func TestATargetThatNeverCameIsSought(t *testing.T) {
	source, target := twoRegions()
	into := &raft_serverpb.MergeState{Target: target, Commit: InitIndex + 1}
	away := MergedAway{RegionID: 1, PeerID: 11, Into: into}
	waiting := Restored{Region: source, PeerID: 11, Merge: into}
	parent := Restored{Region: region.Clone(target), PeerID: 91}
	parent.Region.Id = 9
	busy, err := NewStoreMachine(1, StoreState{Regions: []Restored{waiting, parent}})
	require.NoError(t, err)
	for _, a := range busy.Handle([]Mail{away}, 0).Mail {
		require.IsType(t, CatchUp{}, a.Mail, "a split may still make it")
	}
	store, err := NewStoreMachine(1, StoreState{Regions: []Restored{waiting}})
	require.NoError(t, err)
	var made []Mail
	for _, a := range store.Handle([]Mail{away}, 0).Mail {
		if a.RegionID == target.Id {
			made = append(made, a.Mail)
		}
	}
	require.Len(t, made, 2)
	require.Equal(t, uint64(21), made[0].(Create).PeerID)

	m, err := NewRaftMachine(testConfig(1), nil)
	require.NoError(t, err)
	m.Handle(made, 1)
	old := message(target.Id, 22, 21, 0, target.RegionEpoch.ConfVer-1)
	old.IsTombstone = true
	m.Handle([]Mail{Step{old}}, 2)
	require.False(t, m.peers[target.Id].ending, "so says somebody who left before it came")
	var asked []uint64
	for range testConfig(1).ElectionTicks {
		round := m.Handle([]Mail{Tick{}}, 3)
		for _, msg := range round.Send {
			require.Equal(t, raft_serverpb.ExtraMessageType_MsgCheckStalePeer, msg.ExtraMsg.GetType())
			require.Equal(t, target.RegionEpoch.ConfVer, msg.RegionEpoch.ConfVer)
			asked = append(asked, msg.ToPeer.Id)
		}
	}
	require.ElementsMatch(t, []uint64{22, 23}, asked)

	burial := message(target.Id, 22, 21, 0, target.RegionEpoch.ConfVer+1)
	burial.IsTombstone = true
	m.Handle([]Mail{Step{burial}}, 5)
	require.True(t, m.peers[target.Id].ending)
	store.Handle([]Mail{Gone{RegionID: target.Id, PeerID: 21, Region: target}}, 6)
	require.Equal(t, []Addressed{{RegionID: 1, Mail: Discard(away)}}, store.Handle([]Mail{away}, 7).Mail)
}

// S3: two of a source's heirs may send their snapshots at once; the first takes it in, and the other finds its place free.
func TestSnapshotsOfTwoHeirs(t *testing.T) {
	b := newMergeBench(t)
	b.yield(1)
	install := func(id uint64, start, end string) {
		peers := []*metapb.Peer{{Id: id*10 + 1, StoreId: 1}}
		r := &metapb.Region{Id: id, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: 5, ConfVer: 1}, Peers: peers}
		b.task(ApplyTask{RegionID: id, PeerID: id*10 + 1, Install: &Installation{Region: r, At: Pair{20, 6}, Absorbs: []uint64{1}}})
	}
	install(7, "a", "b")
	_, absorbed := find[Absorbed](b)
	require.True(t, absorbed)
	install(8, "b", "c")
	_, absorbed = find[Absorbed](b)
	require.False(t, absorbed)
	require.NotNil(t, b.m.appliers[8])
}
