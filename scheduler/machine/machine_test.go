package machine

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

var (
	t0   = time.Unix(1000, 0)
	wall = time.UnixMilli(1_700_000_000_000)
	cfg  = Config{ClusterID: 7, Replicas: 3, TimestampWindow: 3 * time.Second}
)

func now() Moment { return Moment{Now: t0, LeaseEnd: t0.Add(time.Hour), Wall: wall} }

// durable is the map that outlives terms.
type durable map[string][]byte

func (d durable) write(ops []Op) {
	for _, op := range ops {
		if op.Value == nil {
			delete(d, op.Key)
		} else {
			d[op.Key] = op.Value
		}
	}
}

// save writes a save and reports it.
func (d durable) save(t require.TestingT, s *Save, err error) {
	require.NoError(t, err)
	if s != nil {
		d.write(s.Ops)
		s.Done(t0)
	}
}

// load is what the next leader does.
func (d durable) load(t require.TestingT, at Moment) *Term {
	l := NewLoader(cfg, at.Now)
	for _, prefix := range l.Prefixes() {
		for _, key := range slices.Sorted(maps.Keys(d)) {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				require.NoError(t, l.Take(key, d[key]))
			}
		}
	}
	require.Empty(t, l.Outdated)
	term, s := l.Term(at)
	d.save(t, s, nil)
	return term
}

func store(id uint64) *metapb.Store {
	return &metapb.Store{Id: id, Address: string(rune('a' + id)), Version: "8.5.0"}
}

func first() *metapb.Region {
	return &metapb.Region{Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 3, StoreId: 1}}}
}

func report(m *metapb.Region, term uint64) *cluster.Region {
	return &cluster.Region{Meta: m, Leader: m.Peers[0], Term: term}
}

// bootstrapped is a cluster of three stores that live.
func bootstrapped(t *testing.T) (durable, *Term) {
	d := durable{}
	m := d.load(t, now())
	_, err := m.PutStore(store(1))
	require.ErrorIs(t, err, ErrNotBootstrapped)
	s, err := m.Bootstrap(store(1), first(), now())
	require.False(t, m.Bootstrapped(), "it is not before it is durable")
	d.save(t, s, err)
	_, err = m.Bootstrap(store(1), first(), now())
	require.ErrorIs(t, err, ErrAlreadyBootstrapped)
	for id := uint64(2); id <= 3; id++ {
		s, err = m.PutStore(store(id))
		require.Nil(t, m.Picture.Store(id), "it is not before it is durable")
		d.save(t, s, err)
		s, err = m.PutStore(store(id))
		require.NoError(t, err)
		require.Nil(t, s, "nothing is new")
	}
	return d, m
}

// P10: what was decided before a failover is decided after it.
func TestNextTermKnowsWhatIsDurable(t *testing.T) {
	d, m := bootstrapped(t)
	grown := &metapb.Region{Id: 2, EndKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}, Peers: first().Peers}
	right := &metapb.Region{Id: 9, StartKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 2, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 10, StoreId: 1}}}
	for _, region := range []*metapb.Region{grown, right} {
		_, err := m.RegionHeartbeat(report(region, 5), now())
		require.NoError(t, err)
	}
	require.True(t, m.Lags())
	d.write(m.Behind(1))
	d.write(m.Behind(10))
	require.False(t, m.Lags())
	d.save(t, m.RaiseSafePoint(77), nil)
	d.save(t, m.Claim("br", 100, 50, now()), nil)

	next := d.load(t, now())
	require.True(t, next.Bootstrapped())
	require.Len(t, next.Picture.Stores(), 3)
	require.Equal(t, right, next.Picture.RegionOf([]byte("x")).Meta)
	require.Equal(t, grown, next.Picture.RegionOf([]byte("a")).Meta)
	require.Equal(t, uint64(77), next.SafePoint())
	require.Equal(t, uint64(0), next.LeastClaim().SafePoint, "the collector's own")
	_, err := next.RegionHeartbeat(report(first(), 9), now())
	var stale *cluster.StaleError
	require.ErrorAs(t, err, &stale, "P3: the next leader knows it, too")
}

