package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

func ignore(error) {}

// The region keeps its id and the last part; the new one has a leader at once, the scheduler is told of both, and every range of the index moves in
// one step (S3, S4: the rig looks after each).
func TestSplitGivesEveryPartALeader(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.run(g.put("a", 1, ignore), g.put("x", 1, ignore))
	g.agree()
	var parts []*metapb.Region
	var err error
	request := splitAt("m", func(e error) { err = e }).(Admin)
	op := request.Op.(Split)
	op.Parts = func(regions []*metapb.Region) { parts = regions }
	request.Op, g.asked = op, nil
	g.run(request)
	g.agree()
	require.NoError(t, err)
	require.Len(t, parts, 2)
	require.Equal(t, []uint64{20, 1}, []uint64{parts[0].Id, parts[1].Id})
	for _, r := range parts {
		require.Equal(t, &metapb.RegionEpoch{Version: 2, ConfVer: 1}, r.RegionEpoch)
		require.True(t, g.views[r.Id].Ready, "without a tick")
		require.Equal(t, r, g.views[r.Id].Region)
		require.Equal(t, r, g.store.index.byID[r.Id])
	}
	require.Contains(t, g.asked, SchedulerCall(ReportSplit{parts}))
	require.True(t, g.has("a") && g.has("x"))
	require.Equal(t, uint64(InitIndex+1), g.logs[20].LastIndex, "the child's first entry, in its own log")
}

// S10, S11: what was proposed behind a split is judged by the region that the split has left, and is told of all parts; a second change is refused while
// one is on its way.
func TestWritesBehindASplitAreRefused(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	results := map[string]error{}
	result := func(name string) func(error) { return func(err error) { results[name] = err } }
	g.run(g.put("before", 1, result("before")), splitAt("m", result("split")), g.put("a", 1, result("a")), g.put("x", 1, result("x")), splitAt("k", result("second")))
	g.agree()
	g.agree()
	require.NoError(t, results["split"])
	require.IsType(t, &region.ChangingError{}, results["second"])
	for _, key := range []string{"before", "a", "x"} {
		var stale *region.EpochNotMatchError
		if results[key] == nil {
			require.True(t, g.has(key))
			continue // it came to stand before the split
		}
		require.ErrorAs(t, results[key], &stale, key)
		require.False(t, g.has(key))
		require.Len(t, stale.Current, 2, "all that became of the region")
	}
	require.Error(t, results["x"], "behind the split")
	g.run(g.put("a", 2, result("wrong region")), g.put("x", 2, result("right region")))
	g.agree()
	require.IsType(t, &region.KeyNotInRegionError{}, results["wrong region"])
	require.NoError(t, results["right region"])
	var stale *region.EpochNotMatchError
	require.ErrorAs(t, g.views[1].CheckVersion(1), &stale)
	require.Len(t, stale.Current, 2)
}

// S14: from the commit of a split on the parent has no lease, and readers know it before any message leaves that tells a follower of the commit.
func TestNoLeaseWhileASplitIsCommitted(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	for range testConfig(1).ElectionTicks {
		g.tick()
	}
	require.True(t, g.views[1].HasLease(g.now))
	g.slow = true
	g.run(splitAt("m", ignore))
	require.True(t, g.views[1].HasLease(g.now), "nobody can act on what is not committed")
	g.rounds = nil
	g.agree()
	seen := false
	for _, round := range g.rounds {
		for _, v := range round.Views {
			seen = seen || v.LeaseEnd == 0
		}
		for _, env := range round.Send {
			require.True(t, seen || env.Message.Commit < g.raft.peers[1].admin.Index, "the view comes first")
		}
	}
	require.Zero(t, g.views[1].LeaseEnd)
	g.tick()
	require.Zero(t, g.views[1].LeaseEnd, "for as long as it is not applied")
	var granted error
	g.run(Read{&ReadRequest{RegionID: 1, Version: 1, Grant: func(_ ReadGrant, err error) { granted = err }}})
	g.slow = false
	g.tick()
	require.IsType(t, &region.EpochNotMatchError{}, granted, "a read that waited is for a range that moved")
	require.True(t, g.views[1].HasLease(g.now), "what is left of the region is the leader's as before")
	require.Equal(t, []byte("m"), g.views[1].Region.StartKey)
}

