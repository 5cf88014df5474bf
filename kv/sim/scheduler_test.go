package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// stormy is a run in which only schedulers suffer.
func stormy(seed uint64) Config {
	cfg := Default(seed)
	cfg.Stores, cfg.Clients = 3, 2
	cfg.Faults = map[string]float64{"scheduler": 4}
	return cfg
}

// P1, P2, P10: schedulers die, stand still, are cut off, and their calendars jump; whatever is handed out only grows, and what was known is known again.
func TestSchedulersFailOver(t *testing.T) {
	changes := 0
	for seed := uint64(1); seed <= 12; seed++ {
		first := Run(stormy(seed), nil)
		require.NoError(t, first.Err())
		require.Equal(t, first, Run(stormy(seed), nil), "seed %d does not repeat itself", seed)
		changes += first.Counts.SchedulerChanges
	}
	require.Greater(t, changes, 12*4, "too few failovers to mean anything")
}

// A group of one comes back after each fault, from what is durable alone.
func TestOneSchedulerComesBack(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		cfg := stormy(seed)
		cfg.Schedulers = 1
		r := Run(cfg, nil)
		require.NoError(t, r.Err())
		require.Greater(t, r.Counts.SchedulerChanges, 1)
	}
}

// The checkers see what they are for: with each flaw in the simulation's glue, some seed shows it. P1, P2
func TestFlawedSchedulersAreSeen(t *testing.T) {
	for name, f := range map[string]flaw{
		"bounds forgotten at failover": forgetsBounds,
		"lease never looked at":        trustsLease,
	} {
		t.Run(name, func(t *testing.T) {
			seen := ""
			for seed := uint64(1); seed <= 40 && seen == ""; seed++ {
				c := New(stormy(seed), nil)
				c.sched.flaw = f
				c.live(Plan(c.cfg))
				if r := c.finish(); len(r.Violations) > 0 {
					seen = r.Violations[0]
				}
			}
			require.Regexp(t, "was granted before|leader key .* is gone", seen)
		})
	}
}

// P1: a leader that stands still between a grant and its answer finds its lease over when it goes on, and throws the grant away; what comes of not looking is seen.
func TestGrantIsThrownAwayWhenTheLeaseEndsMeanwhile(t *testing.T) {
	for _, f := range []flaw{sound, trustsGrant} {
		c := New(Default(1), nil)
		c.sched.flaw = f
		c.Boot()
		c.judge()
		old := c.sched.leading()
		var answer any
		old.timestamps(1, func(res any) { answer = res })
		old.s.p.Suspend()
		c.w.RunUntil(c.w.Now() + world.Time(10*time.Second))
		require.NotNil(t, c.sched.leading(), "another one took over")
		require.Empty(t, c.result.Violations)
		require.Nil(t, answer)
		old.s.p.Resume()
		c.w.RunUntil(c.w.Now() + world.Time(time.Second))
		if f == sound {
			require.Equal(t, notLeader{}, answer)
			require.Empty(t, c.result.Violations)
		} else {
			require.Contains(t, c.result.Violations[0], "is gone")
		}
	}
}

// What clients see of a deposed leader that does not know: without the check of whoever answers, the one of whoever receives remains.
func TestTimestampsThatComeLateAreSeen(t *testing.T) {
	g := &grants{}
	c := New(Default(1), nil)
	x := &schedulerCall{a: &schedulerClient{g: c.sched, p: c.sched.probes[0].p}}
	g.receive(x, stamps{first: 5, last: 10})
	x.floor = g.received
	g.receive(x, stamps{first: 11, last: 12})
	require.Empty(t, c.result.Violations)
	g.receive(x, stamps{first: 10, last: 13})
	require.Len(t, c.result.Violations, 1)
	x.floor = g.received
	g.receive(x, idRange{first: 1, last: 2})
	x.floor = g.received
	g.receive(x, idRange{first: 2, last: 2})
	require.Len(t, c.result.Violations, 2)
}

// The group has a leader again within seconds after its leader died, and another one.
func TestAnotherSchedulerTakesOver(t *testing.T) {
	c := New(Default(1), nil)
	c.Boot()
	for range 5 {
		c.judge()
		old := c.sched.leading()
		old.s.kill()
		begin := c.w.Now()
		c.w.RunWhile(begin+world.Time(8*time.Second), func() bool { return c.sched.leading() == nil })
		require.NotNil(t, c.sched.leading())
		require.NotSame(t, old.s, c.sched.leading().s)
		old.s.start()
	}
	require.Empty(t, c.result.Violations)
}