// A heartbeat never waits for a write: without an id in stock its region waits for the next one. P8
func TestProposalsTakeIDsFromStock(t *testing.T) {
	d, m := bootstrapped(t)
	require.NoError(t, m.StoreHeartbeat(2, cluster.StoreStats{}, now()))
	for left := true; left; { // use the stock up
		_, s, err := m.AllocIDs(100, now())
		require.NoError(t, err)
		left = s == nil
	}
	for { // to the last
		if _, s, _ := m.AllocIDs(1, now()); s != nil {
			break
		}
	}
	command, err := m.RegionHeartbeat(report(first(), 5), now())
	require.NoError(t, err)
	require.Nil(t, command)
	reason, ok := m.Schedule.Reason(2)
	require.True(t, ok)
	require.Equal(t, operator.ErrNoIDs.Error(), reason.Text)
	s, err := m.RenewIDs(now())
	d.save(t, s, err)
	command, err = m.RegionHeartbeat(report(first(), 5), now())
	require.NoError(t, err)
	require.True(t, command.First)
	require.Equal(t, uint64(2), added(command).StoreId)
	again, err := m.RegionHeartbeat(report(first(), 5), now())
	require.NoError(t, err)
	require.False(t, again.First)
	require.Equal(t, added(command), added(again))
}

func added(c *operator.Command) *metapb.Peer { return c.Order.(operator.ChangePeer).Peer }

// A store that comes up is used at the next tick.
func TestStoreThatComesUpIsUsed(t *testing.T) {
	_, m := bootstrapped(t)
	_, err := m.RegionHeartbeat(report(first(), 5), now())
	require.NoError(t, err)
	require.Empty(t, m.Tick(now()))
	require.EqualError(t, m.StoreHeartbeat(9, cluster.StoreStats{}, now()), "store 9 not found")
	require.NoError(t, m.StoreHeartbeat(2, cluster.StoreStats{}, now()))
	commands := m.Tick(now())
	require.Len(t, commands, 1)
	require.Equal(t, uint64(2), added(commands[0]).StoreId)
	require.Empty(t, m.Tick(now()))
}

// P10: what operators set is in force when it is durable, and the next leader has it.
func TestSettingsOutliveTerms(t *testing.T) {
	d, m := bootstrapped(t)
	s, err := m.SetConfig(map[string]string{"max-replicas": "5", "max-store-down-time": "10m", "location-labels": "zone,host"})
	require.NoError(t, err)
	require.Equal(t, 3, m.Schedule.Config().MaxReplicas, "it is not before it is durable")
	d.save(t, s, err)
	s, err = m.SetRules(Rules{Set: []*placement.Rule{{GroupID: "g", ID: "r", Role: placement.Learner, Count: 1, StartKey: []byte("a")}}})
	d.save(t, s, err)
	s, err = m.SetScheduler(schedule.SchedulerConfig{Name: schedule.EvictLeader, Stores: []uint64{2}})
	d.save(t, s, err)
	s, err = m.SetScheduler(schedule.SchedulerConfig{Name: schedule.BalanceRegion, Removed: true})
	d.save(t, s, err)
	s, err = m.TuneStore(3, cluster.Tuning{LeaderWeight: 2, RegionWeight: 0.5, AddPeer: 30})
	d.save(t, s, err)
	s, err = m.DeleteStore(2, false)
	require.Equal(t, metapb.StoreState_Up, m.Picture.Store(2).Meta.State, "it is not before it is durable")
	d.save(t, s, err)
	s, err = m.LabelStore(3, map[string]string{"zone": "z1"}, false)
	d.save(t, s, err)

	next := d.load(t, now())
	require.Equal(t, m.Schedule.Config(), next.Schedule.Config())
	require.Equal(t, 5, next.Schedule.Config().MaxReplicas)
	require.Equal(t, schedule.Labels{"zone", "host"}, next.Schedule.Config().LocationLabels)
	require.Equal(t, m.Schedule.Rules().Rules(), next.Schedule.Rules().Rules())
	require.Len(t, next.Schedule.Rules().For([]byte("b")), 2)
	require.Len(t, next.Schedule.Rules().For(nil), 1)
	var names []string
	for _, w := range next.Schedule.Schedulers() {
		names = append(names, w.Name)
	}
	require.Contains(t, names, schedule.EvictLeader)
	require.NotContains(t, names, schedule.BalanceRegion)
	require.Equal(t, cluster.Tuning{LeaderWeight: 2, RegionWeight: 0.5, AddPeer: 30}, next.Picture.Store(3).Tuning)
	require.Equal(t, cluster.Offline, next.Picture.Store(2).State(t0))
	require.Equal(t, "z1", next.Picture.Store(3).Label("zone"))
	s, err = next.ReviveStore(2)
	d.save(t, s, err)
	require.Equal(t, metapb.StoreState_Up, d.load(t, now()).Picture.Store(2).Meta.State)
}

