package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/proto/region"
)

// S9, S12: a peer is destroyed with writes under way, and its region's next peer comes to the store at once. Who waited is told once, and whatever was still on
// its way for the old peer does nothing to the new one.
func TestLateAnswersDoNotReachTheNextPeer(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.slow = true
	var answers []error
	g.run(g.put("a", 1, func(err error) { answers = append(answers, err) }))
	g.agree() // committed, and waits to be applied
	g.run(g.put("b", 1, func(err error) { answers = append(answers, err) }))

	next := message(1, 12, 31, eraftpb.MessageType_MsgHeartbeat, 5)
	next.Message.Term = 9
	g.run(Step{next})
	g.slow = false
	g.run(Tick{})
	require.Len(t, answers, 2)
	require.Empty(t, g.raft.peers)
	g.run(Step{next})
	p := g.raft.peers[1]
	require.Equal(t, uint64(31), p.id)
	require.Len(t, answers, 2, "nobody is told twice")

	persisted, applied := p.persist, p.applied
	for _, late := range []Mail{
		Persisted{1, 11, p.persist.given + 9},
		Applied{RegionID: 1, PeerID: 11, Results: ApplyResults{Applied: Pair{99, 9}}},
		StateSynced{RegionID: 1, PeerID: 11, CompactTo: 50},
		LogRead{RegionID: 1, PeerID: 11},
		LogDestroyed{1, 11},
		Measured{RegionID: 1, PeerID: 11},
		Absorbed{RegionID: 1, PeerID: 11},
		Discard{RegionID: 1, PeerID: 11},
		CatchUp{RegionID: 1, PeerID: 11, Index: 99, Yield: true},
	} {
		round := g.raft.Handle([]Mail{late}, g.now)
		require.Empty(t, round.Write, "%T", late)
		require.Empty(t, round.Apply, "%T", late)
		require.Empty(t, round.Tasks, "%T", late)
		require.Equal(t, persisted, p.persist, "%T", late)
		require.Equal(t, applied, p.applied, "%T", late)
		require.Same(t, p, g.raft.peers[1], "%T", late)
		require.False(t, p.ending, "%T", late)
	}
}

// S9: a destruction takes what the peer has when its turn comes, not what it had when it was ordered: a part of its range may belong to another region by then,
// and a younger peer may have taken its place.
func TestDestructionTakesOnlyWhatIsThePeers(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	for _, key := range []string{"a", "x"} {
		g.run(g.put(key, 1, func(err error) { require.NoError(t, err) }))
		g.tick()
	}
	g.slow = true
	ordered := region.Clone(g.raft.peers[1].region)
	g.run(splitAt("m", func(err error) { require.NoError(t, err) }))
	g.agree()
	g.queue = append(g.queue, ApplyTask{RegionID: 1, PeerID: 11, Destroy: ordered})
	g.slow = false
	g.run(Tick{})
	require.True(t, g.has("a"), "the split gave it to region 20")
	require.False(t, g.has("x"))

	younger := &metapb.Region{Id: 20, EndKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}}
	g.queue = append(g.queue, ApplyTask{RegionID: 20, PeerID: 15, Destroy: younger})
	g.run(Tick{})
	require.True(t, g.has("a"), "peer 21 has it, not peer 15")
}

// S8: the leader's last heartbeat to a peer that it has just removed makes that peer, with the epoch after the removal. Its burial, at the same epoch, counts.
// Found by the simulator.
func TestPeerMadeByItsFarewellIsBuried(t *testing.T) {
	m, err := NewRaftMachine(testConfig(1), nil)
	require.NoError(t, err)
	farewell := message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 6)
	m.Handle([]Mail{Create{RegionID: 7, PeerID: 30, First: farewell}}, 1)
	burial := &raft_serverpb.RaftMessage{
		RegionId: 7, FromPeer: farewell.FromPeer, ToPeer: farewell.ToPeer, RegionEpoch: farewell.RegionEpoch, IsTombstone: true,
		ExtraMsg: &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse},
	}
	round := m.Handle([]Mail{Step{burial}}, 2)
	require.Len(t, round.Apply, 1)
	require.NotNil(t, round.Apply[0].Destroy)
}

