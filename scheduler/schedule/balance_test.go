package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

const mebibyte = 1 << 20

// configured is the default configuration without limits by the minute, and as change leaves it.
func configured(change ...func(*schedule.Config)) schedule.Config {
	cfg := schedule.DefaultConfig()
	cfg.StoreLimitAddPeer, cfg.StoreLimitRemovePeer = 10_000, 10_000
	cfg.EnableJointConsensus, cfg.EnableRaftLearner = true, true
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

// spread is a cluster of n stores that hold regions regions of 10 MiB evenly, three replicas each.
func spread(cfg paper.Config, n, regions int) *paper.Cluster {
	if cfg.Schedule.MaxReplicas == 0 {
		cfg.Schedule = configured()
	}
	c := paper.New(cfg, n)
	c.Split(regions, 10*mebibyte, func(i int) []uint64 {
		return []uint64{uint64(i%n) + 1, uint64((i+1+i/n%(n-1))%n) + 1, uint64((i+1+(i/n+1)%(n-1))%n) + 1}
	})
	return c
}

func tallies(c *paper.Cluster) (list []cluster.Tally) {
	for _, s := range c.Term.Picture.Stores() {
		list = append(list, c.Term.Picture.Tally(s.ID()))
	}
	return list
}

// requireWhole says that every region has its voters, all on live stores, and nothing else.
func requireWhole(t *testing.T, c *paper.Cluster, replicas int) {
	t.Helper()
	require.Empty(t, lacking(c, replicas))
}

func lacking(c *paper.Cluster, replicas int) string {
	for _, r := range c.Regions() {
		if r.Leader == 0 || len(r.Meta.Peers) != replicas {
			return fmt.Sprintf("region %d: %v, led by %d", r.Meta.Id, r.Meta.Peers, r.Leader)
		}
		for _, p := range r.Meta.Peers {
			if p.Role != metapb.PeerRole_Voter || !c.Store(p.StoreId).Alive {
				return fmt.Sprintf("region %d: %v", r.Meta.Id, r.Meta.Peers)
			}
		}
	}
	return ""
}

func even(c *paper.Cluster, share float64) bool {
	var least, most, leastLed, mostLed, n, sum, led int
	for _, s := range c.Term.Picture.Stores() {
		if s.Meta.State != metapb.StoreState_Up || !c.Store(s.ID()).Alive {
			continue
		}
		t := c.Term.Picture.Tally(s.ID())
		if n == 0 {
			least, most, leastLed, mostLed = t.Regions, t.Regions, t.Leaders, t.Leaders
		}
		least, most = min(least, t.Regions), max(most, t.Regions)
		leastLed, mostLed = min(leastLed, t.Leaders), max(mostLed, t.Leaders)
		sum, led, n = sum+t.Regions, led+t.Leaders, n+1
	}
	near := func(least, most, sum int) bool {
		return float64(most-least) <= max(2, 2*share*float64(sum)/float64(n))
	}
	return near(least, most, sum) && near(leastLed, mostLed, led)
}

// P7: ten minutes of a steady, balanced cluster cause nothing at all, whatever its heartbeats say of sizes that hardly differ.
func TestSteadyClusterIsLeftAlone(t *testing.T) {
	for _, stores := range []int{3, 5, 7} {
		c := spread(paper.Config{}, stores, 60*stores)
		c.Run(2*time.Minute, nil)
		before := c.Term.Schedule.Operators().Ended(operator.Success)
		orders := len(c.Orders)
		for minute := range 10 {
			for i, r := range c.Regions() {
				r.Load.Size = uint64(10*mebibyte + (i*7919+minute*104729)%(1<<19))
			}
			c.Run(time.Minute, nil)
		}
		require.Equal(t, before, c.Term.Schedule.Operators().Ended(operator.Success), "%v %v", c.Orders, c.Term.Schedule.Operators().History(3))
		require.Len(t, c.Orders, orders)
		require.Zero(t, c.Term.Schedule.Operators().Count())
	}
}

// P7, E6, E7: stores that join are filled within the moves that it takes, and then there is peace.
func TestJoinedStoresAreFilled(t *testing.T) {
	c := spread(paper.Config{}, 3, 120)
	c.Run(time.Minute, nil)
	c.Join(4, nil)
	c.Join(5, nil)
	require.True(t, c.Run(10*time.Minute, func() bool { return even(c, 0.1) }), "%+v", tallies(c))
	requireRest(t, c)
	least := 120 * 3 * 2 / 5
	require.LessOrEqual(t, c.Orders["add"], least+8, "more moves than it takes: %v", c.Orders)
	requireWhole(t, c, 3)
	moved := fmt.Sprint(c.Orders)
	c.Run(10*time.Minute, nil)
	require.Equal(t, moved, fmt.Sprint(c.Orders), "%v", c.Term.Schedule.Operators().History(4))
}

// requireRest runs until nothing is in flight.
func requireRest(t *testing.T, c *paper.Cluster) {
	t.Helper()
	rests := 0
	require.True(t, c.Run(30*time.Minute, func() bool {
		if c.Term.Schedule.Operators().Count() > 0 {
			rests = 0
		}
		rests++
		return rests > 100
	}), "%v", c.Term.Schedule.Operators().Running())
}

// Stores get their share by weight.
func TestWeightsDecideTheShare(t *testing.T) {
	c := spread(paper.Config{}, 5, 100)
	require.NoError(t, c.Save(c.Term.TuneStore(1, cluster.Tuning{LeaderWeight: 2, RegionWeight: 0.5})))
	c.Run(5*time.Minute, nil)
	requireRest(t, c)
	one, two := c.Term.Picture.Tally(1), c.Term.Picture.Tally(2)
	require.InDelta(t, 0.5*float64(two.Regions), one.Regions, 4)
	require.InDelta(t, min(float64(one.Regions), 2*float64(two.Leaders)), one.Leaders, 8)
}

// P8, E5: one of four stores is lost for good. Nothing happens while it may come back; then every region gets its replica, at no time with less of a quorum.
func TestLostStoreIsReplaced(t *testing.T) {
	for _, joint := range []bool{true, false} {
		cfg := configured(func(c *schedule.Config) {
			c.EnableJointConsensus, c.EnableRaftLearner = joint, joint
			c.MaxStoreDownTime = schedule.Duration(5 * time.Minute)
		})
		c := spread(paper.Config{Schedule: cfg}, 4, 80)
		c.Run(2*time.Minute, nil)
		c.Kill(4)
		adds := c.Orders["add"]
		c.Run(4*time.Minute, nil)
		require.Equal(t, adds, c.Orders["add"], "it may still come back")
		require.True(t, c.Run(10*time.Minute, func() bool {
			for _, r := range c.Regions() {
				alive := 0
				for _, p := range r.Meta.Peers {
					if c.Store(p.StoreId).Alive && p.Role != metapb.PeerRole_Learner {
						alive++
					}
				}
				require.GreaterOrEqual(t, alive, 2)
				require.NotZero(t, r.Leader)
			}
			return lacking(c, 3) == ""
		}), lacking(c, 3))
		requireRest(t, c)
		require.Zero(t, c.Term.Picture.Tally(4).Regions)
		require.True(t, even(c, 0.1), "%+v", tallies(c))
	}
}

// P8: repair goes on through failovers that come faster than a store may be down.
func TestLostStoreIsReplacedThroughFailovers(t *testing.T) {
	cfg := configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(time.Minute) })
	c := spread(paper.Config{Schedule: cfg}, 4, 60)
	c.Run(time.Minute, nil)
	c.Kill(2)
	for range 30 {
		c.Run(20*time.Second, nil)
		c.Fall()
	}
	requireWhole(t, c, 3)
}