func TestWrongSettingsAreRefused(t *testing.T) {
	_, m := bootstrapped(t)
	for text, values := range map[string]map[string]string{
		"config item max-replica not found":           {"max-replica": "3"},
		"max-replicas is 0; it must lie between":      {"max-replicas": "0"},
		"max-replicas cannot be \"three\"":            {"max-replicas": "three"},
		"max-store-down-time is 0s":                   {"max-store-down-time": "0s"},
		"must be a duration":                          {"max-store-down-time": "soon"},
		"isolation-level is \"rack\"; it must be one": {"isolation-level": "rack", "location-labels": "zone"},
		"both must lie between 0 and 1":               {"low-space-ratio": "0.5", "high-space-ratio": "0.6"},
		"leader-schedule-limit is -1":                 {"leader-schedule-limit": "-1"},
		"leader-schedule-policy is \"luck\"":          {"leader-schedule-policy": "luck"},
	} {
		_, err := m.SetConfig(values)
		require.ErrorContains(t, err, text)
	}
	_, err := m.SetRules(Rules{Set: []*placement.Rule{{GroupID: "g", ID: "r", Role: "boss", Count: 1}}})
	require.ErrorContains(t, err, "must be voter, leader, follower or learner")
	_, err = m.SetRules(Rules{Set: []*placement.Rule{{GroupID: "pd", ID: "default", Role: placement.Learner, Count: 1}}})
	require.ErrorContains(t, err, "no rule asks for a voter")
	_, err = m.SetRules(Rules{Drop: []string{"g/x"}})
	require.EqualError(t, err, "rule g/x not found")
	_, err = m.SetScheduler(schedule.SchedulerConfig{Name: "luck-scheduler"})
	require.ErrorContains(t, err, "not found")
	_, err = m.SetScheduler(schedule.SchedulerConfig{Name: schedule.EvictLeader})
	require.ErrorContains(t, err, "needs the id of a store")
	_, err = m.TuneStore(3, cluster.Tuning{LeaderWeight: -1})
	require.ErrorContains(t, err, "must not be negative")
	_, err = m.DeleteStore(77, false)
	require.ErrorContains(t, err, "store 77 not found")
}

