package placement

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"sort"

	"github.com/pingcap/errors"
)

// Set is all rules of a cluster. It is immutable.
type Set struct {
	rules  []*Rule // in the order in which they are served
	groups map[string]Group
	// starts are where a part of the key space begins in which other rules hold than before it; parts are the rules of each. The first begins at the
	// empty key.
	starts [][]byte
	parts  [][]*Rule
}

// NewSet orders rules and works out which hold where. It fails when some key would be left with no voters, or with two leaders.
func NewSet(rules []*Rule, groups []Group) (*Set, error) {
	s := &Set{groups: make(map[string]Group)}
	for _, g := range groups {
		s.groups[g.ID] = g
	}
	s.rules = slices.Clone(rules)
	sort.SliceStable(s.rules, func(i, j int) bool { return s.less(s.rules[i], s.rules[j]) < 0 })
	s.starts = [][]byte{nil}
	for _, r := range s.rules {
		for _, key := range [][]byte{r.StartKey, r.EndKey} {
			if len(key) > 0 {
				s.starts = append(s.starts, key)
			}
		}
	}
	slices.SortFunc(s.starts, bytes.Compare)
	s.starts = slices.CompactFunc(s.starts, bytes.Equal)
	for _, start := range s.starts {
		part := s.at(start)
		if err := checkPart(part, start); err != nil {
			return nil, err
		}
		s.parts = append(s.parts, part)
	}
	return s, nil
}

func (s *Set) less(a, b *Rule) int {
	return cmp.Or(
		cmp.Compare(s.groups[a.GroupID].Index, s.groups[b.GroupID].Index), cmp.Compare(a.GroupID, b.GroupID),
		cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID),
	)
}

// at works out the rules that hold from a key on.
func (s *Set) at(key []byte) []*Rule {
	var kept []*Rule
	group, from := "", 0
	for _, r := range s.rules {
		if bytes.Compare(r.StartKey, key) > 0 || (len(r.EndKey) > 0 && bytes.Compare(key, r.EndKey) >= 0) {
			continue
		}
		if r.GroupID != group {
			if group, from = r.GroupID, len(kept); s.groups[group].Override {
				kept, from = kept[:0], 0
			}
		}
		if r.Override {
			kept = kept[:from]
		}
		kept = append(kept, r)
	}
	return kept
}

func checkPart(part []*Rule, start []byte) error {
	leaders, voters := 0, 0
	for _, r := range part {
		switch r.Role {
		case Leader:
			leaders++
			voters++
		case Voter:
			voters++
		}
	}
	switch {
	case leaders > 1:
		return errors.Errorf("from key %X on, %d rules ask for a leader", start, leaders)
	case voters == 0:
		return errors.Errorf("from key %X on, no rule asks for a voter or leader", start)
	}
	return nil
}

// Rules lists all rules in the order in which they are served.
func (s *Set) Rules() []*Rule { return s.rules }

// Groups lists the groups that were set, and those that are named by rules.
func (s *Set) Groups() []Group {
	all := maps.Clone(s.groups)
	for _, r := range s.rules {
		if _, ok := all[r.GroupID]; !ok {
			all[r.GroupID] = Group{ID: r.GroupID}
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
	})
}

// For is the rules that hold for a range's first key, in the order in which they are served.
func (s *Set) For(start []byte) []*Rule { return s.parts[s.part(start)] }

// Boundaries are the keys inside [start, end) at which other rules begin to hold: a region must be split there.
func (s *Set) Boundaries(start, end []byte) [][]byte {
	from := s.part(start) + 1
	to := from
	for to < len(s.starts) && (len(end) == 0 || bytes.Compare(s.starts[to], end) < 0) {
		to++
	}
	return s.starts[from:to]
}

func (s *Set) part(key []byte) int {
	return sort.Search(len(s.starts), func(i int) bool { return bytes.Compare(s.starts[i], key) > 0 }) - 1
}
