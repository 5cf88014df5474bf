package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// What the rules ask of one region, most urgent first: a missing peer; a wrong role; a peer too many; a better place. Peers that are lost, or on a store that is being
// drained, do not count, and are replaced: the new one comes first (PITFALLS P8).

const ruleChecker = "rule-checker"

// checkJoint ends a joint configuration that nobody is going to leave.
func (c *Coordinator) checkJoint(r *cluster.Region) *operator.Operator {
	if !r.InJoint() {
		return nil
	}
	return operator.New("leave-joint-state", "leave joint state", operator.Replica, operator.High, r, operator.LeaveJoint{})
}

// checkBoundary splits a region in which several sets of rules hold.
func (c *Coordinator) checkBoundary(r *cluster.Region) *operator.Operator {
	keys := c.rules.Boundaries(r.Meta.StartKey, r.Meta.EndKey)
	if len(keys) == 0 {
		return nil
	}
	step := operator.Split{Start: r.Meta.StartKey, End: r.Meta.EndKey, Keys: keys}
	return operator.New("rule-split-region", fmt.Sprintf("split: region %d by rules", r.ID()), operator.SplitRegions, operator.High, r, step)
}

// ruleCheck is the look at one region.
type ruleCheck struct {
	*Coordinator
	r   *cluster.Region
	now time.Time
	fit *placement.Fit
	// told says that a person asks: nothing is counted.
	told bool
}

func (c *Coordinator) checkRules(r *cluster.Region, now time.Time) *operator.Operator {
	rules := c.rules.For(r.Meta.StartKey)
	if c.plainlyWell(r, rules, now) {
		c.reasons.clear(r.ID())
		return nil
	}
	k := &ruleCheck{Coordinator: c, r: r, now: now}
	k.fit = placement.FitRegion(c.store, r, rules, k.usable)
	for i := range k.fit.Rules {
		if rf := &k.fit.Rules[i]; rf.Lacks() > 0 {
			return k.fill(rf)
		}
	}
	waits := false
	for i := range k.fit.Rules {
		if rf := &k.fit.Rules[i]; len(rf.Wrong) > 0 {
			if op := k.correct(rf); op != nil {
				return op
			}
			waits = true
		}
	}
	if len(k.fit.Orphans) > 0 {
		return k.removeOrphan()
	}
	if op := k.spread(); op != nil || waits {
		return op
	}
	c.reasons.clear(r.ID())
	return nil
}

// plainlyWell answers for nearly all regions nearly all the time: a number of voters is asked for and there, each on a store that is well.
func (c *Coordinator) plainlyWell(r *cluster.Region, rules []*placement.Rule, now time.Time) bool {
	if len(rules) != 1 || len(r.Meta.Peers) != rules[0].Count || len(r.Down) > 0 || len(r.Pending) > 0 || rules[0].Role != placement.Voter ||
		len(rules[0].LabelConstraints) > 0 || len(rules[0].LocationLabels) > 0 {
		return false
	}
	for _, p := range r.Meta.Peers {
		s := c.pic.Store(p.StoreId)
		if p.Role != metapb.PeerRole_Voter || s == nil || s.Meta.State != metapb.StoreState_Up || len(s.Meta.Labels) > 0 {
			return false
		}
	}
	return true
}

// usable says that a peer counts: its store is neither lost nor being drained.
func (k *ruleCheck) usable(p *metapb.Peer) bool { return k.unusable(p) == "" }

func (k *ruleCheck) unusable(p *metapb.Peer) string {
	s := k.pic.Store(p.StoreId)
	if s == nil {
		return "unknown"
	}
	switch state := s.State(k.now); {
	case state == cluster.Offline || state == cluster.Tombstone:
		if k.cfg.EnableReplaceOfflineReplica {
			return "offline"
		}
	case k.cfg.EnableRemoveDownReplica && k.lost(p, state):
		return "down"
	}
	return ""
}

