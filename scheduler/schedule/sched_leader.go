package schedule

import (
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// evictLeader takes all leaders from its stores.
type evictLeader struct{}

func (evictLeader) schedule(j *job) {
	for _, id := range j.w.cfg.Stores {
		j.evict(id, "evict-leader")
	}
	if j.done == 0 && j.w.why == "" {
		j.idle("stores %v lead nothing that others could lead", j.w.cfg.Stores)
	}
}

func (j *job) evict(store uint64, desc string) {
	for range j.w.cfg.Batches() {
		r := j.draw(store, cluster.Leads)
		if r == nil {
			return
		}
		if j.ctl.Has(r.ID()) {
			continue
		}
		var others []uint64
		for _, p := range j.canLead(r) {
			if s := j.pic.Store(p.StoreId); p.StoreId != store && s != nil && j.leads(s) {
				others = append(others, p.StoreId)
			}
		}
		if to := j.bestLeader(others); to != 0 {
			j.add(transfer(desc, operator.High, operator.Leader, r, to))
		}
	}
}

// grantLeader gives its stores the lead of all regions that they have.
type grantLeader struct{}

func (grantLeader) schedule(j *job) {
	for _, id := range j.w.cfg.Stores {
		s := j.pic.Store(id)
		if s == nil || !j.leads(s) {
			j.idle("store %d may not lead: it is not Up, busy, or sheds its leaders", id)
			continue
		}
		for range j.w.cfg.Batches() {
			r := j.draw(id, cluster.Follows)
			if r == nil {
				break
			}
			if j.ctl.Has(r.ID()) || j.granted(r.LeaderStore()) {
				continue
			}
			for _, p := range j.canLead(r) {
				if p.StoreId == id {
					j.add(transfer("grant-leader", operator.High, operator.Leader, r, id))
				}
			}
		}
	}
	if j.done == 0 && j.w.why == "" {
		j.idle("stores %v lead all that they can", j.w.cfg.Stores)
	}
}

// evictSlow takes all leaders from a store that says of itself that it is slow: from one only, because when several are slow the cause is
// another, and not before it has said so for a while.
type evictSlow struct {
	store, suspect uint64
	since          time.Time
}

const (
	slowScore, wellScore = 80, 1
	slowFor              = 30 * time.Second
)

func (e *evictSlow) schedule(j *job) {
	if e.store != 0 {
		s := j.pic.Store(e.store)
		if s == nil || s.Stats.SlowScore <= wellScore || s.Meta.State != 0 {
			e.store = 0
			return
		}
		j.evict(e.store, "evict-slow-store")
		if j.done == 0 && j.w.why == "" {
			j.idle("store %d is slow, and leads nothing that others could lead", e.store)
		}
		return
	}
	var slow []uint64
	for _, s := range j.alive() {
		if s.Stats.SlowScore >= slowScore {
			slow = append(slow, s.ID())
		}
	}
	switch {
	case len(slow) != 1:
		e.suspect = 0
		if len(slow) > 1 {
			j.idle("stores %v are slow: more than one", slow)
		} else {
			j.idle("no store is slow")
		}
	case e.suspect != slow[0]:
		e.suspect, e.since = slow[0], j.now
	case j.now.Sub(e.since) >= slowFor:
		e.store, e.suspect = e.suspect, 0
	}
}

// shuffleLeader moves leaders around, for tests.
type shuffleLeader struct{}

func (shuffleLeader) schedule(j *job) {
	stores := j.alive()
	if len(stores) == 0 || j.ctl.Room(operator.Leader) <= 0 {
		return
	}
	to := stores[j.rng.below(len(stores))]
	r := j.draw(to.ID(), cluster.Follows)
	if r == nil || j.ctl.Has(r.ID()) || !j.leads(to) {
		return
	}
	for _, p := range j.canLead(r) {
		if p.StoreId == to.ID() {
			j.add(transfer("shuffle-leader", operator.Low, operator.Leader, r, to.ID()))
		}
	}
}

// shuffleRegion moves peers around, for tests.
type shuffleRegion struct{}

func (shuffleRegion) schedule(j *job) {
	stores := j.alive()
	if len(stores) < 2 || j.ctl.Room(operator.Region) <= 0 {
		return
	}
	from := stores[j.rng.below(len(stores))]
	r := j.movable(from)
	if r == nil {
		return
	}
	var targets []*cluster.Store
	for _, s := range stores {
		if r.OnStore(s.ID()) == nil && j.takes(s, r) && j.asGood(r, j.rules.For(r.Meta.StartKey), from, s) {
			targets = append(targets, s)
		}
	}
	if len(targets) == 0 {
		return
	}
	to := targets[j.rng.below(len(targets))]
	if op, err := j.move("shuffle-region", operator.Region, operator.Low, r, from.ID(), to.ID()); err == nil {
		j.add(op)
	}
}
