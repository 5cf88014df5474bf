package server

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// bundleRoutes are about placement rules by the group: the group and its rules together.
func (s *Server) bundleRoutes() []route {
	return []route{
		{"GET", "/config/placement-rule", s.onTerm(httpBundles)},
		{"POST", "/config/placement-rule", s.onTerm(httpSetBundles)},
		{"GET", "/config/placement-rule/{group}", s.onTerm(httpBundle)},
		{"POST", "/config/placement-rule/{group}", s.onTerm(httpSetBundle)},
		{"DELETE", "/config/placement-rule/{group}", s.onTerm(httpDropBundle)},
	}
}

type bundle struct {
	ID       string            `json:"group_id"`
	Index    int               `json:"group_index"`
	Override bool              `json:"group_override"`
	Rules    []*placement.Rule `json:"rules"`
}

func (b *bundle) group() placement.Group {
	return placement.Group{ID: b.ID, Index: b.Index, Override: b.Override}
}

// check says what is wrong with a bundle as a whole; its rules belong to its group though they may not say so.
func (b *bundle) check() error {
	for _, r := range b.Rules {
		switch {
		case r == nil:
			return badRequest("group %s: a rule must not be null", b.ID)
		case r.GroupID == "":
			r.GroupID = b.ID
		case r.GroupID != b.ID:
			return badRequest("rule %s is not of the group %s", r.Name(), b.ID)
		}
	}
	return nil
}

func bundlesOf(set *placement.Set) []bundle {
	list := []bundle{}
	for _, g := range set.Groups() {
		list = append(list, bundle{g.ID, g.Index, g.Override, rulesOf(set, g.ID)})
	}
	return list
}

func httpBundles(t *term, _ *http.Request) (any, error) { return bundlesOf(t.rules()), nil }

func httpBundle(t *term, r *http.Request) (any, error) {
	list := bundlesOf(t.rules())
	i := slices.IndexFunc(list, func(b bundle) bool { return b.ID == r.PathValue("group") })
	if i < 0 {
		return bundle{ID: r.PathValue("group"), Rules: []*placement.Rule{}}, nil
	}
	return list[i], nil
}

// httpSetBundles sets groups and all their rules. Groups that are not named go, unless ?partial=true.
func httpSetBundles(t *term, r *http.Request) (any, error) {
	var list []bundle
	if err := readJSON(r, &list); err != nil {
		return nil, err
	}
	err := t.setBundles(list, r.URL.Query().Get("partial") != "true")
	return "Update rules and groups successfully.", err
}

func httpSetBundle(t *term, r *http.Request) (any, error) {
	var b bundle
	if err := readJSON(r, &b); err != nil {
		return nil, err
	}
	if b.ID == "" {
		b.ID = r.PathValue("group")
	}
	if b.ID != r.PathValue("group") {
		return nil, badRequest("group id %s does not match request URI %s", b.ID, r.PathValue("group"))
	}
	return "Update group and rules successfully.", t.setBundles([]bundle{b}, false)
}

// setBundles sets groups with their rules; whole says that there are to be no others.
func (t *term) setBundles(list []bundle, whole bool) error {
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
	}
	return t.setRules(func(now *placement.Set) (machine.Rules, error) {
		var all machine.Rules
		for i := range list {
			all.Set = append(all.Set, list[i].Rules...)
			all.Groups = append(all.Groups, list[i].group())
		}
		named := func(group string) bool {
			return slices.ContainsFunc(list, func(b bundle) bool { return b.ID == group })
		}
		all.Drop = t.set(now, func(r *placement.Rule) bool { return whole || named(r.GroupID) })
		for _, g := range now.Groups() {
			if whole && !named(g.ID) {
				all.DropGroups = append(all.DropGroups, g.ID)
			}
		}
		return all, nil
	})
}

// httpDropBundle deletes a group with its rules, or with ?regexp all groups whose ids match.
func httpDropBundle(t *term, r *http.Request) (any, error) {
	group := r.PathValue("group")
	matches := func(id string) bool { return id == group }
	if r.URL.Query().Has("regexp") {
		re, err := regexp.Compile(group)
		if err != nil {
			return nil, badRequest("%v", err)
		}
		matches = re.MatchString
	}
	err := t.setRules(func(now *placement.Set) (machine.Rules, error) {
		all := machine.Rules{Drop: t.set(now, func(r *placement.Rule) bool { return matches(r.GroupID) })}
		for _, g := range now.Groups() {
			if matches(g.ID) {
				all.DropGroups = append(all.DropGroups, g.ID)
			}
		}
		return all, nil
	})
	return "Delete group and rules successfully.", err
}

// decodeBoth decodes one object into two values that each take their part of it.
func decodeBoth(b []byte, one, other any) error {
	if err := json.Unmarshal(b, one); err != nil {
		return err
	}
	return json.Unmarshal(b, other)
}