// lost says that a peer will not come back: its leader has not heard of it for as long as a store may be down, and neither has the scheduler. The leader's count goes
// on when a scheduler falls, so failovers do not put the repair off. A leader that has just begun to lead, as a new region's has, cannot have counted yet; but it knows
// which peers it has never heard of, and it is enough that the scheduler has counted.
func (k *ruleCheck) lost(p *metapb.Peer, state cluster.State) bool {
	down := time.Duration(k.r.DownSeconds(p.Id)) * time.Second
	if down == 0 && !k.r.IsPending(p.Id) || state == cluster.Up || !k.Prepared(k.now) {
		return false
	}
	return state == cluster.Down || down >= time.Duration(k.cfg.MaxStoreDownTime)
}

// targets are the region's peers in the roles that the rules give them, without one.
func (k *ruleCheck) targets(without *metapb.Peer) []operator.Target {
	roles := make(map[uint64]metapb.PeerRole)
	for _, rf := range k.fit.Rules {
		role := metapb.PeerRole_Voter
		if rf.Rule.Role == placement.Learner {
			role = metapb.PeerRole_Learner
		}
		for _, p := range rf.Peers {
			if role == metapb.PeerRole_Voter && p.Role == metapb.PeerRole_Learner && k.r.IsPending(p.Id) {
				continue // it votes when it is caught up
			}
			roles[p.StoreId] = role
		}
	}
	var list []operator.Target
	for _, t := range present(k.r) {
		if without != nil && t.Store == without.StoreId {
			continue
		}
		if role, ok := roles[t.Store]; ok {
			t.Role = role
		}
		list = append(list, t)
	}
	return list
}

// build makes an operator of targets, or notes why that cannot be.
func (k *ruleCheck) build(desc, brief string, targets []operator.Target, lead uint64) *operator.Operator {
	opts := k.options()
	opts.Lead = lead
	steps, err := operator.Build(k.r, targets, opts)
	if err != nil {
		k.reasons.note(k.r.ID(), desc, err.Error(), k.now)
		return nil
	}
	if len(steps) == 0 {
		return nil
	}
	return operator.New(desc, brief, operator.Replica, operator.High, k.r, steps...)
}

// fill adds a peer that a rule lacks, in the place of one that does not count if there is one.
func (k *ruleCheck) fill(rf *placement.RuleFit) *operator.Operator {
	victim, why := k.victim()
	desc := "add-rule-peer"
	if victim != nil {
		desc = "replace-rule-" + why + "-peer"
	}
	waits, limited := k.fillWaits(rf, victim)
	if limited {
		k.ctl.HeldBack(desc)
		k.choices.source(ruleChecker, RemoveLimit, victim.StoreId)
	}
	if waits != "" {
		k.reasons.note(k.r.ID(), ruleChecker, waits, k.now)
		return nil
	}
	to, reason, limited := k.choose(rf, victim)
	if to == nil {
		if limited {
			k.ctl.HeldBack(desc)
		}
		k.reasons.note(k.r.ID(), ruleChecker, nowhere(rf, reason), k.now)
		return nil
	}
	role := metapb.PeerRole_Voter
	if rf.Rule.Role == placement.Learner {
		role = metapb.PeerRole_Learner
	}
	targets := append(k.targets(victim), operator.Target{Store: to.ID(), Role: role})
	if victim == nil {
		return k.build(desc, fmt.Sprintf("add peer: store [%d]", to.ID()), targets, 0)
	}
	return k.build(desc, fmt.Sprintf("mv peer: store [%d] to [%d]", victim.StoreId, to.ID()), targets, 0)
}

func nowhere(rf *placement.RuleFit, reason string) string {
	return fmt.Sprintf("rule %s lacks %d peers, and no store can take one: %s", rf.Rule.Name(), rf.Lacks(), reason)
}

// fillWaits is empty if a rule may be given the peer that it lacks now, and says why not otherwise; limited if it is for a store's limit.
func (k *ruleCheck) fillWaits(rf *placement.RuleFit, victim *metapb.Peer) (why string, limited bool) {
	for _, p := range k.r.Pending {
		if q := k.r.Peer(p.Id); q != nil && k.usable(q) { // one after the other
			return fmt.Sprintf("rule %s lacks %d peers; peer %d on store %d is not caught up yet", rf.Rule.Name(), rf.Lacks(), q.Id, q.StoreId), false
		}
	}
	switch {
	case victim == nil && !k.cfg.EnableMakeUpReplica:
		return "a replica is missing, and enable-make-up-replica is false", false
	case victim != nil && !k.Prepared(k.now):
		return "the scheduler waits for the first reports of most regions", false
	case k.ctl.Room(operator.Replica) <= 0: // looked at before an id is taken out of the stock
		return "as many replicas are being made as may be (replica-schedule-limit)", false
	case victim != nil && !k.ctl.MayRemove(victim.StoreId, k.r, k.now):
		return fmt.Sprintf("store %d: %s", victim.StoreId, RemoveLimit.says(nil)), true
	}
	return "", false
}