// A store that is deleted is drained, then a tombstone. With too few others left it waits, and says why.
func TestDeletedStoreIsDrained(t *testing.T) {
	c := spread(paper.Config{}, 4, 60)
	c.Run(time.Minute, nil)
	require.NoError(t, c.Save(c.Term.DeleteStore(3, false)))
	require.True(t, c.Run(10*time.Minute, func() bool {
		return c.Term.Picture.Store(3).Meta.State == metapb.StoreState_Tombstone
	}))
	requireRest(t, c)
	requireWhole(t, c, 3)
	require.NoError(t, c.Save(c.Term.DeleteStore(2, false)))
	c.Run(5*time.Minute, nil)
	requireWhole(t, c, 3)
	require.Equal(t, metapb.StoreState_Offline, c.Term.Picture.Store(2).Meta.State)
	reasons := c.Term.Schedule.Reasons()
	require.NotEmpty(t, reasons)
	require.Contains(t, reasons[0].Text, "no store can take one")
	c.Join(5, nil)
	require.True(t, c.Run(10*time.Minute, func() bool {
		return c.Term.Picture.Store(2).Meta.State == metapb.StoreState_Tombstone
	}))
	require.Empty(t, c.Term.Schedule.Reasons())
}

// P8: a region of one replica moves off a store that is drained.
func TestSingleReplicaMoves(t *testing.T) {
	for _, joint := range []bool{true, false} {
		cfg := configured(func(c *schedule.Config) { c.MaxReplicas, c.EnableJointConsensus = 1, joint })
		c := paper.New(paper.Config{Schedule: cfg}, 2)
		c.Run(time.Minute, nil)
		require.NoError(t, c.Save(c.Term.DeleteStore(1, false)))
		require.True(t, c.Run(5*time.Minute, func() bool { return c.Term.Picture.Store(1).Meta.State == metapb.StoreState_Tombstone }))
		requireWhole(t, c, 1)
	}
}

