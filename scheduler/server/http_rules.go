package server

import (
	"net/http"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// ruleRoutes are about placement rules, one by one. Those by the bundle are in http_rule_bundles.go.
func (s *Server) ruleRoutes() []route {
	return []route{
		{"GET", "/config/rules", s.onTerm(httpRules)},
		{"POST", "/config/rules", s.onTerm(httpReplaceRules)},
		{"POST", "/config/rules/batch", s.onTerm(httpRuleBatch)},
		{"GET", "/config/rules/group/{group}", s.onTerm(httpRulesOfGroup)},
		{"GET", "/config/rules/region/{id}", s.onCluster(httpRulesOfRegion)},
		{"GET", "/config/rules/region/{id}/detail", s.onCluster(httpFit)},
		{"GET", "/config/rules/key/{key}", s.onTerm(httpRulesOfKey)},
		{"GET", "/config/rule/{group}/{id}", s.onTerm(httpRule)},
		{"POST", "/config/rule", s.onTerm(httpSetRule)},
		{"DELETE", "/config/rule/{group}/{id}", s.onTerm(httpDropRule)},
		{"GET", "/config/rule_group/{id}", s.onTerm(httpRuleGroup)},
		{"POST", "/config/rule_group", s.onTerm(httpSetRuleGroup)},
		{"DELETE", "/config/rule_group/{id}", s.onTerm(httpDropRuleGroup)},
		{"GET", "/config/rule_groups", s.onTerm(httpRuleGroups)},
	}
}

// rules are all rules: those that were set, and the default one.
func (t *term) rules() *placement.Set { return scheduling(t, (*schedule.Coordinator).Rules) }

// setRules changes rules once the change is durable. The change is made of the rules as they are then.
func (t *term) setRules(change func(now *placement.Set) (machine.Rules, error)) error {
	return t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) {
		next, err := change(t.machine.Schedule.Rules())
		if err != nil {
			return nil, err
		}
		return t.machine.SetRules(next)
	})
}

// set are the rules that a filter takes, of those that were set: the default one, while it was not, is nobody's to remove.
func (t *term) set(now *placement.Set, want func(*placement.Rule) bool) (names []string) {
	for _, r := range now.Rules() {
		if want(r) && t.machine.IsSet(r.Name()) {
			names = append(names, r.Name())
		}
	}
	return names
}

func httpRules(t *term, _ *http.Request) (any, error) { return t.rules().Rules(), nil }

// httpReplaceRules sets rules in place of all that were set before.
func httpReplaceRules(t *term, r *http.Request) (any, error) {
	var rules []*placement.Rule
	if err := readRules(r, &rules); err != nil {
		return nil, err
	}
	err := t.setRules(func(now *placement.Set) (machine.Rules, error) {
		drop := t.set(now, func(*placement.Rule) bool { return true })
		return machine.Rules{Set: rules, Drop: drop}, nil
	})
	return "Update rules successfully.", err
}

// readRules reads rules, none of which may be null.
func readRules(r *http.Request, rules *[]*placement.Rule) error {
	if err := readJSON(r, rules); err != nil {
		return err
	}
	for _, rule := range *rules {
		if rule == nil {
			return badRequest("a rule must not be null")
		}
	}
	return nil
}

// ruleChange is one change of a batch.
type ruleChange struct {
	rule   placement.Rule
	action ruleAction
}

type ruleAction struct {
	Action string `json:"action"` // add or del
	// ByPrefix lets del remove all rules of the group whose id begins with this one.
	ByPrefix bool `json:"delete_by_id_prefix"`
}

// UnmarshalJSON implements json.Unmarshaler: a change is a rule with an action beside its fields.
func (c *ruleChange) UnmarshalJSON(b []byte) error {
	return decodeBoth(b, &c.rule, &c.action)
}

// httpRuleBatch adds and deletes rules: all of it or nothing.
func httpRuleBatch(t *term, r *http.Request) (any, error) {
	var changes []ruleChange
	if err := readJSON(r, &changes); err != nil {
		return nil, err
	}
	err := t.setRules(func(now *placement.Set) (machine.Rules, error) {
		var all machine.Rules
		for i := range changes {
			switch rule := &changes[i].rule; changes[i].action.Action {
			case "add":
				all.Set = append(all.Set, rule)
			case "del":
				all.Drop = append(all.Drop, t.set(now, changes[i].deletes)...)
			default:
				return all, badRequest("rule %s: action %q must be add or del", rule.Name(), changes[i].action.Action)
			}
		}
		return all, nil
	})
	return "Batch operations successfully.", err
}