// victim is the peer to be replaced: a lost one first.
func (k *ruleCheck) victim() (p *metapb.Peer, why string) {
	for _, want := range []string{"down", "unknown", "offline", ""} {
		for _, p := range k.fit.Orphans {
			if k.unusable(p) == want {
				if want == "" {
					want = "unfit"
				}
				return p, want
			}
		}
	}
	return nil, ""
}

// choose finds the store for a rule's next peer: as far as can be from the rule's other peers, and of those the emptiest. If there is none it says why; limited if one
// could have it but for its limit.
func (k *ruleCheck) choose(rf *placement.RuleFit, without *metapb.Peer) (best *cluster.Store, reason string, limited bool) {
	others := k.others(rf, without)
	var reasons []string
	var far, score float64
	for _, s := range k.pic.Stores() {
		if s.Meta.State == metapb.StoreState_Tombstone || k.r.OnStore(s.ID()) != nil {
			continue
		}
		if b := k.unfit(rf, s, others); b != Open {
			reasons = append(reasons, fmt.Sprintf("store %d: %s", s.ID(), saysUnfit(b, rf, s)))
			if limited = limited || b == AddLimit; !k.told {
				k.choices.target(ruleChecker, b, s.ID())
			}
			continue
		}
		distance, full := placement.Distance(rf.Rule.LocationLabels, s, others), k.regionScore(s, 0)
		if best == nil || distance > far || (distance == far && full < score) {
			best, far, score = s, distance, full
		}
	}
	if len(reasons) == 0 {
		return best, "every store holds one already", false
	}
	return best, strings.Join(reasons, "; "), limited
}

// others are the stores of a rule's peers but one.
func (k *ruleCheck) others(rf *placement.RuleFit, without *metapb.Peer) (list []*cluster.Store) {
	for _, p := range rf.Peers {
		if without == nil || p.Id != without.Id {
			list = append(list, k.pic.Store(p.StoreId))
		}
	}
	return list
}

// unfit says what keeps a store from having a rule's next peer beside the others.
func (k *ruleCheck) unfit(rf *placement.RuleFit, s *cluster.Store, others []*cluster.Store) Barrier {
	b := k.mayTake(s, k.r, k.now)
	switch {
	case !rf.Rule.Admits(s):
		return Constraints
	case b == Open && !placement.Isolated(rf.Rule.LocationLabels, rf.Rule.IsolationLevel, s, others):
		return Isolation
	}
	return b
}

// saysUnfit is such a barrier in words.
func saysUnfit(b Barrier, rf *placement.RuleFit, s *cluster.Store) string {
	text := b.says(s)
	if b == Isolation {
		text += " (isolation-level " + rf.Rule.IsolationLevel + ")"
	}
	return text
}

// correct gives a peer the role that its rule asks for.
func (k *ruleCheck) correct(rf *placement.RuleFit) *operator.Operator {
	for _, p := range rf.Wrong {
		switch {
		case k.r.IsPending(p.Id):
			k.reasons.note(k.r.ID(), ruleChecker, fmt.Sprintf("peer %d on store %d is not caught up yet", p.Id, p.StoreId), k.now)
		case p.Role == metapb.PeerRole_Learner && (k.r.DownSeconds(p.Id) > 0 || !k.isUp(p.StoreId)):
			// It counts for no majority as a learner, and would count against one as a voter (P8).
			k.reasons.note(k.r.ID(), ruleChecker, fmt.Sprintf("peer %d on store %d shall vote, and is not heard of", p.Id, p.StoreId), k.now)
		case p.Role == metapb.PeerRole_Learner:
			return k.promote(p)
		case rf.Rule.Role == placement.Leader:
			return transfer("fix-leader-role", operator.High, operator.Replica, k.r, p.StoreId)
		case rf.Rule.Role == placement.Follower:
			if to := k.otherLeader(p); to != 0 {
				return transfer("fix-follower-role", operator.High, operator.Replica, k.r, to)
			}
			k.reasons.note(k.r.ID(), ruleChecker, fmt.Sprintf("peer %d on store %d shall follow, and nobody else can lead", p.Id, p.StoreId), k.now)
		}
	}
	return nil
}