// A drained store is buried when nothing is left on it, and does not come back.
func TestDrainedStoreIsBuried(t *testing.T) {
	d, m := bootstrapped(t)
	_, err := m.RegionHeartbeat(report(first(), 5), now())
	require.NoError(t, err)
	s, err := m.DeleteStore(1, false)
	d.save(t, s, err)
	s, err = m.Upkeep(now())
	require.NoError(t, err)
	require.Nil(t, s, "it holds a region")
	moved := &metapb.Region{Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 3}, Peers: []*metapb.Peer{{Id: 9, StoreId: 2}}}
	_, err = m.RegionHeartbeat(report(moved, 6), now())
	require.NoError(t, err)
	s, err = m.Upkeep(now())
	d.save(t, s, err)
	require.Equal(t, cluster.Tombstone, m.Picture.Store(1).State(t0))
	var buried *cluster.TombstoneError
	require.ErrorAs(t, m.StoreHeartbeat(1, cluster.StoreStats{}, now()), &buried)
	_, err = m.ReviveStore(1)
	require.ErrorAs(t, err, &buried)
	d.save(t, m.ForgetTombstones(), nil)
	require.Nil(t, m.Picture.Store(1))
	require.Nil(t, d.load(t, now()).Picture.Store(1))
	require.Nil(t, m.ForgetTombstones())
}

// What is saved behind keeps the order in which regions first changed, and of each only the newest.
func TestBehindKeepsTheNewestOfEach(t *testing.T) {
	b := newBehind()
	a, c := &metapb.Region{Id: 5}, &metapb.Region{Id: 4}
	b.put(5, &metapb.Region{Id: 5, StartKey: []byte("old")})
	b.put(4, c)
	b.put(5, a)
	b.put(4, nil)
	m := &Term{behind: b}
	require.Equal(t, []Op{{regionKey(5), mustMarshal(a)}, {Key: regionKey(4)}}, m.Behind(5))
	require.Empty(t, m.Behind(5))
}

func TestSplitTakesAllItsIDsAtOnce(t *testing.T) {
	_, m := bootstrapped(t)
	_, _, err := m.Split(&metapb.Region{Id: 99}, 1, now())
	require.EqualError(t, err, "region 99 not found")
	list, s, err := m.Split(first(), 2, now())
	require.NoError(t, err)
	require.Nil(t, s)
	require.Equal(t, []SplitIDs{{Region: 1, Peers: []uint64{2}}, {Region: 3, Peers: []uint64{4}}}, list)
	late := now()
	late.Now = late.LeaseEnd
	_, _, err = m.Split(first(), 2, late)
	require.ErrorIs(t, err, ErrNotLeader)
}

// P1, P2: through failovers at any point of a save, whether it became durable or not, ids and timestamps only grow, if those who save take turns.
func TestGrantsOnlyGrow(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := durable{}
		at := now()
		m := d.load(r, at)
		var lastID, lastStamp uint64
		allocate := func(ask func() (*Save, error)) bool {
			for {
				s, err := ask()
				require.NoError(r, err)
				if s == nil {
					return true
				}
				switch rapid.IntRange(0, 5).Draw(r, "write") {
				case 0: // lost with its leader
					m = d.load(r, at)
					return false
				case 1: // durable, and nobody is told
					d.write(s.Ops)
					m = d.load(r, at)
					return false
				}
				d.save(r, s, nil)
			}
		}
		for range rapid.IntRange(1, 100).Draw(r, "steps") {
			switch rapid.IntRange(0, 4).Draw(r, "what") {
			case 0:
				count := rapid.Uint64Range(1, 3000).Draw(r, "ids")
				var id uint64
				if allocate(func() (s *Save, err error) { id, s, err = m.AllocIDs(count, at); return s, err }) {
					require.Greater(r, id, lastID)
					lastID = id + count - 1
				}
			case 1:
				count := rapid.Uint32Range(1, 1<<18-1).Draw(r, "timestamps")
				var physical, logical int64
				if allocate(func() (s *Save, err error) { physical, logical, s, err = m.Timestamps.Next(count, at); return s, err }) {
					stamp := uint64(physical)<<18 | uint64(logical)
					require.Greater(r, stamp-uint64(count)+1, lastStamp)
					lastStamp = stamp
				}
			case 2:
				at.Wall = at.Wall.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(r, "calendar")))
			case 3:
				m = d.load(r, at)
			default:
				s, err := m.RenewIDs(at)
				d.save(r, s, err)
				s, err = m.Timestamps.Renew(at)
				d.save(r, s, err)
			}
		}
	})
}
