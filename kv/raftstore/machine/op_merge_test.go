package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
)

// neighbours of a test: region 1 has the keys before m, region 2 those from m on; their peers on store s are 10+s and 20+s.
func twoRegions() (source, target *metapb.Region) {
	source, target = threeRegion(), threeRegion()
	source.EndKey = []byte("m")
	target.Id, target.StartKey = 2, []byte("m")
	for _, p := range target.Peers {
		p.Id += 10
	}
	return source, target
}

func twoFound() StoreState {
	source, target := twoRegions()
	at := Pair{InitIndex, InitTerm}
	found := StoreState{Tombstones: map[uint64]Tombstone{}}
	for _, r := range []*metapb.Region{source, target} {
		found.Regions = append(found.Regions, Restored{Region: r, PeerID: region.FindPeerOn(r, 1).Id, Apply: ApplyState(at, at), Raft: BirthState(nil)})
	}
	return found
}

// newMergeRig is store 1 with both regions, both led there.
func newMergeRig(t *testing.T) *rig {
	g := newRig(t, threeRegion())
	found := twoFound()
	var err error
	g.raft, err = NewRaftMachine(testConfig(1), found.Regions)
	require.NoError(t, err)
	g.store, err = NewStoreMachine(1, found)
	require.NoError(t, err)
	g.apply = NewApplyMachine(1, found)
	for range 200 {
		if a, b := g.views[1], g.views[2]; a != nil && b != nil && a.Ready && b.Ready {
			return g
		}
		g.tick()
	}
	t.Fatal("nobody leads")
	return g
}

func (g *rig) merge(done func(error)) Mail {
	return Admin{&AdminRequest{RegionID: 1, Op: Merge{Target: &metapb.Region{Id: 2}}, Done: done}}
}

func (g *rig) state(id uint64) *raft_serverpb.RegionLocalState {
	snap := g.db.NewSnapshot()
	defer func() { _ = snap.Close() }()
	b, err := snap.Get(engine.Local, keys.RegionState(id))
	require.NoError(g.t, err)
	s := new(raft_serverpb.RegionLocalState)
	require.NoError(g.t, s.Unmarshal(b))
	return s
}

// A merge from the request to the end of the source.
func TestMerge(t *testing.T) {
	g := newMergeRig(t)
	var begun error
	g.run(g.put("a", 1, func(err error) { require.NoError(t, err) }))
	g.agree()
	g.run(g.merge(func(err error) { begun = err }))
	g.agree()
	require.NoError(t, begun)
	for range 20 {
		g.tick()
	}
	require.True(t, g.views[1].Gone)
	require.Equal(t, uint64(3), g.views[2].Region.RegionEpoch.Version, "above both")
	require.Empty(t, g.views[2].Region.StartKey)
	require.Empty(t, g.views[2].Region.EndKey)
	require.True(t, g.has("a"))
	require.Nil(t, g.store.index.byID[1])
	require.Equal(t, raft_serverpb.PeerState_Tombstone, g.state(1).State)
	require.Equal(t, uint64(1), g.state(2).MergedRecords[0].SourceRegionId)
	require.Equal(t, g.state(2).MergedRecords[0].SourceIndex, g.store.tombstones[1].Into.Commit)
	require.Zero(t, g.logs[1].GetLastIndex(), "the log is gone")
	var refused error
	g.run(g.put("a", 1, func(err error) { refused = err }))
	require.IsType(t, &region.NotFoundError{}, refused)
}