// S8: such a peer knows nobody but the leader that removed it. When that one leads no more, it names the others, although it knows no later change. Found by the
// simulator.
func TestPeerMadeByItsFarewellIsGuided(t *testing.T) {
	g := newRig(t, threeRegion())
	question := &raft_serverpb.RaftMessage{
		RegionId: 1, FromPeer: &metapb.Peer{Id: 14, StoreId: 4}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1}, RegionEpoch: threeRegion().RegionEpoch,
		ExtraMsg: &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeer},
	}
	g.sent = nil
	g.run(Step{question})
	require.Len(t, g.sent, 1)
	require.False(t, g.sent[0].IsTombstone, "it does not lead")
	require.Equal(t, threeRegion().Peers, g.sent[0].ExtraMsg.CheckPeers)

	m, err := NewRaftMachine(testConfig(4), nil)
	require.NoError(t, err)
	farewell := message(1, 11, 14, eraftpb.MessageType_MsgHeartbeat, threeRegion().RegionEpoch.ConfVer)
	m.Handle([]Mail{Create{RegionID: 1, PeerID: 14, First: farewell}}, 1)
	m.Handle([]Mail{Step{farewell}, Step{g.sent[0]}}, 2)
	var asked []uint64
	for range staleAfter * testConfig(4).ElectionTicks {
		round := m.Handle([]Mail{Tick{}}, 3)
		for _, msg := range round.Send {
			if msg.ExtraMsg.GetType() == raft_serverpb.ExtraMessageType_MsgCheckStalePeer {
				asked = append(asked, msg.ToPeer.StoreId)
			}
		}
	}
	require.Subset(t, asked, []uint64{2, 3})
}

// S8: a peer that was removed while it slept looks for its leader when it wakes up, and is told. Found by the simulator, where it slept on for too long.
// So is one that agrees to sleep on, late (seed 1113).
func TestSleeperIsToldOfItsRemoval(t *testing.T) {
	for _, kind := range []raft_serverpb.ExtraMessageType{raft_serverpb.ExtraMessageType_MsgRegionWakeUp, raft_serverpb.ExtraMessageType_MsgHibernateResponse} {
		g := newRig(t, threeRegion())
		g.lead()
		g.sent = nil
		before := region.Clone(threeRegion())
		before.RegionEpoch.ConfVer--
		g.run(Step{&raft_serverpb.RaftMessage{
			RegionId: 1, FromPeer: &metapb.Peer{Id: 14, StoreId: 4}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1}, RegionEpoch: before.RegionEpoch,
			ExtraMsg: &raft_serverpb.ExtraMessage{Type: kind},
		}})
		require.Len(t, g.sent, 1)
		require.Equal(t, raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse, g.sent[0].ExtraMsg.GetType())
		require.Equal(t, uint64(14), g.sent[0].ToPeer.Id)
	}
}

// S8, S21: a peer that is told of members among whom it is not asks them after an election timeout, not ten, and wakes for it. Found by the simulator (seeds 1113 and 1537).
func TestWhoIsGuidedAsksSoon(t *testing.T) {
	for _, asleep := range []bool{true, false} {
		g := newRig(t, threeRegion())
		p := g.raft.peers[1]
		if asleep {
			g.raft.fallAsleep(p)
			require.Empty(t, questions(g.raft, 2*g.raft.cfg.ElectionTicks))
		}
		guide := message(1, 12, 11, 0, threeRegion().RegionEpoch.ConfVer+1)
		guide.ExtraMsg = &raft_serverpb.ExtraMessage{
			Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse, CheckPeers: []*metapb.Peer{{Id: 12, StoreId: 2}, {Id: 14, StoreId: 4}},
		}
		g.run(Step{guide})
		require.False(t, p.sleep.asleep)
		require.Len(t, questions(g.raft, g.raft.cfg.ElectionTicks), 1)
	}
}

// S8: a peer without data may know nobody but the leader that made it. It asks every store that lives or has a peer of another region, or would stay for ever when that
// one is lost. Found by the simulator (seeds 3655 and 3737).
func TestAPeerWithoutDataAsksEverybody(t *testing.T) {
	at := Pair{InitIndex, InitTerm}
	m, err := NewRaftMachine(testConfig(1), []Restored{{Region: threeRegion(), PeerID: 11, Apply: ApplyState(at, at), Raft: BirthState(nil)}})
	require.NoError(t, err)
	m.Handle([]Mail{
		Create{RegionID: 7, PeerID: 30, First: message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 2)},
		StoreAlive{StoreID: 20, Life: 1},
		StoreAlive{StoreID: 9, Life: 1},
		StoreAlive{StoreID: 5, Life: 1},
	}, 1)
	var asked []uint64
	for now := Instant(2); len(asked) == 0; now++ {
		require.Less(t, now, Instant(10*staleAfter*m.cfg.ElectionTicks), "it never asks")
		round := m.Handle([]Mail{Tick{}}, now)
		for _, msg := range round.Send {
			if msg.RegionId == 7 && msg.ExtraMsg.GetType() == raft_serverpb.ExtraMessageType_MsgCheckStalePeer {
				asked = append(asked, msg.ToPeer.StoreId)
			}
		}
	}
	require.Equal(t, []uint64{20, 5, 9, 2, 3}, asked)
}