// A small cluster finds places on disks that others have filled, as long as some gigabytes are left (tikv/pd #5391); one with many regions, or little space, spares them.
func TestFullDisks(t *testing.T) {
	const gibibyte = 1 << 30
	for _, tc := range []struct {
		regions   int
		available uint64
		replicas  int
	}{{10, 20 * gibibyte, 2}, {10, 2 * gibibyte, 1}, {60, 20 * gibibyte, 1}} {
		c := paper.New(paper.Config{Schedule: configured(func(c *schedule.Config) { c.MaxReplicas = 1 })}, 2)
		for _, s := range c.Term.Picture.Stores() {
			c.Store(s.ID()).Stats.Capacity, c.Store(s.ID()).Stats.Available = 200*gibibyte, tc.available
		}
		c.Split(tc.regions, mebibyte, func(i int) []uint64 { return []uint64{uint64(i%2) + 1} })
		c.Run(time.Minute, nil)
		require.NoError(t, c.Save(c.Term.SetConfig(map[string]string{"max-replicas": "2"})))
		c.Run(2*time.Minute, nil)
		for _, r := range c.Regions() {
			require.Len(t, r.Meta.Peers, tc.replicas, "%+v", tc)
		}
	}
}

// E9: the number of replicas changes while the cluster runs.
func TestReplicasFollowTheConfiguration(t *testing.T) {
	c := spread(paper.Config{}, 6, 30)
	c.Run(time.Minute, nil)
	for _, n := range []int{5, 3, 1, 4} {
		require.NoError(t, c.Save(c.Term.SetConfig(map[string]string{"max-replicas": fmt.Sprint(n)})))
		require.True(t, c.Run(10*time.Minute, func() bool { return lacking(c, n) == "" }), lacking(c, n))
		requireRest(t, c)
	}
}

