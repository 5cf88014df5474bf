package schedule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// ranked are stores with a score each, the highest first and, of equals, the least id.
func ranked(stores []*cluster.Store, score func(*cluster.Store) float64) []*cluster.Store {
	list := slices.Clone(stores)
	scores := make(map[uint64]float64, len(list))
	for _, s := range list {
		scores[s.ID()] = score(s)
	}
	slices.SortStableFunc(list, func(a, b *cluster.Store) int {
		switch x, y := scores[a.ID()], scores[b.ID()]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	return list
}

// balanceLeader gives each store as much to lead as its weight says: from the store that leads most, or to the one that leads least.
type balanceLeader struct{}

func (balanceLeader) schedule(j *job) {
	room := min(j.w.cfg.Batches(), j.ctl.Room(operator.Leader))
	if room <= 0 {
		j.idle("there are as many leader operators as may be (leader-schedule-limit)")
		return
	}
	for range room {
		if !j.balanceOneLeader() {
			return
		}
	}
}

func (j *job) balanceOneLeader() bool {
	stores := ranked(j.alive(), func(s *cluster.Store) float64 { return j.leaderScore(s, 0) })
	if len(stores) < 2 {
		j.idle("there are fewer than two stores")
		return false
	}
	var why []string
	for _, s := range stores {
		if j.givesLead(s) && j.leaderFrom(s) {
			return true
		}
	}
	slices.Reverse(stores)
	for _, s := range stores {
		if b := j.mayLead(s, j.now); !j.choices.target(j.w.cfg.Name, b, s.ID()) {
			why = append(why, fmt.Sprintf("store %d: %s", s.ID(), b.says(s)))
		} else if j.leaderTo(s) {
			return true
		}
	}
	if len(why) == 0 {
		j.idle("the stores' leaders are even enough")
	} else {
		j.idle("the stores' leaders are even enough, apart from what cannot be changed: %s", strings.Join(why, "; "))
	}
	return false
}

// givesLead says that leaders may be taken from a store: of one that is lost there are none to be taken.
func (j *job) givesLead(s *cluster.Store) bool {
	b := notUp(s.State(j.now))
	if b == Open && j.granted(s.ID()) {
		b = Granted
	}
	return j.choices.source(j.w.cfg.Name, b, s.ID())
}

func (j *job) leaderFrom(s *cluster.Store) bool {
	for range tries {
		r := j.draw(s.ID(), cluster.Leads)
		if r == nil {
			return false
		}
		if j.ctl.Has(r.ID()) {
			continue
		}
		if to := j.betterLeader(r, s); to != nil {
			return j.add(transfer("balance-leader", operator.Low, operator.Leader, r, to.ID()))
		}
	}
	return false
}

// betterLeader is the store that may lead a region and leads least, if that makes things more even.
func (j *job) betterLeader(r *cluster.Region, from *cluster.Store) *cluster.Store {
	var best *cluster.Store
	for _, p := range j.canLead(r) {
		s := j.pic.Store(p.StoreId)
		if s == nil || s == from || !j.leads(s) {
			continue
		}
		if best == nil || j.leaderScore(s, 0) < j.leaderScore(best, 0) {
			best = s
		}
	}
	if best == nil || !j.evensLeaders(from, best, r) {
		return nil
	}
	return best
}

func (j *job) leaderTo(to *cluster.Store) bool {
	for range tries {
		r := j.draw(to.ID(), cluster.Follows)
		if r == nil {
			return false
		}
		from := j.pic.Store(r.LeaderStore())
		if from == nil || j.ctl.Has(r.ID()) || j.granted(from.ID()) || !slices.ContainsFunc(j.canLead(r), func(p *metapb.Peer) bool { return p.StoreId == to.ID() }) {
			continue
		}
		if j.evensLeaders(from, to, r) {
			return j.add(transfer("balance-leader", operator.Low, operator.Leader, r, to.ID()))
		}
	}
	return false
}

// balanceRegion fills each store as its weight and room say: from the fullest to the emptiest that the rules allow.
type balanceRegion struct{}

func (balanceRegion) schedule(j *job) {
	room := min(j.w.cfg.Batches(), j.ctl.Room(operator.Region))
	if room <= 0 {
		j.idle("there are as many region operators as may be (region-schedule-limit)")
		return
	}
	for range room {
		if !j.balanceOneRegion() {
			if j.limited {
				j.ctl.HeldBack(moveRegion)
			}
			return
		}
	}
}

// moveRegion describes what balances regions.
const moveRegion = "balance-region"

func (j *job) balanceOneRegion() bool {
	j.limited = false
	stores := ranked(j.alive(), func(s *cluster.Store) float64 { return j.regionScore(s, 0) })
	var targets []*cluster.Store
	var why []string
	for _, s := range slices.Backward(stores) {
		if b := j.mayTake(s, &cluster.Region{}, j.now); !j.choices.target(j.w.cfg.Name, b, s.ID()) {
			why = append(why, fmt.Sprintf("store %d: %s", s.ID(), b.says(s)))
		} else {
			targets = append(targets, s)
		}
	}
	for i, s := range stores {
		if i == len(stores)-1 || len(targets) == 0 || j.regionScore(s, 0) <= j.regionScore(targets[0], 0) {
			break
		}
		for range tries {
			if r := j.movable(s); r != nil && j.regionFrom(r, s, targets) {
				return true
			}
		}
	}
	switch {
	case len(stores) < 2:
		j.idle("there are fewer than two stores")
	case j.w.why != "":
	case len(why) == 0:
		j.idle("the stores are even enough")
	default:
		j.idle("the stores are even enough, apart from what cannot be changed: %s", strings.Join(why, "; "))
	}
	return false
}

// movable draws a region whose peer can leave a store: rather one that it follows than one that it leads.
func (j *job) movable(s *cluster.Store) *cluster.Region {
	for _, role := range []cluster.Role{cluster.Follows, cluster.Leads, cluster.Learns} {
		for range tries {
			r := j.draw(s.ID(), role)
			if r == nil {
				break
			}
			if !j.settled(r) {
				continue
			}
			if j.ctl.MayRemove(s.ID(), r, j.now) {
				return r
			}
			j.choices.source(j.w.cfg.Name, RemoveLimit, s.ID())
			j.limited = true
		}
	}
	return nil
}

func (j *job) regionFrom(r *cluster.Region, from *cluster.Store, targets []*cluster.Store) bool {
	rules := j.rules.For(r.Meta.StartKey)
	for _, to := range targets {
		if !j.evens(from, to, r) {
			return false // those that follow are fuller
		}
		if r.OnStore(to.ID()) != nil {
			continue
		}
		if !j.ctl.MayAdd(to.ID(), r, j.now) {
			j.choices.target(j.w.cfg.Name, AddLimit, to.ID())
			j.limited = true
			continue
		}
		if !j.asGood(r, rules, from, to) {
			continue
		}
		op, err := j.move(moveRegion, operator.Region, operator.Low, r, from.ID(), to.ID())
		if err != nil {
			j.idle("%s", err.Error())
			return false
		}
		return j.add(op)
	}
	return false
}

// asGood says that the rules are served as well with a peer on another store.
func (c *Coordinator) asGood(r *cluster.Region, rules []*placement.Rule, from, to *cluster.Store) bool {
	use := func(*metapb.Peer) bool { return true }
	if len(rules) == 1 && len(rules[0].LocationLabels) == 0 {
		return rules[0].Admits(to)
	}
	moved := *r
	moved.Meta = &metapb.Region{Id: r.ID(), StartKey: r.Meta.StartKey, EndKey: r.Meta.EndKey}
	for _, p := range r.Meta.Peers {
		q := *p
		if q.StoreId == from.ID() {
			q.StoreId = to.ID()
		}
		moved.Meta.Peers = append(moved.Meta.Peers, &q)
	}
	before, after := placement.FitRegion(c.store, r, rules, use), placement.FitRegion(c.store, &moved, rules, use)
	for i := range before.Rules {
		a, b := &after.Rules[i], &before.Rules[i]
		if len(a.Peers) != len(b.Peers) || len(a.Wrong) > len(b.Wrong) || a.Isolation < b.Isolation {
			return false
		}
	}
	return true
}
