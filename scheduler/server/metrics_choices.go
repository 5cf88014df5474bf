package server

import (
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// What schedulers have chosen in this term, and why they held back, is counted where they decide; here it is shown. Counts are shown from 0 on: a first one is seen to
// be more than none.

// choices are what was taken out of the coordinator.
type choices struct {
	stores     []*cluster.Store
	limited    map[string]uint64
	hot        map[schedule.HotChoice]uint64
	sources    map[schedule.Passed]uint64
	targets    map[schedule.Passed]uint64
	tolerances []tolerance
}

// tolerance is by how much a store's scores may be above others'.
type tolerance struct{ leaders, regions float64 }

func (t *term) choices() (c choices) {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	sched := t.machine.Schedule
	c.limited, c.hot = sched.Operators().Limited(), sched.HotChoices()
	c.sources, c.targets = sched.PassedOver()
	for _, s := range t.machine.Picture.Stores() {
		if s.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		leaders, regions := sched.Tolerance(s)
		c.stores, c.tolerances = append(c.stores, s), append(c.tolerances, tolerance{leaders, regions})
	}
	return c
}

func (t *term) showChoices(show show) {
	c := t.choices()
	c.limited["balance-region"] += 0
	for desc, n := range c.limited {
		show("pd_schedule_operator_exceeded_store_limit", float64(n), desc)
	}
	for i, s := range c.stores {
		c.sources[schedule.Passed{By: schedule.BalanceRegion, For: schedule.RemoveLimit, Store: s.ID()}] += 0
		c.targets[schedule.Passed{By: schedule.BalanceRegion, For: schedule.AddLimit, Store: s.ID()}] += 0
		for what := range schedule.HotEvents {
			show("pd_scheduler_hot_region", float64(c.hot[schedule.HotChoice{What: what, Store: s.ID()}]), what.String(), label(s.ID()))
		}
		show("pd_scheduler_tolerant_resource", c.tolerances[i].leaders, schedule.BalanceLeader, label(s.ID()))
		show("pd_scheduler_tolerant_resource", c.tolerances[i].regions, schedule.BalanceRegion, label(s.ID()))
	}
	for p, n := range c.sources {
		show("pd_schedule_source_filter", float64(n), "filter-source", p.By, p.For.String(), label(p.Store))
	}
	for p, n := range c.targets {
		show("pd_schedule_target_filter", float64(n), "filter-target", p.By, p.For.String(), label(p.Store))
	}
}

// showProgress is about the stores that are being drained.
func (t *term) showProgress(show show) {
	for _, p := range t.progress() {
		address, store := p.Store.Meta.Address, label(p.Store.ID())
		show("pd_cluster_progress", p.Done, address, store, removing)
		show("pd_cluster_speed", p.Speed, address, store, removing)
		show("pd_cluster_eta", p.Seconds, address, store, removing)
	}
}