// P6: after a restart 30 % of the regions are silent, and one has a peer too many. Nothing is removed or moved before they come, or it has been waited long enough.
func TestNothingIsRemovedOnAnIncompletePicture(t *testing.T) {
	silent := map[uint64]bool{}
	c := spread(paper.Config{LoseReport: func(id uint64) bool { return silent[id] }}, 5, 100)
	c.Run(2*time.Minute, nil)
	requireRest(t, c)
	for i, r := range c.Regions() {
		silent[r.Meta.Id] = i%10 < 3
	}
	require.NoError(t, c.Save(c.Term.SetConfig(map[string]string{"max-replicas": "2"})))
	require.NoError(t, c.Save(c.Term.DeleteStore(5, false)))
	c.Fall()
	orders := fmt.Sprint(c.Orders)
	c.Run(100*time.Second, nil)
	require.Equal(t, orders, fmt.Sprint(c.Orders))
	require.Contains(t, c.Term.Schedule.Reasons()[0].Text, "waits for the first reports")
	clear(silent)
	require.True(t, c.Run(5*time.Minute, func() bool { return lacking(c, 2) == "" }), lacking(c, 2))
}

// P6: useful again within seconds when the regions report.
func TestNewTermIsUsefulAtOnce(t *testing.T) {
	c := spread(paper.Config{}, 3, 60)
	c.Run(time.Minute, nil)
	c.Join(4, nil)
	c.Fall()
	adds := c.Orders["add"]
	c.Run(3*time.Second, nil)
	require.Greater(t, c.Orders["add"], adds)
}

// P5: orders and reports are lost, repeated and late, and the scheduler falls again and again: regions end whole, and no operator is doubled.
func TestOperatorsSurviveLossAndFailover(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		state := seed
		lose := func() bool {
			state = state*6364136223846793005 + 1442695040888963407
			return state>>33%3 == 0
		}
		losing := true
		c := spread(paper.Config{
			Seed: seed, RegionHeartbeat: 5 * time.Second,
			LoseCommand: func(*operator.Command) bool { return losing && lose() },
			LoseReport:  func(uint64) bool { return losing && lose() },
		}, 3, 40)
		c.Join(4, nil)
		c.Join(5, nil)
		for range 20 {
			c.Run(7*time.Second, nil)
			c.Fall()
		}
		losing = false
		require.True(t, c.Run(20*time.Minute, func() bool { return even(c, 0.1) && lacking(c, 3) == "" }), "%s %+v", lacking(c, 3), tallies(c))
		requireRest(t, c)
		requireWhole(t, c, 3)
	}
}

// E11: six stores in three zones: each region has a replica in each, a zone can be lost, and a store's zone can change.
func TestReplicasAreSpreadOverZones(t *testing.T) {
	cfg := configured(func(c *schedule.Config) {
		c.LocationLabels = schedule.Labels{"zone"}
		c.MaxStoreDownTime = schedule.Duration(2 * time.Minute)
	})
	c := spread(paper.Config{Schedule: cfg}, 6, 60)
	zones := func() string {
		for _, r := range c.Regions() {
			seen := map[string]bool{}
			for _, p := range r.Meta.Peers {
				seen[c.Term.Picture.Store(p.StoreId).Label("zone")] = true
			}
			if len(seen) != 3 {
				return fmt.Sprintf("region %d: %v", r.Meta.Id, r.Meta.Peers)
			}
		}
		return ""
	}
	for id := uint64(1); id <= 6; id++ {
		require.NoError(t, c.Save(c.Term.LabelStore(id, map[string]string{"zone": fmt.Sprint("z", (id+1)/2)}, false)))
	}
	require.True(t, c.Run(10*time.Minute, func() bool { return zones() == "" && lacking(c, 3) == "" }), zones())
	requireRest(t, c)
	require.True(t, even(c, 0.1), "%+v", tallies(c))
	c.Kill(1)
	c.Kill(2)
	for _, r := range c.Regions() {
		require.NotZero(t, r.Leader, "it lost its quorum with one zone")
	}
	c.Revive(1)
	require.True(t, c.Run(20*time.Minute, func() bool { return zones() == "" && lacking(c, 3) == "" }), zones())
}