// follow makes the rig's peer of region 1 a follower of peer 12 that is to apply a split at the next index.
func follow(g *rig) {
	append1 := func(entries []*eraftpb.Entry, index, logTerm, commit uint64) Mail {
		return Step{&raft_serverpb.RaftMessage{
			RegionId: 1, FromPeer: &metapb.Peer{Id: 12, StoreId: 2}, ToPeer: &metapb.Peer{Id: 11, StoreId: 1}, RegionEpoch: threeRegion().RegionEpoch,
			Message: &eraftpb.Message{
				MsgType: eraftpb.MessageType_MsgAppend, From: 12, To: 11, Term: 6, Index: index, LogTerm: logTerm, Entries: entries, Commit: commit,
			},
		}}
	}
	e := splitEntry(InitIndex+1, 6, "m")
	g.run(append1([]*eraftpb.Entry{&e}, InitIndex, InitTerm, InitIndex+1))
}

// early is a first message for the child's peer on store 1.
func early(kind eraftpb.MessageType, to, term uint64) *raft_serverpb.RaftMessage {
	return &raft_serverpb.RaftMessage{
		RegionId: 20, FromPeer: &metapb.Peer{Id: 22, StoreId: 2}, ToPeer: &metapb.Peer{Id: to, StoreId: 1},
		RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}, EndKey: []byte("m"),
		Message: &eraftpb.Message{MsgType: kind, From: 22, To: to, Term: term, Index: InitIndex, LogTerm: InitTerm},
	}
}

// S6: a vote that reaches a store before the split is applied there makes no peer, and is answered as soon as the split has made it.
func TestEarlyVotesAreAnsweredAfterTheSplit(t *testing.T) {
	g := newRig(t, threeRegion())
	g.slow = true
	follow(g)
	g.run(Step{early(eraftpb.MessageType_MsgRequestPreVote, 21, InitTerm+1)}, Step{early(eraftpb.MessageType_MsgRequestVote, 21, InitTerm+1)})
	require.Empty(t, g.made)
	g.sent, g.slow = nil, false
	g.run()
	var granted []eraftpb.MessageType
	for _, env := range g.sent {
		if env.RegionId == 20 && !env.Message.Reject {
			granted = append(granted, env.Message.MsgType)
		}
	}
	require.Contains(t, granted, eraftpb.MessageType_MsgRequestPreVoteResponse)
	require.Contains(t, granted, eraftpb.MessageType_MsgRequestVoteResponse)
	require.Empty(t, g.store.early.kept)
}

// S6, S23: what is kept for splits to come is bounded, for each region and in all; the newest stay.
func TestEarlyMessagesAreBounded(t *testing.T) {
	var e earlyMessages
	for i := range uint64(1000) {
		e.keep(&raft_serverpb.RaftMessage{RegionId: 7 + i%2, Message: &eraftpb.Message{Term: i}})
	}
	kept := e.take(7)
	require.Len(t, kept, maxEarlyPerRegion)
	require.Equal(t, uint64(998), kept[len(kept)-1].Message.Term)
	require.Len(t, e.kept, maxEarlyPerRegion)
	for i := range uint64(1000) {
		e.keep(&raft_serverpb.RaftMessage{RegionId: 100 + i})
	}
	require.Len(t, e.kept, maxEarly)
}

// S5: a peer without data that was there before the split is given the region, and keeps its vote; what the log writer still has to say about its earlier
// writes is not taken for news of the later ones.
func TestSplitMeetsAPeerWithoutData(t *testing.T) {
	g := newRig(t, threeRegion())
	vote := &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: 9, Vote: 23}}
	g.raft.Handle([]Mail{Create{RegionID: 20, PeerID: 21, State: vote, First: early(eraftpb.MessageType_MsgHeartbeat, 21, 10)}}, g.now)
	g.store.present[20] = 21
	before := g.raft.peers[20].persist
	require.Positive(t, before.given, "its new term is on its way to the log")
	follow(g)
	p := g.raft.peers[20]
	require.True(t, p.initialized())
	require.Equal(t, uint64(21), p.id)
	require.Equal(t, uint64(10), p.term())
	require.Equal(t, uint64(InitIndex), g.logs[20].LastIndex)
	require.Equal(t, uint64(10), g.logs[20].HardState.Term)
	require.Equal(t, uint64(InitIndex), p.applied.Index)
	g.run(Persisted{20, 21, before.given})
	require.Equal(t, p.persist.base, p.persist.done, "the number of the state that the split brought")
}

