package placement

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Fit is how a region's peers serve its rules.
type Fit struct {
	Rules []RuleFit
	// Orphans are peers that no rule takes.
	Orphans []*metapb.Peer
}

// RuleFit is the peers that a rule takes.
type RuleFit struct {
	Rule  *Rule
	Peers []*metapb.Peer
	// Wrong are those of them whose role is not what the rule asks for.
	Wrong []*metapb.Peer
	// Isolation grows with the distance of the peers' stores from each other.
	Isolation float64
}

// Lacks is how many peers a rule is short of.
func (f *RuleFit) Lacks() int { return f.Rule.Count - len(f.Peers) }

// Satisfied says that every rule has its peers, in their roles, and nothing is left over.
func (f *Fit) Satisfied() bool {
	for i := range f.Rules {
		if f.Rules[i].Lacks() > 0 || len(f.Rules[i].Wrong) > 0 {
			return false
		}
	}
	return len(f.Orphans) == 0
}

// FitRegion gives a region's peers to its rules. Peers that are left out of use (for instance on a store that is being drained) are orphans. A rule that
// comes earlier is served as well as possible before the next: by number of peers, then by their roles, then by their distance.
func FitRegion(stores func(uint64) *cluster.Store, r *cluster.Region, rules []*Rule, use func(*metapb.Peer) bool) *Fit {
	f := &fitting{stores: stores, region: r, rules: rules, taken: make([]bool, len(r.Meta.Peers))}
	for i, p := range r.Meta.Peers {
		f.taken[i] = stores(p.StoreId) == nil || !use(p)
	}
	skipped := append([]bool(nil), f.taken...)
	f.now = make([][]int, len(rules))
	f.serve(0)
	fit := &Fit{}
	used := make([]bool, len(r.Meta.Peers))
	for i, rule := range rules {
		var peers []int
		if f.best != nil {
			peers = f.apart(rule, f.best[i])
		}
		rf := f.measure(rule, peers)
		for _, p := range peers {
			used[p] = true
		}
		fit.Rules = append(fit.Rules, rf)
	}
	for i, p := range r.Meta.Peers {
		if !used[i] || skipped[i] {
			fit.Orphans = append(fit.Orphans, p)
		}
	}
	return fit
}

// fitting searches for the best way to give peers to rules: all ways, for there are few peers.
type fitting struct {
	stores    func(uint64) *cluster.Store
	region    *cluster.Region
	rules     []*Rule
	taken     []bool
	now, best [][]int
	score     []float64
}

func (f *fitting) serve(rule int) {
	if rule == len(f.rules) {
		f.compare()
		return
	}
	var suited []int
	for i, p := range f.region.Meta.Peers {
		if !f.taken[i] && f.suits(f.rules[rule], p) {
			suited = append(suited, i)
		}
	}
	f.choose(rule, suited, min(f.rules[rule].Count, len(suited)))
}

// choose tries every way to take count of the suited peers for a rule.
func (f *fitting) choose(rule int, suited []int, count int) {
	if count == 0 {
		f.serve(rule + 1)
		return
	}
	for i := range len(suited) - count + 1 {
		p := suited[i]
		f.taken[p] = true
		f.now[rule] = append(f.now[rule], p)
		f.choose(rule, suited[i+1:], count-1)
		f.now[rule] = f.now[rule][:len(f.now[rule])-1]
		f.taken[p] = false
	}
}

func (f *fitting) suits(rule *Rule, p *metapb.Peer) bool {
	if rule.Role == Learner && p.Role != metapb.PeerRole_Learner {
		return false
	}
	return rule.Admits(f.stores(p.StoreId))
}

func (f *fitting) compare() {
	var score []float64
	for i, rule := range f.rules {
		m := f.measure(rule, f.now[i])
		score = append(score, float64(len(m.Peers)), -float64(len(m.Wrong)), m.Isolation, -f.lags(m.Peers))
	}
	better := f.best == nil
	for i := range f.score {
		if score[i] != f.score[i] {
			better = score[i] > f.score[i]
			break
		}
	}
	if !better {
		return
	}
	f.score = score
	f.best = make([][]int, len(f.rules))
	for i := range f.now {
		f.best[i] = append([]int(nil), f.now[i]...)
	}
}

// lags counts the peers that are down or not caught up: of equals those that are well are kept.
func (f *fitting) lags(peers []*metapb.Peer) float64 {
	n := 0.0
	for _, p := range peers {
		if f.region.IsPending(p.Id) || f.region.DownSeconds(p.Id) > 0 {
			n++
		}
	}
	return n
}

func (f *fitting) measure(rule *Rule, peers []int) RuleFit {
	m := RuleFit{Rule: rule}
	var stores []*cluster.Store
	for _, i := range peers {
		p := f.region.Meta.Peers[i]
		m.Peers = append(m.Peers, p)
		if !f.inRole(rule.Role, p) {
			m.Wrong = append(m.Wrong, p)
		}
		stores = append(stores, f.stores(p.StoreId))
	}
	if len(rule.LocationLabels) > 0 {
		for i := range stores {
			m.Isolation += Distance(rule.LocationLabels, stores[i], stores[i+1:])
		}
	}
	return m
}

// apart leaves out the learners that would be too near to the others if they came to vote, by the rule's isolation level. Peers that vote already count wherever they are.
func (f *fitting) apart(rule *Rule, peers []int) (kept []int) {
	for _, i := range peers {
		if f.inRole(rule.Role, f.region.Meta.Peers[i]) || f.region.Meta.Peers[i].Role != metapb.PeerRole_Learner {
			kept = append(kept, i)
		}
	}
	for _, i := range peers {
		if slices.Contains(kept, i) {
			continue
		}
		var others []*cluster.Store
		for _, k := range kept {
			others = append(others, f.stores(f.region.Meta.Peers[k].StoreId))
		}
		if Isolated(rule.LocationLabels, rule.IsolationLevel, f.stores(f.region.Meta.Peers[i].StoreId), others) {
			kept = append(kept, i)
		}
	}
	slices.Sort(kept)
	return kept
}

func (f *fitting) inRole(role Role, p *metapb.Peer) bool {
	leads := f.region.Leader.GetId() == p.Id
	switch role {
	case Learner:
		return p.Role == metapb.PeerRole_Learner
	case Leader:
		return leads
	case Follower:
		return !leads && p.Role != metapb.PeerRole_Learner
	}
	return p.Role != metapb.PeerRole_Learner
}

// Distance is how far a store is from others, by location labels: a difference in an earlier label outweighs any in a later one.
func Distance(labels []string, s *cluster.Store, from []*cluster.Store) float64 {
	const base = 100
	sum := 0.0
	for _, other := range from {
		if other.ID() == s.ID() {
			continue
		}
		weight := 1.0
		for i := len(labels) - 1; i > 0; i-- {
			weight *= base
		}
		for _, l := range labels {
			if a, b := s.Label(l), other.Label(l); a != b {
				sum += weight
				break
			}
			weight /= base
		}
	}
	return sum
}

// Isolated says that a store differs from all others in a label, or in one before it.
func Isolated(labels []string, level string, s *cluster.Store, from []*cluster.Store) bool {
	if level == "" {
		return true
	}
	for _, other := range from {
		apart := false
		for _, l := range labels {
			if s.Label(l) != other.Label(l) {
				apart = true
				break
			}
			if l == level {
				break
			}
		}
		if !apart {
			return false
		}
	}
	return true
}