// S14: from the commit of the preparation on there is no lease, no read of any kind, and no write.
func TestFrozenRegionServesNobody(t *testing.T) {
	g := newMergeRig(t)
	require.True(t, g.views[1].HasLease(g.now))
	g.slow = true
	answers := map[string]error{}
	note := func(what string) func(error) {
		return func(err error) {
			require.NotContains(t, answers, what)
			answers[what] = err
		}
	}
	g.run(g.merge(note("merge")))
	g.applyAll() // the question after the target
	g.agree()    // the preparation is committed and not applied
	require.False(t, g.views[1].HasLease(g.now), "nobody may read what a quorum knows to be frozen")
	read := func(what string, version uint64) Mail {
		return Read{&ReadRequest{RegionID: 1, Version: version, Grant: func(_ ReadGrant, err error) { note(what)(err) }}}
	}
	g.run(g.put("a", 1, note("write behind it")), read("read under way", 1))
	g.agree()
	g.slow = false
	g.run(Unreachable{StoreID: 9})
	require.NoError(t, answers["merge"])
	require.IsType(t, &region.EpochNotMatchError{}, answers["write behind it"])
	require.IsType(t, &region.MergingError{}, answers["read under way"])
	g.run(g.put("a", 2, note("put")), read("get", 2), g.merge(note("again")), splitAt("c", note("split")))
	for _, what := range []string{"put", "get", "again", "split"} {
		require.IsType(t, &region.MergingError{}, answers[what], what)
	}
	require.False(t, g.has("a"))
	var into uint64
	g.run(Inspect{RegionID: 1, Tell: func(r *PeerReport) { into = r.MergeInto }})
	require.Equal(t, uint64(2), into, "who looks at it is told")
}

// applyAll lets the slow apply queue run dry once.
func (g *rig) applyAll() {
	g.slow = false
	g.run(Unreachable{StoreID: 9})
	g.slow = true
}

// mergeBench is an ApplyMachine with both regions, fed by hand.
type mergeBench struct {
	t      *testing.T
	m      *ApplyMachine
	index  map[uint64]uint64
	epochs map[uint64]command.Epoch
	last   ApplyRound
}

func newMergeBench(t *testing.T) *mergeBench {
	one := command.Epoch{Version: 1, ConfVer: 1}
	return &mergeBench{
		t: t, m: NewApplyMachine(1, twoFound()), index: map[uint64]uint64{1: InitIndex, 2: InitIndex}, epochs: map[uint64]command.Epoch{1: one, 2: one},
	}
}

// apply applies one command, and returns its answer: nil too if there is none yet.
func (b *mergeBench) apply(id uint64, kind command.Kind, body []byte) (answer error) {
	b.index[id]++
	e := eraftpb.Entry{Index: b.index[id], Term: 6, Data: command.Encode(command.Command{Kind: kind, Epoch: b.epochs[id], Body: body})}
	pr := &Proposal{RegionID: id, Done: func(err error) { answer = err }}
	b.task(ApplyTask{RegionID: id, PeerID: id*10 + 1, Entries: []eraftpb.Entry{e}, Waiting: []pendingEntry{{Pair: Pair{e.Index, 6}, proposals: []*Proposal{pr}}}})
	return answer
}

// task runs one task and what it sets free, and keeps all mail.
func (b *mergeBench) task(t ApplyTask) {
	b.last = ApplyRound{}
	batch := memdb.New().NewBatch()
	for tasks := []ApplyTask{t}; len(tasks) > 0; batch.Reset() {
		var round ApplyRound
		round, tasks = b.m.Handle(tasks, batch)
		for _, r := range round.Reply {
			r.Done(r.Err)
		}
		b.last.Mail = append(b.last.Mail, round.Mail...)
		b.last.Sync = round.Sync
	}
}

func (b *mergeBench) prepare() {
	_, target := twoRegions()
	require.NoError(b.t, b.apply(1, command.PrepareMerge, command.EncodePrepareMerge(target)))
	require.True(b.t, b.last.Sync)
	b.epochs[1] = command.Epoch{Version: 2, ConfVer: 2}
}

func (b *mergeBench) commit(declined bool) error {
	return b.apply(2, command.CommitMerge, b.commitBody(declined))
}

func (b *mergeBench) commitBody(declined bool) []byte {
	source, _ := twoRegions()
	source.RegionEpoch = &metapb.RegionEpoch{Version: 2, ConfVer: 2}
	return command.EncodeCommitMerge(command.CommitMergeBody{Declined: declined, Index: InitIndex + 1, Source: source})
}

func (b *mergeBench) yield(id uint64) {
	b.task(ApplyTask{RegionID: id, PeerID: id*10 + 1, Yield: true})
}