// S5: the child's peer here was removed and is dead before the split is applied: the split does not bring it back, and its data goes.
func TestSplitOfADeadChild(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.run(g.put("a", 1, ignore), g.put("x", 1, ignore))
	g.agree()
	g.queue = append(g.queue, ApplyTask{RegionID: 20, PeerID: 21, Destroy: &metapb.Region{Id: 20}})
	g.run()
	g.run(splitAt("m", ignore))
	g.agree()
	require.Nil(t, g.raft.peers[20])
	require.Nil(t, g.store.index.byID[20])
	require.Nil(t, g.apply.appliers[20])
	require.False(t, g.has("a"))
	require.True(t, g.has("x"))
}

// S5: the child's peer here was replaced by a younger one, which has no data yet, before the split is applied: what the split made is destroyed, and the
// younger one's log stays. Its range is nobody else's until then.
func TestSplitMeetsAYoungerPeer(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	g.run(g.put("a", 1, ignore), g.put("x", 1, ignore))
	g.agree()
	g.raft.Handle([]Mail{Create{RegionID: 20, PeerID: 31, First: early(eraftpb.MessageType_MsgHeartbeat, 31, 10)}}, g.now)
	g.store.present[20] = 31
	g.slow = true
	g.run(splitAt("m", ignore))
	g.agree()
	for len(g.queue) > 0 && g.apply.appliers[20] == nil {
		mail := g.applyOne()
		for _, a := range mail {
			g.run(a.Mail)
		}
	}
	require.NotNil(t, g.store.index.byID[20], "until the data is gone")
	g.slow = false
	g.run()
	require.Equal(t, uint64(31), g.raft.peers[20].id)
	require.False(t, g.raft.peers[20].initialized())
	require.Nil(t, g.store.index.byID[20])
	require.Equal(t, uint64(31), g.store.present[20])
	require.Nil(t, g.apply.appliers[20])
	require.False(t, g.has("a"))
	require.True(t, g.has("x"))
	require.Contains(t, g.logs, uint64(1))
	for _, round := range g.rounds {
		for _, w := range round.Write {
			require.False(t, w.Destroy, "the younger peer's log")
		}
	}
}

// S5: the child's peer is being destroyed while the split is applied: adoption does not wake it.
func TestAdoptionOfTheDying(t *testing.T) {
	g := newRig(t, threeRegion())
	g.raft.Handle([]Mail{Create{RegionID: 20, PeerID: 21, First: early(eraftpb.MessageType_MsgHeartbeat, 21, 10)}}, g.now)
	child := &metapb.Region{
		Id: 20, EndKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 21, StoreId: 1}},
	}
	g.raft.peers[20].ending = true
	g.raft.Handle([]Mail{Adopt{Region: child, PeerID: 21, Existing: true}}, g.now)
	require.False(t, g.raft.peers[20].initialized())
	g.raft.Handle([]Mail{LogDestroyed{20, 21}, Adopt{Region: child, PeerID: 21, Existing: true}}, g.now)
	require.Nil(t, g.raft.peers[20])
	g.store.tombstones[20] = Tombstone{PeerID: 21}
	parent := threeRegion()
	parent.StartKey = []byte("m")
	round := g.store.Handle([]Mail{CoversAll{Regions: []*metapb.Region{child, parent}}}, g.now)
	require.Empty(t, round.Mail)
	require.Nil(t, g.store.index.byID[20])
}

// S5: messages that may be a peer's first carry the range, all others do not.
func TestFirstMessagesCarryTheRange(t *testing.T) {
	r := threeRegion()
	r.StartKey, r.EndKey = []byte("b"), []byte("y")
	g := newRig(t, r)
	for range 30 {
		g.run(Tick{})
	}
	require.NotEmpty(t, g.sent)
	for _, env := range g.sent {
		require.Equal(t, []byte("b"), env.StartKey, env.Message.MsgType)
		require.Equal(t, []byte("y"), env.EndKey)
	}
	g.lead()
	g.sent = nil
	g.run(g.put("c", 1, ignore))
	require.NotEmpty(t, g.sent)
	for _, env := range g.sent {
		require.Empty(t, env.StartKey, "its receiver has acknowledged something")
	}
}

