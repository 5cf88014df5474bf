package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/paper"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// explained is what is said of the first region.
func explained(c *paper.Cluster) schedule.RegionExplanation {
	return c.Term.Schedule.ExplainRegion(c.Term.Picture.Scan(nil, nil, 1)[0], c.Now())
}

// said finds the finding with all the words, of those that have a level.
func said(t *testing.T, list []schedule.Finding, level schedule.Level, words ...string) schedule.Finding {
	t.Helper()
	for _, f := range list {
		if f.Level != level {
			continue
		}
		all := true
		for _, w := range words {
			all = all && strings.Contains(f.Text+" → "+f.Do, w)
		}
		if all {
			return f
		}
	}
	require.Fail(t, "nothing like that is said", "%s %q in %+v", level, words, list)
	return schedule.Finding{}
}

// troublesOnly are the findings that are about more than the whole picture.
func troublesOnly(list []schedule.Finding) (troubles []schedule.Finding) {
	for _, f := range list {
		if f.Level != schedule.Note {
			troubles = append(troubles, f)
		}
	}
	return troubles
}

func set(t *testing.T, c *paper.Cluster, name, value string) {
	t.Helper()
	require.NoError(t, c.Save(c.Term.SetConfig(map[string]string{name: value})))
}

func TestExplainSilentStores(t *testing.T) {
	c := spread(paper.Config{Schedule: configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(3 * time.Minute) })}, 3, 12)
	c.Run(3*time.Minute, nil)
	require.Empty(t, troublesOnly(explained(c).Findings))
	c.Kill(3)
	c.Run(time.Minute, nil)
	e := explained(c)
	heard := c.Term.Picture.Store(3).Heard
	require.Equal(t, heard, said(t, e.Findings, schedule.Risk, "Store 3 (s3), which has one of its replicas, is Disconnected", "start store 3 again").Since)
	require.WithinDuration(t, heard.Add(3*time.Minute), said(t, e.Findings, schedule.Risk, "The replica on store 3 is waited for").Until, 15*time.Second)
	require.Empty(t, e.Places, "no rule lacks anything yet")
	set(t, c, "enable-remove-down-replica", "false")
	said(t, explained(c).Findings, schedule.Risk, "is not replaced", "config set enable-remove-down-replica true")
	set(t, c, "enable-remove-down-replica", "true")

	c.Run(5*time.Minute, nil)
	said(t, explained(c).Findings, schedule.Risk, "The replica on store 3 is to be replaced")
	f := said(t, explained(c).Findings, schedule.Risk, "Rule pd/default asks for 3 voters, and 2 can be counted on: no store can take another: every store holds one already", "start another store")
	require.WithinDuration(t, heard.Add(3*time.Minute), f.Since, time.Minute)
	said(t, c.Term.Schedule.ExplainBalance(c.Now()).Findings, schedule.Waits, "12 regions (", ", …) wait: rule pd/default lacks 1 peers")

	c.Kill(2)
	second := c.Now()
	c.Run(time.Minute, nil)
	e = explained(c)
	f = said(t, e.Findings, schedule.Unavailable, "lost its majority", "of its 3 replicas 2 are on stores", "start one of the stores 2, 3 again", "--lost-stores 2,3 ")
	require.WithinDuration(t, second, f.Since, 15*time.Second, "the second loss is what made it unavailable")
	for _, f := range e.Findings {
		require.NotContains(t, f.Do, "nothing need be done")
	}
	c.Revive(2)
	c.Revive(3)
	c.Run(3*time.Minute, nil)
	require.Empty(t, troublesOnly(explained(c).Findings))
}