func write(key string) []byte {
	return command.AppendOp(nil, command.Put, engine.Default, []byte(key), []byte("v"))
}

// find returns the last mail of a kind.
func find[M Mail](b *mergeBench) (found M, ok bool) {
	for _, a := range b.last.Mail {
		if mail, is := a.Mail.(M); is {
			found, ok = mail, true
		}
	}
	return found, ok
}

// S16, S17: of what stands behind a preparation only its own rollback does anything.
func TestFrozenRegionAppliesOnlyItsRollback(t *testing.T) {
	b := newMergeBench(t)
	b.prepare()
	a := b.m.appliers[1]
	require.IsType(t, &region.MergingError{}, b.apply(1, command.Write, write("a")))
	require.IsType(t, &region.MergingError{}, b.apply(1, command.CompactLog, command.EncodeCompactLog(InitIndex+1, 6)), "who lags needs the log")
	require.Equal(t, Pair{InitIndex, InitTerm}, a.truncated)
	_, target := twoRegions()
	require.IsType(t, &region.MergingError{}, b.apply(1, command.PrepareMerge, command.EncodePrepareMerge(target)))
	require.ErrorContains(t, b.apply(1, command.RollbackMerge, command.EncodeRollbackMerge(InitIndex+2)), "no merge is prepared")
	frozen := b.epochs[1]
	require.NoError(t, b.apply(1, command.RollbackMerge, command.EncodeRollbackMerge(InitIndex+1)))
	require.True(t, b.last.Sync)
	require.Nil(t, a.merge)
	require.Equal(t, uint64(3), a.region.RegionEpoch.Version)
	b.epochs[1] = frozen
	require.IsType(t, &region.EpochNotMatchError{}, b.apply(1, command.RollbackMerge, command.EncodeRollbackMerge(InitIndex+1)), "once more, late")
	b.epochs[1] = command.Epoch{Version: 3, ConfVer: 2}
	require.NoError(t, b.apply(1, command.Write, write("a")))
}

// A target waits for its source and for nobody else; then one durable batch does everything.
func TestTargetWaitsForItsSource(t *testing.T) {
	b := newMergeBench(t)
	require.NoError(t, b.commit(false))
	catchUp, ok := find[CatchUp](b)
	require.True(t, ok && catchUp.Yield && catchUp.Index == InitIndex+1)
	var answered error
	b.index[2]++
	e := eraftpb.Entry{Index: b.index[2], Term: 6, Data: command.Encode(command.Command{Kind: command.Write, Epoch: command.Epoch{Version: 3, ConfVer: 1}, Body: write("a")})}
	waits := []pendingEntry{{Pair: Pair{e.Index, 6}, proposals: []*Proposal{{Done: func(err error) { answered = err }}}}}
	answered = region.ErrUndetermined
	b.task(ApplyTask{RegionID: 2, PeerID: 21, Entries: []eraftpb.Entry{e}, Waiting: waits})
	require.Equal(t, uint64(InitIndex), b.m.appliers[2].applied.Index, "parked")
	b.prepare()
	require.Equal(t, uint64(InitIndex), b.m.appliers[2].applied.Index, "the source has not yielded: its view may be out")
	b.yield(1)
	require.NoError(t, answered, "a write of the source's range, behind the merge")
	require.Nil(t, b.m.appliers[1])
	absorbed, ok := find[Absorbed](b)
	require.True(t, ok)
	require.Equal(t, uint64(11), absorbed.PeerID)
	inherits, ok := find[Inherits](b)
	require.True(t, ok)
	require.Empty(t, inherits.Region.StartKey)
}

