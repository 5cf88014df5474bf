// Package placement says where the replicas of a range of keys belong: rules, which rules hold for a region, and how well a region's peers fit them.
//
// Rules come in groups. Of all rules whose range holds a key, ordered by group index, group id, rule index and rule id, a rule with Override drops the
// ones of its group before it, and a group with Override drops all groups before it (Set.For). What is left is served in order: each rule takes the
// peers that suit it best, and a peer that no rule takes is an orphan (FitRegion). The default rule, a number of voters spread over the location
// labels, is a rule like any other.
//
// Everything here is a function of its arguments. It leans on scheduler/cluster for what a region and a store are.
package placement

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// The group and id of the rule that holds when nothing else was set.
const (
	DefaultGroup = "pd"
	DefaultID    = "default"
)

// Role is what a rule's peers are to be.
type Role string

// The roles. Voter leaves open who leads; Leader and Follower do not.
const (
	Voter    Role = "voter"
	Leader   Role = "leader"
	Follower Role = "follower"
	Learner  Role = "learner"
)

// Op says how a label constraint compares.
type Op string

// The comparisons of a label with values.
const (
	In        Op = "in"
	NotIn     Op = "notIn"
	Exists    Op = "exists"
	NotExists Op = "notExists"
)

// Constraint is what a store's label must be like.
type Constraint struct {
	Key    string   `json:"key"`
	Op     Op       `json:"op"`
	Values []string `json:"values,omitempty"`
}

// Rule asks for Count peers of a role, for all keys in [StartKey, EndKey), on stores whose labels meet all constraints, as far from each other as the
// location labels tell (the most important first). With an isolation level, stores that agree in that label are not used for two of them. The
// field names are those of the family's tools; keys are written as hexadecimal digits.
type Rule struct {
	GroupID          string       `json:"group_id"`
	ID               string       `json:"id"`
	Index            int          `json:"index,omitempty"`
	Override         bool         `json:"override,omitempty"`
	StartKey         []byte       `json:"-"`
	EndKey           []byte       `json:"-"`
	Role             Role         `json:"role"`
	Count            int          `json:"count"`
	LabelConstraints []Constraint `json:"label_constraints,omitempty"`
	LocationLabels   []string     `json:"location_labels,omitempty"`
	IsolationLevel   string       `json:"isolation_level,omitempty"`
}

type plainRule Rule

type ruleJSON struct {
	plainRule
	StartKey string `json:"start_key"`
	EndKey   string `json:"end_key"`
}