func TestExplainWhyNoStoreTakesAReplica(t *testing.T) {
	c := spread(paper.Config{}, 4, 4)
	for id := uint64(1); id <= 4; id++ {
		require.NoError(t, c.Save(c.Term.LabelStore(id, map[string]string{"zone": fmt.Sprint("z", (id+1)/2)}, false)))
	}
	c.Run(3*time.Minute, nil)
	for name, tc := range map[string]struct {
		set, unset func()
		why, do    string
	}{
		"disk":     {func() { c.Store(4).Stats.Capacity, c.Store(4).Stats.Available = 100<<30, 1<<30 }, func() { c.Store(4).Stats.Available = 100 << 30 }, "it is 99 % full (low-space-ratio)", "start another store, or free space"},
		"snapshot": {func() { c.Store(4).Stats.ReceivingSnapshots = 99 }, func() { c.Store(4).Stats.ReceivingSnapshots = 0 }, "max-snapshot-count", "config set max-snapshot-count"},
		"busy":     {func() { c.Store(4).Stats.IsBusy = true }, func() { c.Store(4).Stats.IsBusy = false }, "it is busy", ""},
	} {
		tc.set()
		c.Run(20*time.Second, nil) // until store 4 has reported it
		set(t, c, "max-replicas", "4")
		c.Run(20*time.Second, nil)
		asked := 0
		for _, r := range c.Term.Picture.Scan(nil, nil, 0) {
			if r.OnStore(4) != nil || c.Term.Schedule.Operators().Has(r.ID()) {
				continue
			}
			e := c.Term.Schedule.ExplainRegion(r, c.Now())
			said(t, e.Findings, schedule.Risk, "store 4: ", tc.why, tc.do)
			require.Equal(t, uint64(4), e.Places[0].Store, name)
			require.Contains(t, e.Places[0].Why, tc.why, name)
			asked++
		}
		require.NotZero(t, asked, name)
		set(t, c, "max-replicas", "3")
		tc.unset()
		require.True(t, c.Run(5*time.Minute, func() bool { return c.Term.Schedule.Operators().Count() == 0 && lacking(c, 3) == "" }), name)
	}
}

func TestExplainLimitsAndRules(t *testing.T) {
	c := spread(paper.Config{Schedule: configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(2 * time.Minute) })}, 4, 8)
	for id := uint64(1); id <= 4; id++ {
		require.NoError(t, c.Save(c.Term.LabelStore(id, map[string]string{"zone": fmt.Sprint("z", (id+1)/2)}, false)))
	}
	c.Run(3*time.Minute, nil)
	set(t, c, "replica-schedule-limit", "0")
	require.NoError(t, c.Save(c.Term.SetRules(machine.Rules{Set: []*placement.Rule{
		{GroupID: "g", ID: "far", Role: placement.Learner, Count: 1, LocationLabels: []string{"zone"}, IsolationLevel: "zone"},
	}})))
	c.Run(2*time.Minute, nil)
	f := said(t, explained(c).Findings, schedule.Risk, "Rule g/far asks for 1 learner each in another zone", "replica-schedule-limit", "config set replica-schedule-limit 64")
	require.False(t, f.Since.IsZero())
	set(t, c, "enable-make-up-replica", "false")
	said(t, explained(c).Findings, schedule.Risk, "enable-make-up-replica is false", "config set enable-make-up-replica true")
	set(t, c, "enable-make-up-replica", "true")
	set(t, c, "replica-schedule-limit", "64")
	require.True(t, c.Run(10*time.Minute, func() bool { return len(troublesOnly(explained(c).Findings)) == 0 }))

	require.NoError(t, c.Save(c.Term.SetRules(machine.Rules{Set: []*placement.Rule{
		{GroupID: "pd", ID: "default", Role: placement.Voter, Count: 3, LocationLabels: []string{"zone"}, IsolationLevel: "zone"},
	}, Drop: []string{"g/far"}})))
	c.Run(5*time.Minute, nil)
	c.Kill(c.Term.Picture.Scan(nil, nil, 1)[0].Meta.Peers[0].StoreId)
	c.Run(5*time.Minute, nil)
	said(t, explained(c).Findings, schedule.Risk, "3 voters each in another zone", "too near to the other replicas (isolation-level zone)", "ask for less isolation")
}

