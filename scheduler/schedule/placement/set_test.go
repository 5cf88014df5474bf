package placement

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rule reads one in the form "group/id start-end count role", with options behind: index=N, override.
func rule(t *testing.T, text string) *Rule {
	t.Helper()
	words := strings.Fields(text)
	r := &Rule{Role: Role(words[3])}
	r.GroupID, r.ID, _ = strings.Cut(words[0], "/")
	start, end, _ := strings.Cut(words[1], "-")
	r.StartKey, r.EndKey = []byte(start), []byte(end)
	require.NoError(t, json.Unmarshal([]byte(words[2]), &r.Count))
	for _, option := range words[4:] {
		if n, ok := strings.CutPrefix(option, "index="); ok {
			require.NoError(t, json.Unmarshal([]byte(n), &r.Index))
		} else {
			require.Equal(t, "override", option)
			r.Override = true
		}
	}
	require.NoError(t, r.Check())
	return r
}

func rules(t *testing.T, texts ...string) (list []*Rule) {
	t.Helper()
	for _, text := range texts {
		list = append(list, rule(t, text))
	}
	return list
}

func names(rules []*Rule) string {
	var list []string
	for _, r := range rules {
		list = append(list, r.Name())
	}
	return strings.Join(list, " ")
}

// Rules are served by group index, group, index, id, in whatever order they were given.
func TestOrder(t *testing.T) {
	given := rules(t, "b/y - 1 learner", "a/z - 1 learner index=1", "a/x - 1 learner index=2", "pd/default - 3 voter", "b/a - 1 learner")
	set, err := NewSet(given, []Group{{ID: "b", Index: -1}, {ID: "pd", Index: 9}})
	require.NoError(t, err)
	require.Equal(t, "b/a b/y a/z a/x pd/default", names(set.Rules()))
	require.Equal(t, "b/a b/y a/z a/x pd/default", names(set.For(nil)))
	require.Equal(t, []Group{{ID: "b", Index: -1}, {ID: "a"}, {ID: "pd", Index: 9}}, set.Groups())
}

// A rule with override drops those of its group before it, a group with override all groups before it: where their ranges are, and nowhere else.
func TestOverride(t *testing.T) {
	for _, c := range []struct {
		name   string
		rules  []string
		groups []Group
		want   map[string]string // by key
	}{
		{
			"a rule of the same group",
			[]string{"pd/default - 3 voter", "pd/more f-m 5 voter index=1 override"},
			nil,
			map[string]string{"": "pd/default", "f": "pd/more", "l": "pd/more", "m": "pd/default"},
		},
		{
			"a rule leaves other groups alone",
			[]string{"a/base - 3 voter", "b/x - 1 learner", "b/y f-m 2 learner index=1 override"},
			nil,
			map[string]string{"": "a/base b/x", "g": "a/base b/y", "m": "a/base b/x"},
		},
		{
			"what comes behind an override stays",
			[]string{"pd/default - 3 voter", "pd/p f-m 5 voter index=1 override", "pd/q h-k 1 learner index=2"},
			nil,
			map[string]string{"g": "pd/p", "h": "pd/p pd/q", "k": "pd/p"},
		},
		{
			"a group",
			[]string{"a/base - 3 voter", "b/x f-m 1 voter", "b/y f-m 2 learner"},
			[]Group{{ID: "b", Index: 1, Override: true}},
			map[string]string{"": "a/base", "f": "b/x b/y", "m": "a/base"},
		},
		{
			"a group and a rule in it",
			[]string{"a/base - 3 voter", "b/x - 1 voter", "b/y f- 2 voter index=1 override"},
			[]Group{{ID: "b", Index: 1, Override: true}},
			map[string]string{"": "b/x", "f": "b/y", "z": "b/y"},
		},
	} {
		set, err := NewSet(rules(t, c.rules...), c.groups)
		require.NoError(t, err, c.name)
		for key, want := range c.want { // order-free: each by itself
			require.Equal(t, want, names(set.For([]byte(key))), "%s: %q", c.name, key)
		}
	}
}

