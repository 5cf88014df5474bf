package operator

import (
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

var t0 = time.Unix(1_000_000, 0)

// voters is region 1 with a voter on each store, the first of which leads; peer ids are 100 + store.
func voters(confVer uint64, stores ...uint64) *cluster.Region {
	r := &cluster.Region{Meta: &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: confVer}}, Term: 6}
	for _, s := range stores {
		r.Meta.Peers = append(r.Meta.Peers, &metapb.Peer{Id: 100 + s, StoreId: s})
	}
	r.Leader = r.Meta.Peers[0]
	return r
}

func picture(regions ...*cluster.Region) *cluster.Picture {
	p := cluster.NewPicture()
	for s := uint64(1); s <= 6; s++ {
		p.PutStore(&metapb.Store{Id: s}, t0)
		p.HearStore(s, cluster.StoreStats{}, t0, t0)
	}
	for _, r := range regions {
		show(p, r)
	}
	return p
}

func show(p *cluster.Picture, r *cluster.Region) *cluster.Region {
	change, err := p.CheckRegion(r)
	if err != nil {
		panic(err)
	}
	p.PutRegion(r, change)
	return r
}

func options(joint bool) Options {
	id := uint64(1000)
	return Options{
		Joint: joint, Learners: true, NewID: func() (uint64, bool) { id++; return id, true },
		Best: func(stores []uint64) uint64 { return stores[0] },
	}
}

func targets(stores ...uint64) (list []Target) {
	for _, s := range stores {
		list = append(list, Target{Store: s})
	}
	return list
}

func words(steps []Step) (list []string) {
	for _, s := range steps {
		list = append(list, s.String())
	}
	return list
}

func TestBuild(t *testing.T) { // P8, R4
	learner := voters(5, 1, 2, 3)
	learner.Meta.Peers[2].Role = metapb.PeerRole_Learner
	joint := voters(5, 1, 2, 3, 4)
	for i, role := range []metapb.PeerRole{metapb.PeerRole_Voter, metapb.PeerRole_DemotingVoter, metapb.PeerRole_DemotingVoter, metapb.PeerRole_IncomingVoter} {
		joint.Meta.Peers[i].Role = role
	}
	for _, c := range []struct {
		name   string
		region *cluster.Region
		to     []Target
		joint  bool
		lead   uint64
		want   []string
	}{
		{"one more", voters(5, 1, 2), targets(1, 2, 3), true, 0, []string{
			"add learner peer 1001 on store 3", "promote learner peer 1001 on store 3 to voter",
		}},
		{"one for another", voters(5, 1, 2, 3), targets(1, 2, 4), false, 0, []string{
			"add learner peer 1001 on store 4", "promote learner peer 1001 on store 4 to voter", "remove peer 103 on store 3",
		}},
		{"one for another at once", voters(5, 1, 2, 3), targets(1, 2, 4), true, 0, []string{
			"add learner peer 1001 on store 4",
			"use joint consensus, promote learner peer 1001 on store 4 to voter, demote voter peer 103 on store 3 to learner",
			"leave joint state", "remove peer 103 on store 3",
		}},
		{"the leader for another", voters(5, 1, 2, 3), targets(2, 3, 4), true, 0, []string{
			"add learner peer 1001 on store 4", "transfer leader from store 1 to store 2",
			"use joint consensus, promote learner peer 1001 on store 4 to voter, demote voter peer 101 on store 1 to learner",
			"leave joint state", "remove peer 101 on store 1",
		}},
		{"the only one", voters(5, 1), targets(2), true, 0, []string{
			"add learner peer 1001 on store 2", "promote learner peer 1001 on store 2 to voter",
			"transfer leader from store 1 to store 2", "remove peer 101 on store 1",
		}},
		{"the leader of two", voters(5, 1, 2), targets(2), false, 0, []string{"transfer leader from store 1 to store 2", "remove peer 101 on store 1"}},
		{"a learner votes", learner, targets(1, 2, 3), true, 0, []string{"promote learner peer 103 on store 3 to voter"}},
		{"a learner goes", learner, targets(1, 2), true, 0, []string{"remove peer 103 on store 3"}},
		{"another leads", voters(5, 1, 2, 3), targets(1, 2, 3), true, 3, []string{"transfer leader from store 1 to store 3"}},
		{"out of a joint configuration", joint, targets(1, 3, 4), true, 0, []string{ // seed 894: the one that goes votes no more when that is left
			"leave joint state", "promote learner peer 103 on store 3 to voter", "remove peer 102 on store 2",
		}},
		{"as it is", voters(5, 1, 2, 3), targets(1, 2, 3), true, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := options(c.joint)
			opts.Lead = c.lead
			steps, err := Build(c.region, c.to, opts)
			require.NoError(t, err)
			require.Equal(t, c.want, words(steps))
		})
	}
	none := options(true)
	none.NewID = func() (uint64, bool) { return 0, false }
	_, err := Build(voters(5, 1), targets(1, 2), none)
	require.ErrorIs(t, err, ErrNoIDs)
	_, err = Build(voters(5, 1), nil, options(true))
	require.ErrorContains(t, err, "nobody shall vote")
	nobody := options(false)
	nobody.Best = func([]uint64) uint64 { return 0 }
	_, err = Build(voters(5, 1, 2), targets(2), nobody)
	require.ErrorContains(t, err, "nobody else may lead")
}