// A snapshot that cannot be installed takes nothing along of what the rounds before told others: a source that was not told to catch up would keep its
// target waiting for ever. Found by the simulator (seed 671).
func TestAFailedInstallTakesNothingAlong(t *testing.T) {
	b := newMergeBench(t)
	e := eraftpb.Entry{Index: InitIndex + 1, Term: 6, Data: command.Encode(command.Command{Kind: command.CommitMerge, Epoch: b.epochs[2], Body: b.commitBody(false)})}
	third := &metapb.Region{Id: 3, StartKey: []byte("x"), RegionEpoch: &metapb.RegionEpoch{Version: 5, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 31, StoreId: 1}}}
	tasks := []ApplyTask{
		{RegionID: 2, PeerID: 21, Entries: []eraftpb.Entry{e}},
		{RegionID: 3, PeerID: 31, Install: &Installation{Region: third, At: Pair{9, 6}}},
	}
	batch := memdb.New().NewBatch()
	round, rest := b.m.Handle(tasks, batch)
	require.Nil(t, round.Install)
	require.Len(t, rest, 1)
	require.Len(t, round.Mail, 1)
	require.IsType(t, CatchUp{}, round.Mail[0].Mail)
	batch.Reset()
	round, rest = b.m.Handle(rest, batch)
	require.NotNil(t, round.Install)
	require.Empty(t, rest)
	failed := b.m.InstallFailed(round.Install)
	require.Equal(t, []Addressed{{RegionID: 3, Mail: InstallFailed{RegionID: 3, PeerID: 31}}}, failed.Mail)
	require.Nil(t, b.m.appliers[3])
}

// A target that is removed while it waits for its source takes the source along, whether that has yielded yet or not: it is decided that it is no more.
// Found by the simulator (seed 924).
func TestARemovedTargetTakesItsSourceAlong(t *testing.T) {
	b := newMergeBench(t)
	b.prepare()
	require.NoError(t, b.commit(false))
	target := b.m.appliers[2].region
	b.task(ApplyTask{RegionID: 2, PeerID: 21, Destroy: target})
	discard, ok := find[Discard](b)
	require.True(t, ok)
	require.Equal(t, Discard{RegionID: 1, PeerID: 11, Into: &raft_serverpb.MergeState{Target: target, Commit: InitIndex + 1}}, discard)
	require.Empty(t, b.m.parked)

	for _, yielded := range []bool{false, true} {
		m, err := NewRaftMachine(testConfig(1), twoFound().Regions)
		require.NoError(t, err)
		if yielded {
			m.Handle([]Mail{Yield{1}}, 1)
		}
		round := m.Handle([]Mail{discard}, 2)
		require.Len(t, round.Apply, 1)
		require.NotNil(t, round.Apply[0].Destroy)
		require.Equal(t, discard.Into, round.Apply[0].Into)
	}
}

// What a peer was asked for before it had to be read again holds afterwards: its target does not ask twice.
func TestAReloadedSourceStillYields(t *testing.T) {
	for _, done := range []bool{false, true} {
		found := twoFound().Regions
		m, err := NewRaftMachine(testConfig(1), found)
		require.NoError(t, err)
		old := m.peers[1]
		old.snap.installing, old.snap.failed = true, true
		old.merge.catchUp, old.merge.yields, old.merge.yielded = InitIndex, !done, done
		round := m.Handle([]Mail{Reloaded{RegionID: 1, PeerID: 11, Restored: found[0], State: found[0].Raft}}, 1)
		require.NotSame(t, old, m.peers[1])
		require.True(t, m.peers[1].merge.yielded)
		require.Len(t, round.Apply, map[bool]int{false: 1, true: 0}[done])
		for _, v := range round.Views {
			require.True(t, v.Gone)
		}
	}
}

// S17: the target's epoch decides, once.
func TestOneEntryDecides(t *testing.T) {
	b := newMergeBench(t)
	b.prepare()
	b.yield(1)
	require.NoError(t, b.commit(true), "declined")
	require.NotNil(t, b.m.appliers[1])
	require.Equal(t, uint64(2), b.m.appliers[2].region.RegionEpoch.Version)
	require.IsType(t, &region.EpochNotMatchError{}, b.commit(false), "too late")
	require.NotNil(t, b.m.appliers[1])
	require.Equal(t, "m", string(b.m.appliers[2].region.StartKey))
}