// No key is left without a rule that asks for a voter or a leader, and none has two leaders; the error says from where on.
func TestSetsThatCannotBeServed(t *testing.T) {
	for want, texts := range map[string][]string{
		"from key  on, no rule asks for a voter":   {"a/x - 3 learner"},
		"from key 6D on, no rule asks for a voter": {"a/x -m 3 voter"},
		"from key 66 on, no rule asks for a voter": {"a/x - 3 voter", "a/y f-m 1 learner index=1 override"},
		"from key 66 on, 2 rules ask for a leader": {"a/x -m 1 leader", "a/y f- 1 leader"},
	} {
		_, err := NewSet(rules(t, texts...), nil)
		require.ErrorContains(t, err, want)
	}
	_, err := NewSet(rules(t, "a/x -m 1 leader", "a/y m- 1 leader", "a/z - 2 follower"), nil)
	require.NoError(t, err)
}

// Boundaries are the keys strictly inside a range where other rules begin: a region that ends at one has nothing to be split for.
func TestBoundaries(t *testing.T) {
	set, err := NewSet(rules(t, "pd/default - 3 voter", "a/x f-m 1 learner", "a/y k-t 1 learner", "a/z m- 1 learner"), nil)
	require.NoError(t, err)
	for span, want := range map[string]string{
		"-": "f k m t", "f-": "k m t", "e-g": "f", "f-k": "", "f-l": "k", "t-": "", "u-z": "", "-f": "", "-g": "f", "l-t": "m",
	} {
		start, end, _ := strings.Cut(span, "-")
		var got []string
		for _, key := range set.Boundaries([]byte(start), []byte(end)) {
			got = append(got, string(key))
		}
		require.Equal(t, want, strings.Join(got, " "), span)
	}
}

// A rule is written as the family's tools write it, and read back as it was.
func TestRulesAsText(t *testing.T) {
	r := rule(t, "g/a f-m 2 follower index=3 override")
	r.LabelConstraints = []Constraint{{Key: "disk", Op: In, Values: []string{"ssd"}}}
	r.LocationLabels, r.IsolationLevel = []string{"zone", "host"}, "zone"
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"group_id":"g","id":"a","index":3,"override":true,"start_key":"66","end_key":"6d","role":"follower","count":2,
		"label_constraints":[{"key":"disk","op":"in","values":["ssd"]}],"location_labels":["zone","host"],"isolation_level":"zone"}`, string(text))
	back := new(Rule)
	require.NoError(t, json.Unmarshal(text, back))
	require.Equal(t, r, back)
}

func TestRulesThatCannotBe(t *testing.T) {
	for want, change := range map[string]func(r *Rule){
		"needs a group_id and an id":     func(r *Rule) { r.ID = "" },
		"a slash is not allowed":         func(r *Rule) { r.GroupID = "a/b" },
		`role "chief" must be voter`:     func(r *Rule) { r.Role = "chief" },
		"count 16 must lie between":      func(r *Rule) { r.Count = 16 },
		"there is only one leader":       func(r *Rule) { r.Role, r.Count = Leader, 2 },
		"is not above its start_key":     func(r *Rule) { r.StartKey, r.EndKey = []byte("m"), []byte("m") },
		"is none of its location_labels": func(r *Rule) { r.IsolationLevel = "zone" },
		"names no values":                func(r *Rule) { r.LabelConstraints = []Constraint{{Key: "disk", Op: NotIn}} },
		`op "is" must be in, notIn`:      func(r *Rule) { r.LabelConstraints = []Constraint{{Key: "disk", Op: "is"}} },
		`"zone" is named twice`:          func(r *Rule) { r.LocationLabels = []string{"zone", "zone"} },
		"must not be empty":              func(r *Rule) { r.LocationLabels = []string{""} },
	} {
		r := rule(t, "g/a f-m 2 follower")
		change(r)
		require.ErrorContains(t, r.Check(), want)
	}
}