// Placement rules: more replicas of a range, learners on stores of their own, and a split where the rules change.
func TestRulesByRange(t *testing.T) {
	c := spread(paper.Config{}, 5, 20)
	c.Join(6, map[string]string{"engine": "columns"})
	c.Run(time.Minute, nil)
	require.Zero(t, c.Term.Picture.Tally(6).Regions, "it is set apart")
	require.NoError(t, c.Save(c.Term.SetRules(machine.Rules{Set: []*placement.Rule{
		{GroupID: "pd", ID: "five", Index: 1, Override: true, Role: placement.Voter, Count: 5, StartKey: []byte("00000003x"), EndKey: []byte("00000007")},
		{GroupID: "columns", ID: "copy", Role: placement.Learner, Count: 1, StartKey: []byte("00000010"), LabelConstraints: []placement.Constraint{
			{Key: "engine", Op: placement.In, Values: []string{"columns"}},
		}},
	}})))
	want := func() string {
		for _, r := range c.Regions() {
			start, n := string(r.Meta.StartKey), 3
			switch {
			case start >= "00000003x" && start < "00000007":
				n = 5
			case start >= "00000010":
				n = 4
			}
			if len(r.Meta.Peers) != n {
				return fmt.Sprintf("region from %q: %v", start, r.Meta.Peers)
			}
		}
		return ""
	}
	require.True(t, c.Run(10*time.Minute, func() bool { return len(c.Regions()) == 21 && want() == "" }), want())
	require.Equal(t, 10, c.Term.Picture.Tally(6).Learners)
	require.Zero(t, c.Term.Picture.Tally(6).Leaders)
}

// Leaders go where rules and schedulers want them.
func TestLeadersAreEvictedGrantedAndPinned(t *testing.T) {
	c := spread(paper.Config{}, 4, 60)
	c.Run(2*time.Minute, nil)
	led := func(id uint64) int { return c.Term.Picture.Tally(id).Leaders }
	require.NoError(t, c.Save(c.Term.SetScheduler(schedule.SchedulerConfig{Name: schedule.EvictLeader, Stores: []uint64{2}})))
	require.True(t, c.Run(3*time.Minute, func() bool { return led(2) == 0 }))
	c.Run(time.Minute, nil)
	require.Zero(t, led(2), "balance gives it none")
	require.NoError(t, c.Save(c.Term.SetScheduler(schedule.SchedulerConfig{Name: schedule.EvictLeader, Removed: true})))
	require.True(t, c.Run(5*time.Minute, func() bool { return even(c, 0.1) }))
	require.NoError(t, c.Save(c.Term.SetScheduler(schedule.SchedulerConfig{Name: schedule.GrantLeader, Stores: []uint64{3}})))
	require.True(t, c.Run(5*time.Minute, func() bool { return led(3) == c.Term.Picture.Tally(3).Regions }))
	require.NoError(t, c.Save(c.Term.SetScheduler(schedule.SchedulerConfig{Name: schedule.GrantLeader, Removed: true})))
	c.Store(1).Stats.SlowScore = 100
	require.True(t, c.Run(5*time.Minute, func() bool { return led(1) == 0 }))
	c.Store(1).Stats.SlowScore = 1
	require.True(t, c.Run(5*time.Minute, func() bool { return even(c, 0.1) }))
}