// The source's leader is told to roll back only by a target that has moved on, and still knows everything that it took in.
func TestTestimony(t *testing.T) {
	source, target := twoRegions()
	for name, c := range map[string]struct {
		change func(m *ApplyMachine)
		want   MergeAnswer
		calls  bool
	}{
		"as expected":           {func(*ApplyMachine) {}, MergeAnswer{}, true},
		"behind":                {func(m *ApplyMachine) { m.appliers[2].region = at(target, 0) }, MergeAnswer{Unknown: true}, false},
		"gone":                  {func(m *ApplyMachine) { delete(m.appliers, 2) }, MergeAnswer{Unknown: true}, false},
		"moved on":              {func(m *ApplyMachine) { m.appliers[2].region = at(target, 2) }, MergeAnswer{Refused: true}, false},
		"moved on, forgetful":   {func(m *ApplyMachine) { m.appliers[2].region = at(target, 9); m.appliers[2].records = forgets(8) }, MergeAnswer{Unknown: true}, false},
		"forgot what was older": {func(m *ApplyMachine) { m.appliers[2].region = at(target, 9); m.appliers[2].records = forgets(1) }, MergeAnswer{Refused: true}, false},
		"taken in itself": {func(m *ApplyMachine) {
			delete(m.appliers, 2)
			m.appliers[3] = &applier{region: at(target, 9), records: []*raft_serverpb.MergedRecord{{SourceRegionId: 2}}}
		}, MergeAnswer{Refused: true}, false},
		"left after it moved on":          {func(m *ApplyMachine) { leave(m, target, confVer(target, 9)) }, MergeAnswer{Refused: true}, false},
		"left at the epoch that it had":   {func(m *ApplyMachine) { leave(m, target, target) }, MergeAnswer{Unknown: true}, false},
		"left, is told of later versions": {func(m *ApplyMachine) { leave(m, target, at(confVer(target, 9), 2)) }, MergeAnswer{Unknown: true}, false},
		"left after it took the source in": {func(m *ApplyMachine) {
			m.appliers[2].records = []*raft_serverpb.MergedRecord{{SourceRegionId: 1}}
			leave(m, target, confVer(target, 9))
		}, MergeAnswer{Unknown: true}, false},
		"the source has yielded": {func(m *ApplyMachine) { m.appliers[1].yielded = true; m.appliers[2].region = at(target, 2) }, MergeAnswer{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newMergeBench(t)
			b.prepare()
			c.change(b.m)
			b.task(ApplyTask{RegionID: 1, PeerID: 11, Merge: &MergeAsk{Target: target, Source: source, Index: InitIndex + 1, Ready: true}})
			got, _ := find[MergeAnswer](b)
			require.Equal(t, c.want.Refused, got.Refused)
			require.Equal(t, c.want.Unknown, got.Unknown)
			_, calls := find[MergeCall](b)
			require.Equal(t, c.calls, calls)
		})
	}
}

func at(r *metapb.Region, version uint64) *metapb.Region {
	c := region.Clone(r)
	c.RegionEpoch.Version = version
	return c
}

func confVer(r *metapb.Region, confVer uint64) *metapb.Region {
	c := region.Clone(r)
	c.RegionEpoch.ConfVer = confVer
	return c
}

// leave destroys a region's peer, which was told what it ceased to belong to.
func leave(m *ApplyMachine, r, told *metapb.Region) {
	var round ApplyRound
	m.destroy(&round, &ApplyTask{RegionID: r.Id, PeerID: m.appliers[r.Id].peerID, Destroy: tombstoneOf(r, told)}, memdb.New().NewBatch())
}

func forgets(version uint64) []*raft_serverpb.MergedRecord {
	return []*raft_serverpb.MergedRecord{{TargetEpoch: &metapb.RegionEpoch{Version: version}}}
}