// moved is an operator that replaces store 3 by store 4, and its controller.
func moved(t *testing.T, joint bool) (*cluster.Picture, *Controller, *Operator) {
	p := picture(voters(5, 1, 2, 3))
	c := NewController(p)
	c.SetLimits(NoLimits())
	steps, err := Build(p.Region(1), targets(1, 2, 4), options(joint))
	require.NoError(t, err)
	o := New("balance-region", "mv peer", Region, Low, p.Region(1), steps...)
	require.NoError(t, c.Add(t0, o))
	return p, c, o
}

// as is region 1 with store 4's peer in a role.
func as(confVer uint64, role metapb.PeerRole, pending bool) *cluster.Region {
	r := voters(confVer, 1, 2, 3)
	p := &metapb.Peer{Id: 1001, StoreId: 4, Role: role}
	r.Meta.Peers = append(r.Meta.Peers, p)
	if pending {
		r.Pending = []*metapb.Peer{p}
	}
	return r
}

// P5: each heartbeat says how far it is; an order is the same until it shows.
func TestStepsAreJudgedFromHeartbeats(t *testing.T) {
	p, c, _ := moved(t, false)
	for range 3 {
		command := c.Judge(p.Region(1), t0)
		require.Equal(t, ChangePeer{eraftpb.ConfChangeType_AddLearnerNode, &metapb.Peer{Id: 1001, StoreId: 4, Role: metapb.PeerRole_Learner}}, command.Order)
	}
	require.Equal(t, Influence{Regions: 1, RegionWeight: 1, Arriving: 1}, c.Influences().Of(4))
	require.Equal(t, Influence{Regions: -1, RegionWeight: -1}, c.Influences().Of(3))
	require.Nil(t, c.Judge(show(p, as(6, metapb.PeerRole_Learner, true)), t0), "it catches up")
	require.Zero(t, c.Influences().Of(4), "it is counted where it is")
	require.Equal(t, eraftpb.ConfChangeType_AddNode, c.Judge(show(p, as(6, metapb.PeerRole_Learner, false)), t0).Order.(ChangePeer).Type)
	require.Equal(t, eraftpb.ConfChangeType_RemoveNode, c.Judge(show(p, as(7, metapb.PeerRole_Voter, false)), t0).Order.(ChangePeer).Type)
	gone := as(8, metapb.PeerRole_Voter, false)
	gone.Meta.Peers = append(gone.Meta.Peers[:2:2], gone.Meta.Peers[3])
	require.Nil(t, c.Judge(show(p, gone), t0))
	require.Equal(t, Success, c.History(1)[0].Status)
	require.Zero(t, c.Count())
}

// P5: several steps may show at once, and a joint configuration may be over before it is seen.
func TestStepsMayBeSkipped(t *testing.T) {
	p, c, o := moved(t, true)
	r := as(8, metapb.PeerRole_Voter, false)
	r.Meta.Peers[2].Role = metapb.PeerRole_Learner
	require.Equal(t, eraftpb.ConfChangeType_RemoveNode, c.Judge(show(p, r), t0).Order.(ChangePeer).Type)
	require.Equal(t, 3, o.run.at)
}

// P5, S7: what somebody else changed ends the operator; above all, a peer that was removed again is not asked for once more.
func TestUnexplainedChangesEndOperators(t *testing.T) {
	for name, reports := range map[string][]*cluster.Region{
		"somebody added a peer":         {voters(6, 1, 2, 3, 5)},
		"somebody removed a peer":       {voters(6, 1, 2)},
		"added and removed, unseen":     {voters(7, 1, 2, 3)},
		"added and removed, seen":       {as(6, metapb.PeerRole_Learner, true), voters(7, 1, 2, 3)},
		"promoted and demoted":          {as(7, metapb.PeerRole_Voter, true), as(8, metapb.PeerRole_Learner, true)},
		"the same store, another peer":  {as(6, metapb.PeerRole_Learner, true), voters(8, 1, 2, 3, 4)},
		"all peers but one are removed": {voters(7, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, _ := moved(t, false)
			for _, r := range reports {
				c.Judge(show(p, r), t0)
			}
			require.Zero(t, c.Count())
			require.Equal(t, Canceled, c.History(1)[0].Status, c.History(1)[0].Why)
		})
	}
}