func (c *ruleChange) deletes(r *placement.Rule) bool {
	if c.action.ByPrefix {
		return r.GroupID == c.rule.GroupID && strings.HasPrefix(r.ID, c.rule.ID)
	}
	return r.Name() == c.rule.Name()
}

func httpRulesOfGroup(t *term, r *http.Request) (any, error) {
	return rulesOf(t.rules(), r.PathValue("group")), nil
}

func rulesOf(set *placement.Set, group string) []*placement.Rule {
	list := []*placement.Rule{}
	for _, rule := range set.Rules() {
		if rule.GroupID == group {
			list = append(list, rule)
		}
	}
	return list
}

func httpRulesOfRegion(t *term, r *http.Request) (any, error) {
	region, err := t.pathRegion(r)
	if err != nil {
		return nil, err
	}
	return t.rules().For(region.Meta.StartKey), nil
}

func httpRulesOfKey(t *term, r *http.Request) (any, error) {
	key, err := fromHex("key", r.PathValue("key"))
	if err != nil {
		return nil, err
	}
	return t.rules().For(key), nil
}

type fitJSON struct {
	Rules   []ruleFitJSON `json:"rule-fits"`
	Orphans []peerJSON    `json:"orphan-peers"`
}

type ruleFitJSON struct {
	Rule  *placement.Rule `json:"rule"`
	Peers []peerJSON      `json:"peers"`
	// Wrong are those of them whose role is not what the rule asks for.
	Wrong     []peerJSON `json:"peers-with-different-role"`
	Isolation float64    `json:"isolation-score"`
}

// httpFit says which peer of a region serves which rule.
func httpFit(t *term, r *http.Request) (any, error) {
	region, err := t.pathRegion(r)
	if err != nil {
		return nil, err
	}
	rules := t.rules().For(region.Meta.StartKey)
	stores := make(map[uint64]*cluster.Store)
	for _, s := range t.stores() {
		stores[s.ID()] = s
	}
	fit := placement.FitRegion(func(id uint64) *cluster.Store { return stores[id] }, region, rules, func(*metapb.Peer) bool { return true })
	res := fitJSON{Orphans: peerViews(fit.Orphans)}
	for _, f := range fit.Rules {
		res.Rules = append(res.Rules, ruleFitJSON{Rule: f.Rule, Peers: peerViews(f.Peers), Wrong: peerViews(f.Wrong), Isolation: f.Isolation})
	}
	return res, nil
}

func httpRule(t *term, r *http.Request) (any, error) {
	name := r.PathValue("group") + "/" + r.PathValue("id")
	for _, rule := range t.rules().Rules() {
		if rule.Name() == name {
			return rule, nil
		}
	}
	return nil, notFound("rule %s not found", name)
}

func httpSetRule(t *term, r *http.Request) (any, error) {
	rule := new(placement.Rule)
	if err := readJSON(r, rule); err != nil {
		return nil, err
	}
	err := t.setRules(func(*placement.Set) (machine.Rules, error) { return machine.Rules{Set: []*placement.Rule{rule}}, nil })
	return "Update rule successfully.", err
}

func httpDropRule(t *term, r *http.Request) (any, error) {
	name := r.PathValue("group") + "/" + r.PathValue("id")
	err := t.setRules(func(*placement.Set) (machine.Rules, error) {
		if !t.machine.IsSet(name) {
			return machine.Rules{}, notFound("rule %s not found among those that were set", name)
		}
		return machine.Rules{Drop: []string{name}}, nil
	})
	return "Delete rule successfully.", err
}

func httpRuleGroups(t *term, _ *http.Request) (any, error) { return t.rules().Groups(), nil }

func httpRuleGroup(t *term, r *http.Request) (any, error) {
	for _, g := range t.rules().Groups() {
		if g.ID == r.PathValue("id") {
			return g, nil
		}
	}
	return nil, notFound("rule group %s not found", r.PathValue("id"))
}

func httpSetRuleGroup(t *term, r *http.Request) (any, error) {
	var g placement.Group
	if err := readJSON(r, &g); err != nil {
		return nil, err
	}
	err := t.setRules(func(*placement.Set) (machine.Rules, error) { return machine.Rules{Groups: []placement.Group{g}}, nil })
	return "Update rule group successfully.", err
}

func httpDropRuleGroup(t *term, r *http.Request) (any, error) {
	err := t.setRules(func(*placement.Set) (machine.Rules, error) {
		return machine.Rules{DropGroups: []string{r.PathValue("id")}}, nil
	})
	return "Delete rule group successfully.", err
}