// promote lets a learner vote: in the place of a voter that does not count, if there is one, in one step. With both of them the region would bear the loss of one
// replica less in between. Found by the simulator.
func (k *ruleCheck) promote(p *metapb.Peer) *operator.Operator {
	if victim, why := k.victim(); victim != nil && why != "unfit" && k.Prepared(k.now) {
		return k.build("replace-rule-"+why+"-peer", fmt.Sprintf("mv peer: store [%d] to [%d]", victim.StoreId, p.StoreId), k.targets(victim), 0)
	}
	return k.build("promote-peer", fmt.Sprintf("promote peer: store [%d]", p.StoreId), k.targets(nil), 0)
}

func (k *ruleCheck) isUp(store uint64) bool {
	s := k.pic.Store(store)
	return s != nil && s.State(k.now) == cluster.Up
}

func (k *ruleCheck) otherLeader(but *metapb.Peer) uint64 {
	var stores []uint64
	for _, p := range k.canLead(k.r) {
		if p.Id != but.Id {
			stores = append(stores, p.StoreId)
		}
	}
	return k.bestLeader(stores)
}

// removeOrphan removes a peer that no rule asks for, when all that are asked for are well.
func (k *ruleCheck) removeOrphan() *operator.Operator {
	for _, rf := range k.fit.Rules {
		for _, p := range rf.Peers {
			if k.r.IsPending(p.Id) || k.r.DownSeconds(p.Id) > 0 {
				k.reasons.note(k.r.ID(), ruleChecker, fmt.Sprintf("it has a peer too many, and peer %d on store %d is not well", p.Id, p.StoreId), k.now)
				return nil
			}
		}
	}
	switch p, why := k.victim(); {
	case !k.Prepared(k.now):
		k.reasons.note(k.r.ID(), ruleChecker, "the scheduler waits for the first reports of most regions", k.now)
	case why == "unfit" && !k.cfg.EnableRemoveExtraReplica:
		k.reasons.note(k.r.ID(), ruleChecker, "it has a peer too many, and enable-remove-extra-replica is false", k.now)
	default:
		return k.build("remove-orphan-peer", fmt.Sprintf("rm peer: store [%d]", p.StoreId), k.targets(p), 0)
	}
	return nil
}

// spread moves a peer to where it is farther from the others of its rule.
func (k *ruleCheck) spread() *operator.Operator {
	if k.ctl.Room(operator.Replica) <= 0 || !k.cfg.EnableLocationReplacement || !k.Prepared(k.now) || len(k.r.Down) > 0 || len(k.r.Pending) > 0 {
		return nil
	}
	for i := range k.fit.Rules {
		rf := &k.fit.Rules[i]
		if len(rf.Rule.LocationLabels) == 0 || len(rf.Peers) < 2 {
			continue
		}
		var from *metapb.Peer
		var to *cluster.Store
		gain := 0.0
		for _, p := range rf.Peers {
			s, _, _ := k.choose(rf, p)
			if s == nil {
				continue
			}
			if g := k.distance(rf, p, s) - k.distance(rf, p, k.pic.Store(p.StoreId)); g > gain {
				from, to, gain = p, s, g
			}
		}
		if from != nil {
			op, err := k.move("move-to-better-location", operator.Replica, operator.Medium, k.r, from.StoreId, to.ID())
			if err == nil {
				return op
			}
			k.reasons.note(k.r.ID(), ruleChecker, err.Error(), k.now)
		}
	}
	return nil
}

// distance is how far a store would be from the peers of a rule but one.
func (k *ruleCheck) distance(rf *placement.RuleFit, but *metapb.Peer, s *cluster.Store) float64 {
	return placement.Distance(rf.Rule.LocationLabels, s, k.others(rf, but))
}