// MarshalJSON implements json.Marshaler.
func (r Rule) MarshalJSON() ([]byte, error) {
	return json.Marshal(ruleJSON{plainRule(r), hex.EncodeToString(r.StartKey), hex.EncodeToString(r.EndKey)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Rule) UnmarshalJSON(b []byte) error {
	var j ruleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	start, err := hex.DecodeString(j.StartKey)
	if err != nil {
		return errors.Annotatef(err, "start_key %q must be hexadecimal digits", j.StartKey)
	}
	end, err := hex.DecodeString(j.EndKey)
	if err != nil {
		return errors.Annotatef(err, "end_key %q must be hexadecimal digits", j.EndKey)
	}
	*r = Rule(j.plainRule)
	if r.StartKey = start; len(start) == 0 {
		r.StartKey = nil
	}
	if r.EndKey = end; len(end) == 0 {
		r.EndKey = nil
	}
	return nil
}

// maxCount bounds the replicas that one rule may ask for.
const maxCount = 15

// Check says what is wrong with a rule.
func (r *Rule) Check() error {
	switch {
	case r.GroupID == "" || r.ID == "":
		return errors.New("a rule needs a group_id and an id")
	case strings.Contains(r.GroupID, "/") || strings.Contains(r.ID, "/"):
		return errors.Errorf("rule %s/%s: a slash is not allowed in group_id and id", r.GroupID, r.ID)
	case !slices.Contains([]Role{Voter, Leader, Follower, Learner}, r.Role):
		return errors.Errorf("rule %s: role %q must be voter, leader, follower or learner", r.Name(), r.Role)
	case r.Count < 1 || r.Count > maxCount:
		return errors.Errorf("rule %s: count %d must lie between 1 and %d", r.Name(), r.Count, maxCount)
	case r.Role == Leader && r.Count > 1:
		return errors.Errorf("rule %s: there is only one leader, not %d", r.Name(), r.Count)
	case len(r.EndKey) > 0 && bytes.Compare(r.StartKey, r.EndKey) >= 0:
		return errors.Errorf("rule %s: its end_key %X is not above its start_key %X", r.Name(), r.EndKey, r.StartKey)
	case r.IsolationLevel != "" && !slices.Contains(r.LocationLabels, r.IsolationLevel):
		return errors.Errorf("rule %s: isolation_level %q is none of its location_labels %v", r.Name(), r.IsolationLevel, r.LocationLabels)
	}
	if err := CheckLabels(r.LocationLabels); err != nil {
		return errors.Annotatef(err, "rule %s: location_labels", r.Name())
	}
	for _, c := range r.LabelConstraints {
		switch c.Op {
		case In, NotIn:
			if len(c.Values) == 0 {
				return errors.Errorf("rule %s: the constraint on %q names no values", r.Name(), c.Key)
			}
		case Exists, NotExists:
		default:
			return errors.Errorf("rule %s: op %q must be in, notIn, exists or notExists", r.Name(), c.Op)
		}
	}
	return nil
}

// LongestLabel is how many bytes the name or the value of a store's label may have.
const LongestLabel = 63

// PlainLabel says that a text has only letters, digits and - _ . / $, as names and values of labels that are set by hand do.
func PlainLabel(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_./$", c)
	}) < 0
}

// CheckLabels says what is wrong with the labels by which replicas are to be apart, the most important first.
func CheckLabels(labels []string) error {
	for i, l := range labels {
		switch {
		case l == "":
			return errors.New("a label's name must not be empty")
		case len(l) > LongestLabel || !PlainLabel(l):
			return errors.Errorf("%q cannot be the name of a store's label; it must be at most %d letters, digits and - _ . / $", l, LongestLabel)
		case slices.Contains(labels[:i], l):
			return errors.Errorf("%q is named twice", l)
		}
	}
	return nil
}

// Name is group and id.
func (r *Rule) Name() string { return r.GroupID + "/" + r.ID }

// Admits says that a store's labels meet the constraints. A store that is set apart by one of the labels engine, exclusive or $… serves
// only rules that name that label.
func (r *Rule) Admits(s *cluster.Store) bool {
	for _, l := range s.Meta.Labels {
		if setsApart(l.Key) && !slices.ContainsFunc(r.LabelConstraints, func(c Constraint) bool { return c.Key == l.Key && c.Op == In }) {
			return false
		}
	}
	for _, c := range r.LabelConstraints {
		if !c.admits(s.Label(c.Key)) {
			return false
		}
	}
	return true
}

func setsApart(label string) bool {
	return strings.HasPrefix(label, "$") || label == "engine" || label == "exclusive"
}

func (c Constraint) admits(value string) bool {
	switch c.Op {
	case In:
		return value != "" && slices.Contains(c.Values, value)
	case NotIn:
		return !slices.Contains(c.Values, value)
	case Exists:
		return value != ""
	}
	return value == ""
}

// Group orders rules among those of other groups.
type Group struct {
	ID       string `json:"id"`
	Index    int    `json:"index,omitempty"`
	Override bool   `json:"override,omitempty"`
}

// Check says what is wrong with a group.
func (g *Group) Check() error {
	if g.ID == "" || strings.Contains(g.ID, "/") {
		return errors.Errorf("the group id %q must not be empty or have a slash in it", g.ID)
	}
	return nil
}