// S3: a snapshot of the target takes the source's range too, once the source has yielded, unless somebody here still needs the source for its log.
func TestSnapshotAbsorbsWhatItsRegionTookIn(t *testing.T) {
	source, target := twoRegions()
	record := &raft_serverpb.MergedRecord{SourceRegionId: 1, SourceIndex: 9, TargetRegionId: 2, TargetEpoch: &metapb.RegionEpoch{Version: 3}, TargetPeers: target.Peers}
	claim := func(id uint64, start, end string) Mail {
		r := &metapb.Region{Id: id, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: 5}}
		return Claim{Region: r, Records: []*raft_serverpb.MergedRecord{record}}
	}
	fresh := func(regions ...*metapb.Region) *StoreMachine {
		var found StoreState
		for _, r := range regions {
			found.Regions = append(found.Regions, Restored{Region: r, PeerID: region.FindPeerOn(r, 1).Id})
		}
		m, err := NewStoreMachine(1, found)
		require.NoError(t, err)
		return m
	}
	granted := func(mail []Addressed) (bool, []uint64) {
		for _, a := range mail {
			if g, ok := a.Mail.(ClaimGranted); ok {
				return g.Granted, g.Absorbs
			}
		}
		return false, nil
	}

	m := fresh(source, target)
	mail := m.Handle([]Mail{claim(2, "", "")}, 0).Mail
	require.Equal(t, []Addressed{{RegionID: 1, Mail: Yield{1}}}, mail, "first the source falls silent")
	mail = m.Handle([]Mail{Yielded{1}}, 0).Mail
	ok, absorbs := granted(mail)
	require.True(t, ok)
	require.Equal(t, []uint64{1}, absorbs)
	m.Handle([]Mail{Inherits{Region: at(target, 5), From: 1}}, 0)
	require.Nil(t, m.index.byID[1])

	m = fresh(source, target)
	mail = m.Handle([]Mail{claim(7, "a", "c")}, 0).Mail // a child of the merged region
	ok, _ = granted(mail)
	require.False(t, ok, "the target is behind, and needs the source when its log comes to the merge")
	m = fresh(source)
	ok, _ = granted(m.Handle([]Mail{claim(7, "a", "c")}, 0).Mail)
	require.False(t, ok, "the target is still to come, by a split")
	m = fresh(source)
	m.tombstones[2] = Tombstone{PeerID: 21}
	require.Equal(t, []Addressed{{RegionID: 1, Mail: Yield{1}}}, m.Handle([]Mail{claim(7, "a", "c")}, 0).Mail, "it is dead")
}

// S17: the leaders of source and target are on different stores, and whoever balances leaders keeps them so. The call reaches the target's leader all the same, and a late
// one, for an epoch that the target has left, does nothing. Found by the simulator (seed 152).
func TestTheCallForAMergeIsPassedOn(t *testing.T) {
	source, target := twoRegions()
	call := MergeCall{RegionID: 2, Expected: target, Source: source, Index: InitIndex + 1}
	for _, decline := range []bool{false, true} {
		call.Decline = decline
		from, err := NewRaftMachine(testConfig(1), twoFound().Regions)
		require.NoError(t, err)
		require.Empty(t, from.Handle([]Mail{call}, 1).Send, "nobody leads the target: the source calls again")
		from.Handle([]Mail{Step{message(2, 22, 21, eraftpb.MessageType_MsgHeartbeat, 1)}}, 2)
		round := from.Handle([]Mail{call}, 3)
		require.Len(t, round.Send, 1)
		require.Equal(t, uint64(22), round.Send[0].ToPeer.Id)

		g := newMergeRig(t)
		passed := func(version uint64) (proposed []command.CommitMergeBody) {
			msg := *round.Send[0]
			msg.FromPeer, msg.ToPeer = msg.ToPeer, msg.FromPeer
			msg.RegionEpoch = &metapb.RegionEpoch{Version: version, ConfVer: 1}
			got := g.raft.Handle([]Mail{Step{&msg}}, g.now)
			for _, w := range got.Write {
				for _, e := range w.Entries {
					require.NoError(t, command.Decode(e.Data, func(c command.Command) error {
						body, err := command.DecodeCommitMerge(c.Body)
						proposed = append(proposed, body)
						return err
					}))
				}
			}
			return proposed
		}
		require.Empty(t, passed(2), "the target is not what the source was prepared for")
		require.Equal(t, []command.CommitMergeBody{{Declined: decline, Index: InitIndex + 1, Source: source}}, passed(1))
		require.Empty(t, passed(1), "once")
	}
}