func TestAddHasConditions(t *testing.T) {
	p, c, o := moved(t, false)
	transfer := func(priority Priority, kind Kind) *Operator {
		return New("x", "y", kind, priority, p.Region(1), TransferLeader{1, 2})
	}
	require.ErrorContains(t, c.Add(t0, transfer(Low, Leader)), "has an operator already: balance-region")
	require.NoError(t, c.Add(t0, transfer(High, Leader)))
	require.Equal(t, Replaced, o.run.status)
	require.Equal(t, 1, c.Count())
	require.True(t, c.Cancel(1, "enough", t0))
	require.False(t, c.Cancel(1, "enough", t0))

	old := transfer(Low, Leader)
	show(p, voters(6, 1, 2, 4))
	require.ErrorContains(t, c.Add(t0, old), "has changed meanwhile")
	limits := NoLimits()
	limits.Kind[Leader] = 0
	c.SetLimits(limits)
	require.ErrorContains(t, c.Add(t0, transfer(Low, Leader)), "0 operators of kind leader, as many as may be")
	require.NoError(t, c.Add(t0, transfer(Low, Admin)), "who asks for it himself is not held up")
	other := voters(1, 1)
	other.Meta.Id = 2
	require.ErrorContains(t, c.Add(t0, New("x", "y", Leader, Low, other, TransferLeader{1, 2})), "region 2 not found")
}

// P8: a store's limit lets so many peers come a minute, and no more at once than it gives in a quarter of it. What is empty is free.
func TestStoreLimits(t *testing.T) {
	p := picture()
	c := NewController(p)
	limits := NoLimits()
	limits.AddPeer, limits.RemovePeer = 8, 600
	c.SetLimits(limits)
	added := func(now time.Time) (n int) {
		for id := uint64(1); id <= 20; id++ {
			r := voters(1, 1, 2)
			r.Meta.Id, r.Load.Size = id, 10<<20
			r.Meta.StartKey, r.Meta.EndKey = []byte{byte(id)}, []byte{byte(id) + 1}
			show(p, r)
			o := New("x", "y", Replica, Low, r, AddPeer{&metapb.Peer{Id: 1000 + id, StoreId: 3}})
			if !c.Has(id) && c.Add(now, o) == nil {
				n++
			}
		}
		return n
	}
	require.Equal(t, 2, added(t0))
	require.Zero(t, added(t0.Add(7*time.Second)))
	require.Equal(t, 1, added(t0.Add(8*time.Second)))
	require.Equal(t, 2, added(t0.Add(time.Hour)))
	p.TuneStore(3, cluster.Tuning{AddPeer: 40})
	require.Equal(t, 10, added(t0.Add(2*time.Hour)))
	require.False(t, c.MayAdd(3, p.Region(1), t0.Add(2*time.Hour)))
	require.True(t, c.MayAdd(3, voters(1, 1), t0.Add(2*time.Hour)), "an empty region")
	refused := uint64(18 + 18 + 17 + 15 + 5) // of those that had none each time
	require.Equal(t, map[string]uint64{"x": refused}, c.Limited())
}

// Orders are repeated when no heartbeat asks for them, and what takes too long ends.
func TestTickRepeatsAndEnds(t *testing.T) {
	p, c, _ := moved(t, false)
	require.Len(t, c.Tick(t0), 1)
	require.Empty(t, c.Tick(t0.Add(tellAgain-1)))
	again := c.Tick(t0.Add(tellAgain))
	require.Len(t, again, 1)
	require.False(t, again[0].First)
	late := t0.Add(slowStep + 2*time.Second)
	p.HearStore(4, cluster.StoreStats{}, late, late)
	c.Tick(late)
	require.Zero(t, c.Count())
	require.Equal(t, Timeout, c.History(0)[0].Status)
}