// Hot regions: what is read and written most does not stay on one store.
func TestHotRegionsAreSpread(t *testing.T) {
	c := spread(paper.Config{RegionHeartbeat: 10 * time.Second}, 4, 80)
	c.Run(time.Minute, nil)
	requireRest(t, c)
	require.Empty(t, c.Term.Schedule.HotChoices(), "there is no traffic")
	hot := 0
	for _, r := range c.Regions() {
		if on := c.Term.Picture.Region(r.Meta.Id).LeaderStore(); on == 1 && hot < 8 {
			r.Load.BytesRead, r.Load.KeysRead, r.Load.Seconds = 40*mebibyte, 4000, 10
			hot++
		}
	}
	require.Equal(t, 8, hot)
	most := func() (least, most int64) {
		for id := uint64(1); id <= 4; id++ {
			n := c.Term.Picture.Tally(id).Read.Bytes
			if id == 1 {
				least, most = n, n
			}
			least, most = min(least, n), max(most, n)
		}
		return least, most
	}
	require.True(t, c.Run(20*time.Minute, func() bool {
		a, b := most()
		return a > 3*mebibyte && b < 13*mebibyte
	}), "%+v", tallies(c))
	chosen := c.Term.Schedule.HotChoices()
	require.NotZero(t, chosen[schedule.HotChoice{What: schedule.ReadSource, Store: 1}])
	to := uint64(0)
	for id := range uint64(4) {
		to += chosen[schedule.HotChoice{What: schedule.ReadLeaderTarget, Store: id + 1}] + chosen[schedule.HotChoice{What: schedule.ReadPeerTarget, Store: id + 1}]
	}
	made := uint64(0)
	for _, rec := range append(c.Term.Schedule.Operators().History(0), c.Term.Schedule.Operators().Running()...) {
		if rec.Kind == operator.HotRegion {
			made++
		}
	}
	require.NotZero(t, made)
	require.Equal(t, made, to, "a target for each operator")
}

// Small neighbours are merged, what was split lately is not, and what comes of it is not small any more.
func TestSmallRegionsAreMerged(t *testing.T) {
	cfg := configured(func(c *schedule.Config) { c.SplitMergeInterval = schedule.Duration(3 * time.Minute) })
	c := spread(paper.Config{Schedule: cfg}, 4, 64)
	for _, r := range c.Regions() {
		r.Load.Size, r.Load.Keys = mebibyte, 1000
	}
	c.Run(2*time.Minute, nil)
	require.Len(t, c.Regions(), 64, "not right after the start")
	require.True(t, c.Run(40*time.Minute, func() bool { return len(c.Regions()) <= 6 }), "%d regions", len(c.Regions()))
	c.Run(10*time.Minute, nil)
	requireRest(t, c)
	requireWhole(t, c, 3)
	for _, r := range c.Regions() {
		require.LessOrEqual(t, r.Load.Size, uint64(80*mebibyte))
	}
}

// Regions of a group are scattered: each store gets its share of peers and leaders.
func TestScatter(t *testing.T) {
	c := spread(paper.Config{}, 3, 3)
	c.Run(time.Minute, nil)
	for id := uint64(4); id <= 6; id++ {
		c.Join(id, nil)
	}
	c.Term.Schedule.Pause(schedule.BalanceRegion, c.Now().Add(time.Hour))
	c.Term.Schedule.Pause(schedule.BalanceLeader, c.Now().Add(time.Hour))
	var keys [][]byte
	for i := range 21 {
		keys = append(keys, fmt.Appendf(nil, "00000001-%02d", i))
	}
	_, err := c.Term.Schedule.Split(keys, c.Now())
	require.NoError(t, err)
	require.True(t, c.Run(time.Minute, func() bool { return len(c.Regions()) == 24 }))
	c.Run(2*time.Second, nil)
	scatter := func() int {
		for _, r := range c.Regions() {
			require.NoError(t, c.Term.Scatter(r.Meta.Id, "table-1", machine.Moment{Now: c.Now(), LeaseEnd: c.Now().Add(time.Hour)}))
		}
		return c.Term.Schedule.Operators().Count()
	}
	require.NotZero(t, scatter())
	moving := scatter()
	require.NotZero(t, moving)
	c.Run(2*time.Minute, nil)
	require.Zero(t, scatter(), "asked once more, with all in their places")
	requireWhole(t, c, 3)
	for i, tally := range tallies(c) {
		require.InDelta(t, 12, tally.Regions, 2, "store %d: %+v", i+1, tallies(c))
		require.InDelta(t, 4, tally.Leaders, 2, "store %d: %+v", i+1, tallies(c))
	}
}