func TestExplainMergesAndTerms(t *testing.T) {
	c := spread(paper.Config{}, 3, 12)
	c.Run(time.Minute, nil)
	began := c.Now().Add(-time.Minute)
	f := said(t, explained(c).Findings, schedule.Note, "It is small (10 MiB", "has not led for split-merge-interval (1h0m0s) yet")
	require.Equal(t, began.Add(time.Hour), f.Until)
	set(t, c, "merge-schedule-limit", "0")
	said(t, explained(c).Findings, schedule.Note, "merge-schedule-limit is 0")

	set(t, c, "halt-scheduling", "true")
	said(t, explained(c).Findings, schedule.Note, "halt-scheduling is true", "config set halt-scheduling false")
	said(t, c.Term.Schedule.ExplainBalance(c.Now()).Findings, schedule.Waits, "halt-scheduling is true")
	set(t, c, "halt-scheduling", "false")

	lost := true
	c = paper.New(paper.Config{Schedule: configured(), LoseReport: func(uint64) bool { return lost }}, 3)
	c.Run(time.Second, nil)
	c.Fall()
	f = said(t, c.Term.Schedule.ExplainBalance(c.Now()).Findings, schedule.Waits, "0 of 1 have reported")
	require.Equal(t, c.Now().Add(2*time.Minute), f.Until)
	said(t, explained(c).Findings, schedule.Waits, "No leader has reported it since this scheduler leads")
	lost = false
	c.Run(2*time.Minute, nil)
	require.Empty(t, troublesOnly(explained(c).Findings))
}

func TestExplainBalanceOnPaper(t *testing.T) {
	c := paper.New(paper.Config{Schedule: configured(func(c *schedule.Config) { c.RegionScheduleLimit, c.LeaderScheduleLimit = 0, 0 })}, 4)
	c.Split(40, 10*mebibyte, func(int) []uint64 { return []uint64{1, 2, 3} })
	c.Run(3*time.Minute, nil)
	e := c.Term.Schedule.ExplainBalance(c.Now())
	require.False(t, e.LeadersEven)
	require.False(t, e.RegionsEven)
	require.Len(t, e.Stores, 4)
	said(t, e.Findings, schedule.Waits, "Leaders are uneven: store 1 leads 40 regions", "leads 0")
	said(t, e.Findings, schedule.Waits, "Data is uneven: store 1 has 400 MiB in 40 regions, store 4 has 0 MiB in 0 regions")
	said(t, e.Findings, schedule.Waits, "region-schedule-limit is 0", "config set region-schedule-limit 2048")
	said(t, e.Findings, schedule.Waits, "leader-schedule-limit is 0", "config set leader-schedule-limit 4")
	set(t, c, "leader-schedule-limit", "4")
	set(t, c, "region-schedule-limit", "16")

	require.NoError(t, c.Save(c.Term.TuneStore(4, cluster.Tuning{LeaderWeight: 1, RegionWeight: 1, AddPeer: 1})))
	require.True(t, c.Run(time.Minute, func() bool { return c.Term.Picture.Tally(4).Regions > 0 }))
	c.Run(10*time.Second, nil)
	said(t, c.Term.Schedule.ExplainBalance(c.Now()).Findings, schedule.Waits, "Data is uneven", "store limit add-peer", "store limit 4 60")
	require.NoError(t, c.Save(c.Term.TuneStore(4, cluster.DefaultTuning())))
	require.True(t, c.Run(20*time.Minute, func() bool {
		e := c.Term.Schedule.ExplainBalance(c.Now())
		return e.LeadersEven && e.RegionsEven && len(e.InFlight) == 0
	}))
	require.Empty(t, troublesOnly(c.Term.Schedule.ExplainBalance(c.Now()).Findings))
	requireRest(t, c)
}

// Who asks changes nothing: a run with questions ends like one without.
func TestAskingChangesNothing(t *testing.T) {
	live := func(ask bool) string {
		cfg := configured(func(c *schedule.Config) { c.MaxStoreDownTime = schedule.Duration(2 * time.Minute) })
		c := spread(paper.Config{Seed: 7, Schedule: cfg}, 4, 30)
		c.Join(5, nil)
		c.Run(time.Second, nil)
		c.Kill(2)
		n := 0
		c.Run(6*time.Minute, func() bool {
			if n++; ask && n%10 == 0 {
				explained(c)
				c.Term.Schedule.ExplainBalance(c.Now())
			}
			return false
		})
		return fmt.Sprint(c.Orders, tallies(c), c.Term.Schedule.Operators().History(0))
	}
	require.Equal(t, live(false), live(true))
}