// P8: nobody waits for a peer on a store that is lost.
func TestOperatorsDoNotWaitForLostStores(t *testing.T) {
	p, c, _ := moved(t, true)
	show(p, as(6, metapb.PeerRole_Learner, true))
	c.Tick(t0.Add(cluster.DisconnectedAfter + time.Second))
	require.Equal(t, 1, c.Count(), "it may come back")
	c.Tick(t0.Add(cluster.DownAfter + time.Second))
	require.Contains(t, c.History(1)[0].Why, "store 4 is Down")
	_, c, _ = moved(t, true)
	c.Tick(t0.Add(cluster.DisconnectedAfter + time.Second))
	require.Contains(t, c.History(1)[0].Why, "store 4 is Disconnected")
	p, c, _ = moved(t, true)
	p.PutStore(&metapb.Store{Id: 4, State: metapb.StoreState_Offline}, t0)
	c.Tick(t0)
	require.Zero(t, c.Count())

	p = picture(voters(5, 1, 2, 3))
	p.PutStore(&metapb.Store{Id: 2, State: metapb.StoreState_Offline}, t0)
	c = NewController(p)
	c.SetLimits(NoLimits())
	for _, to := range []uint64{2, 3} {
		require.NoError(t, c.Add(t0, New("x", "y", Leader, Low, p.Region(1), TransferLeader{1, to})))
		c.Tick(t0.Add(cluster.DisconnectedAfter + time.Second))
		require.Equal(t, to == 2, c.Has(1), "a store that is being drained may lead, one that is silent may not")
		c.Cancel(1, "", t0)
	}
	require.Contains(t, c.History(1)[0].Why, "store 3 is Disconnected")
}

// P5: the operators of a merge come and go in pairs; the region that vanishes has succeeded.
func TestMergesComeInPairs(t *testing.T) {
	neighbours := func() (*cluster.Picture, *Controller, *Operator, *Operator) {
		a, b := voters(5, 1, 2, 3), voters(5, 1, 2, 3)
		b.Meta.Id, a.Meta.EndKey, b.Meta.StartKey = 2, []byte("m"), []byte("m")
		p := picture(a, b)
		c := NewController(p)
		c.SetLimits(NoLimits())
		from := New("merge", "", MergeRegions, Low, a, Merge{From: a.Meta, To: b.Meta})
		to := New("merge", "", MergeRegions, Low, b, Merge{From: a.Meta, To: b.Meta, Passive: true})
		Pair(from, to)
		require.NoError(t, c.Add(t0, from, to))
		return p, c, from, to
	}
	p, c, from, to := neighbours()
	require.Equal(t, MergeRegion{to.Steps[0].(Merge).To}, c.Judge(p.Region(1), t0).Order)
	require.Nil(t, c.Judge(p.Region(2), t0), "the other half waits")
	frozen := voters(6, 1, 2, 3)
	frozen.Meta.EndKey, frozen.Meta.RegionEpoch.Version = []byte("m"), 2
	require.NotNil(t, c.Judge(show(p, frozen), t0), "preparing a merge counts as a change of members, too")
	joined := voters(6, 1, 2, 3)
	joined.Meta.Id, joined.Meta.RegionEpoch.Version = 2, 4
	show(p, joined)
	c.Gone(1, t0)
	c.Judge(joined, t0)
	require.Equal(t, []Status{Success, Success}, []Status{from.run.status, to.run.status})

	p, c, from, to = neighbours()
	divided := voters(6, 1, 2, 3)
	divided.Meta.Id, divided.Meta.StartKey, divided.Meta.RegionEpoch.Version = 2, []byte("m"), 5
	c.Judge(show(p, divided), t0)
	require.Equal(t, Success, to.run.status, "merged, and split where it was, between two reports")
	require.False(t, from.ended())
	c.Judge(p.Region(1), t0)
	require.Equal(t, Canceled, from.run.status, "it is still there: the target was only split")

	_, c, from, to = neighbours()
	c.Gone(1, t0)
	require.Zero(t, c.Count(), "its other neighbour took it in: the target would wait for it in vain, and could not be repaired")
	require.Equal(t, []Status{Canceled, Canceled}, []Status{from.run.status, to.run.status})
	require.Contains(t, from.run.why, "another region took it in")

	p, c, from, to = neighbours()
	changed := voters(6, 1, 2)
	changed.Meta.Id, changed.Meta.StartKey = 2, []byte("m")
	c.Judge(show(p, changed), t0)
	require.Zero(t, c.Count())
	require.Equal(t, []Status{Canceled, Canceled}, []Status{from.run.status, to.run.status})

	_, c, from, _ = neighbours()
	require.ErrorContains(t, c.Add(t0, from), "has an operator already")
	require.Equal(t, 2, c.Count())
}

func TestHistoryIsBounded(t *testing.T) {
	p := picture(voters(5, 1, 2, 3))
	c := NewController(p)
	c.SetLimits(NoLimits())
	for range 3 * historyLength {
		require.NoError(t, c.Add(t0, New("x", "y", Leader, Low, p.Region(1), TransferLeader{1, 2})))
		c.Cancel(1, "", t0)
	}
	require.LessOrEqual(t, len(c.History(0)), historyLength)
	require.Equal(t, uint64(3*historyLength), c.Ended(Canceled))
}