// The ids are asked for once; when they do not come, or come for a region that has changed, the split is given up and can be asked for again.
func TestIdsAreAskedFor(t *testing.T) {
	g := newRig(t, threeRegion())
	g.lead()
	var results []error
	ask := Admin{&AdminRequest{RegionID: 1, Op: Split{Keys: [][]byte{[]byte("m")}}, Done: func(err error) { results = append(results, err) }}}
	g.asked = nil
	g.run(ask, ask)
	require.Len(t, g.asked, 1)
	require.Len(t, results, 1)
	require.IsType(t, &region.ChangingError{}, results[0])
	for range splitPatience*testConfig(1).ElectionTicks + 1 {
		g.tick()
	}
	require.Len(t, results, 2)
	require.IsType(t, &region.ServerIsBusyError{}, results[1])
	ids := SplitIDs{RegionID: 1, Version: 1, IDs: []SplitID{{20, []uint64{21, 22, 23}}}}
	g.run(ids)
	require.Nil(t, g.raft.peers[20], "too late")
	g.run(ask, SplitIDs{RegionID: 1, Version: 1})
	require.Len(t, results, 3)
	require.IsType(t, &region.ServerIsBusyError{}, results[2])
	g.run(ask, ids)
	g.agree()
	require.Len(t, results, 4)
	require.NoError(t, results[3])
	require.NotNil(t, g.raft.peers[20])
}

func TestDivideRefuses(t *testing.T) {
	r := threeRegion()
	r.StartKey, r.EndKey = []byte("b"), []byte("y")
	part := func(key string) command.SplitPart {
		return command.SplitPart{EndKey: []byte(key), RegionID: 20, PeerIDs: []uint64{21, 22, 23}}
	}
	for _, keys := range [][]string{{}, {"a"}, {"b"}, {"y"}, {"z"}, {"d", "c"}, {"d", "d"}, {""}} {
		var parts []command.SplitPart
		for _, k := range keys {
			parts = append(parts, part(k))
		}
		_, err := divide(r, parts)
		require.Error(t, err, "%q", keys)
	}
	few := part("d")
	few.PeerIDs = few.PeerIDs[:2]
	_, err := divide(r, []command.SplitPart{few})
	require.ErrorContains(t, err, "3 peers")
	learner := region.Clone(r)
	learner.Peers[2].Role = metapb.PeerRole_Learner
	parts, err := divide(learner, []command.SplitPart{part("d"), part("e")})
	require.NoError(t, err)
	require.Equal(t, metapb.PeerRole_Learner, parts[0].Peers[2].Role)
	require.Equal(t, uint64(3), parts[2].RegionEpoch.Version)
	joint := region.Clone(r)
	joint.Peers[0].Role = metapb.PeerRole_IncomingVoter
	_, err = divide(joint, []command.SplitPart{part("d")})
	require.ErrorContains(t, err, "several peers", "S18")
}

// S3: a snapshot of less than what the region had here leaves nothing behind.
func TestInstallErasesTheRest(t *testing.T) {
	r := func(start, end string) *metapb.Region {
		return &metapb.Region{StartKey: []byte(start), EndKey: []byte(end)}
	}
	for _, c := range []struct {
		old, now *metapb.Region
		left     string
	}{
		{r("", ""), r("c", "f"), "cde"},
		{r("b", "h"), r("c", "f"), "acdehi"},
		{r("b", "h"), r("b", "h"), "abcdefghi"},
		{r("c", "f"), r("b", "h"), "abcdefghi"},
		{r("b", "d"), r("e", "h"), "adefghi"},
		{r("e", "h"), r("b", "d"), "abcdhi"},
		{r("b", ""), r("", "d"), "abc"},
	} {
		db := memdb.New()
		fill := db.NewBatch()
		for _, k := range "abcdefghi" {
			fill.Put(engine.Default, []byte(string(k)), []byte("v"))
		}
		require.NoError(t, fill.Commit(true))
		batch := db.NewBatch()
		eraseOutside(batch, c.old, c.now)
		require.NoError(t, batch.Commit(true))
		snap := db.NewSnapshot()
		it, err := snap.NewIterator(engine.Default, engine.IterOptions{})
		require.NoError(t, err)
		var left string
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			left += string(it.Key())
		}
		require.NoError(t, it.Close())
		require.Equal(t, c.left, left, "%v to %v", c.old, c.now)
	}
}