// A peer without data that is read again still knows which change of peers made it one: else a tombstone from before that would bury it. Found by the simulator (seed 16).
func TestAReloadedPeerKnowsWhatMadeIt(t *testing.T) {
	m, err := NewRaftMachine(testConfig(1), nil)
	require.NoError(t, err)
	m.Handle([]Mail{Create{RegionID: 7, PeerID: 30, First: message(7, 20, 30, eraftpb.MessageType_MsgHeartbeat, 18)}}, 1)
	m.peers[7].snap.installing, m.peers[7].snap.failed = true, true
	m.Handle([]Mail{Reloaded{RegionID: 7, PeerID: 30}}, 2)
	require.False(t, m.peers[7].snap.failed)
	burial := message(7, 41, 30, 0, 17)
	burial.IsTombstone, burial.Message = true, nil
	burial.ExtraMsg = &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse}
	m.Handle([]Mail{Step{burial}}, 3)
	require.False(t, m.peers[7].ending)
}

// questions runs ticks of the machine and returns at which of them it asked somebody whether its peers are stale.
func questions(m *RaftMachine, ticks int) (at []int) {
	for i := range ticks {
		round := m.Handle([]Mail{Tick{}}, Instant(i+2))
		for _, msg := range round.Send {
			if msg.ExtraMsg.GetType() == raft_serverpb.ExtraMessageType_MsgCheckStalePeer {
				at = append(at, i)
				break
			}
		}
	}
	return at
}

// S8: a stale peer has the range that another region's peer needs to come to life here, which may be the vote that its group lacks. It asks after one election timeout without a
// leader, not ten. Found by the simulator (seed 4940).
func TestWhoIsInTheWayAsksSooner(t *testing.T) {
	restored := func() []Restored {
		at := Pair{InitIndex, InitTerm}
		return []Restored{{Region: threeRegion(), PeerID: 11, Apply: ApplyState(at, at), Raft: BirthState(nil)}}
	}
	store, err := NewStoreMachine(1, StoreState{Regions: restored()})
	require.NoError(t, err)
	contested := []Addressed{{RegionID: 1, Mail: Contested{1}}}
	require.Equal(t, contested, unknown(store, early(eraftpb.MessageType_MsgRequestVote, 21, 9)))
	claim := &metapb.Region{Id: 20, EndKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}}
	round := store.Handle([]Mail{Claim{Region: claim}}, 0)
	require.Equal(t, contested, round.Mail[1:])

	timeout := testConfig(1).ElectionTicks
	for _, c := range []struct {
		mail []Mail
		want []int
	}{
		{nil, []int{staleAfter*timeout - 1}},
		{[]Mail{contested[0].Mail}, []int{timeout - 1}},
		{[]Mail{contested[0].Mail, Step{message(1, 12, 11, eraftpb.MessageType_MsgHeartbeat, 1)}}, []int{staleAfter*timeout - 1}}, // it has a leader
	} {
		m, err := NewRaftMachine(testConfig(1), restored())
		require.NoError(t, err)
		m.Handle(c.mail, 1)
		require.Equal(t, c.want, questions(m, staleAfter*timeout), "%T", c.mail)
	}
}

// S8, S21: a follower that was removed while it slept, and lost the word, asks its leader's store each report interval, and sleeps on. The leader, who sleeps too, tells it, and says
// nothing to one that it knows. Found by the simulator (seeds 1846, 2525 and 1113).
func TestSleepersAskTheirLeader(t *testing.T) {
	cfg := testConfig(1)
	cfg.SleepTicks, cfg.RegionHeartbeatTicks = 10, 3*cfg.ElectionTicks
	at := Pair{InitIndex, InitTerm}
	m, err := NewRaftMachine(cfg, []Restored{{Region: threeRegion(), PeerID: 11, Apply: ApplyState(at, at), Raft: BirthState(nil)}})
	require.NoError(t, err)
	p := m.peers[1]
	m.Handle([]Mail{Step{message(1, 12, 11, eraftpb.MessageType_MsgHeartbeat, 1)}}, 1)
	m.fallAsleep(p)
	require.Len(t, questions(m, 4*cfg.RegionHeartbeatTicks), 4)
	require.True(t, p.sleep.asleep)

	g := newRig(t, threeRegion())
	g.lead()
	for range 3 * cfg.ElectionTicks {
		g.tick()
	}
	g.raft.fallAsleep(g.raft.peers[1])
	for _, from := range []uint64{12, 14} {
		question := message(1, from, 11, 0, 1)
		question.ExtraMsg = &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeer}
		g.sent = nil
		g.run(Step{question})
		if from == 12 {
			require.Empty(t, g.sent, "it is a member")
		} else {
			require.Len(t, g.sent, 1)
			require.True(t, g.sent[0].IsTombstone)
		}
		require.True(t, g.raft.peers[1].sleep.asleep)
	}
}
