package history

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Verdict is what a history came to.
type Verdict struct {
	// Groups is how many groups of keys were judged, Unknown how many of them took more steps than allowed.
	Groups, Unknown int
	// Violation says what is wrong, with the Ops around it; empty when nothing is.
	Violation string
}

// maxGroup is how many keys a group may have.
const maxGroup = 8

// state is the values of a group's keys, each by its number in the group, 0 for none; and how many unanswered deletes of each had to be made use
// of to get there.
type state struct {
	values [maxGroup]uint32
	used   [maxGroup]uint16
}

// effect is one Op's part in one group, in numbers.
type effect struct {
	op            *Op
	begin, end    int64
	reads, writes []number
}

type number struct {
	key   uint8
	value uint32
	// deletes is, where there was no value, how many unanswered deletes had begun that could be the reason.
	deletes uint16
}

// Check judges the history. group names the group of a key; steps bounds the search for an order in each group. It may be called more
// than once, with more Ops.
func (h *History) Check(group func(key string) string, steps int) (v Verdict) {
	if v.Violation = h.settle(); v.Violation != "" {
		return v
	}
	for _, g := range h.divide(group) {
		v.Groups++
		switch result, what := g.check(steps); result {
		case porcupine.Unknown:
			v.Unknown++
		case porcupine.Illegal:
			v.Violation = what
			return v
		}
	}
	return v
}

// settle finds out which open Ops have happened: those whose values were seen. It also finds what needs no search: values that nobody wrote.
func (h *History) settle() string {
	s := settling{writers: make(map[string]*Op)}
	for _, op := range h.ops {
		op.settled = 0
		for _, c := range op.writes {
			if c.Value != "" {
				s.writers[c.Value] = op
			}
		}
	}
	for _, op := range h.ops {
		if op.wrong != "" {
			return fmt.Sprintf("%s: %s", op.wrong, op)
		}
		if !op.open() && !op.rejected {
			s.observe(op, op.end)
		}
	}
	return s.wrong
}

type settling struct {
	writers map[string]*Op
	wrong   string
}

// observe notes what an Op that had happened by the stamp end has seen. A swap that is known to have happened has seen something, too.
func (s *settling) observe(op *Op, end int64) {
	for _, c := range op.reads {
		if c.Value == "" {
			continue
		}
		w := s.writers[c.Value]
		switch {
		case w == nil:
			s.fail("%s has a value that nobody wrote, %s: %s", c.Key, c.Value, op)
		case !slices.Contains(w.writes, c):
			s.fail("%s has a value that was written to another key, %s: %s; written by %s", c.Key, c.Value, op, w)
		case w.rejected:
			s.fail("%s has a value whose write was rejected, %s: %s; written by %s", c.Key, c.Value, op, w)
		case w.begin > end:
			s.fail("%s has a value whose write had not begun, %s: %s; written by %s", c.Key, c.Value, op, w)
		case w.open() && (w.settled == 0 || w.settled > end):
			w.settled = end
			s.observe(w, end)
		}
	}
}

func (s *settling) fail(format string, args ...any) {
	if s.wrong == "" {
		s.wrong = fmt.Sprintf(format, args...)
	}
}

// keyGroup is the part of the history that touches one group.
type keyGroup struct {
	name   string
	keys   []string
	values map[string]uint32
	// effects are those that have happened.
	effects []*effect
	// deletes are, for each key, the beginnings of deletes that may have happened.
	deletes [maxGroup][]int64
}

func (h *History) divide(group func(string) string) []*keyGroup {
	groups := make(map[string]*keyGroup)
	var order []*keyGroup
	of := func(c Cell) *keyGroup {
		name := group(c.Key)
		g := groups[name]
		if g == nil {
			g = &keyGroup{name: name, values: map[string]uint32{"": 0}}
			groups[name], order = g, append(order, g)
		}
		return g
	}
	for _, op := range h.ops {
		switch {
		case op.rejected:
		case op.open() && op.settled == 0:
			for _, c := range op.writes {
				if c.Value == "" { // what else it wrote was never seen: nobody can tell, and it does not matter
					g := of(c)
					n := g.number(c)
					g.deletes[n.key] = append(g.deletes[n.key], op.begin)
				}
			}
		default:
			op.divide(of)
		}
	}
	for _, g := range order {
		g.countDeletes()
	}
	return order
}

// divide gives each group that the Op touches its part.
func (o *Op) divide(of func(Cell) *keyGroup) {
	parts := make(map[*keyGroup]*effect, 1)
	part := func(c Cell) (*keyGroup, *effect) {
		g := of(c)
		e := parts[g]
		if e == nil {
			e = &effect{op: o, begin: o.begin, end: o.end}
			if o.open() {
				e.end = o.settled
			}
			parts[g], g.effects = e, append(g.effects, e)
		}
		return g, e
	}
	for _, c := range o.reads {
		g, e := part(c)
		e.reads = append(e.reads, g.number(c))
	}
	for _, c := range o.writes {
		g, e := part(c)
		e.writes = append(e.writes, g.number(c))
	}
}

// countDeletes notes at every read of nothing how many unanswered deletes it may owe that to. Where such a delete took place need not be searched: just
// before the read, or it would not matter. It may be any that has begun by the read's end, and those serve later reads as well, so a count is enough.
func (g *keyGroup) countDeletes() {
	for _, e := range g.effects {
		for i := range e.reads {
			if r := &e.reads[i]; r.value == 0 {
				begun, _ := slices.BinarySearch(g.deletes[r.key], e.end)
				r.deletes = uint16(begun)
			}
		}
	}
}

func (g *keyGroup) number(c Cell) number {
	key := slices.Index(g.keys, c.Key)
	if key < 0 {
		key = len(g.keys)
		g.keys = append(g.keys, c.Key)
	}
	if key >= maxGroup {
		panic(fmt.Sprintf("history: group %q has more than %d keys", g.name, maxGroup))
	}
	value, ok := g.values[c.Value]
	if !ok {
		value = uint32(len(g.values))
		g.values[c.Value] = value
	}
	return number{key: uint8(key), value: value}
}

// check looks for an order.
func (g *keyGroup) check(steps int) (porcupine.CheckResult, string) {
	if g.tighten() {
		if result, _ := search(g.effects, steps, false); result != porcupine.Illegal {
			return result, ""
		}
	}
	_, info := search(g.effects, steps, true)
	return porcupine.Illegal, g.explain(info)
}

// search looks for an order of the effects, in a bounded number of steps: a bound in time would not be the same in every run.
func search(effects []*effect, steps int, verbose bool) (porcupine.CheckResult, porcupine.LinearizationInfo) {
	taken := 0
	model := porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) {
			taken++
			st, e := s.(state), in.(*effect)
			if taken > steps {
				return false, st
			}
			for _, r := range e.reads {
				if st.values[r.key] == r.value {
					continue
				}
				if r.value != 0 || st.used[r.key] >= r.deletes {
					return false, st
				}
				st.used[r.key]++
				st.values[r.key] = 0
			}
			for _, w := range e.writes {
				st.values[w.key] = w.value
			}
			return true, st
		},
		Equal: func(a, b any) bool { return a.(state) == b.(state) },
	}
	ops := make([]porcupine.Operation, len(effects))
	for i, e := range effects {
		ops[i] = porcupine.Operation{ClientId: e.op.client, Input: e, Call: e.begin, Return: e.end}
	}
	var result porcupine.CheckResult
	var info porcupine.LinearizationInfo
	if verbose {
		result, info = porcupine.CheckOperationsVerbose(model, ops, 0)
	} else {
		result = porcupine.CheckOperationsTimeout(model, ops, 0)
	}
	if taken > steps {
		result = porcupine.Unknown
	}
	return result, info
}

// explain names the Op that no order could take in, and those around it.
func (g *keyGroup) explain(info porcupine.LinearizationInfo) string {
	var longest []porcupine.Operation
	for _, part := range info.PartialLinearizationsOperations() {
		for _, order := range part {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	ordered := make(map[*effect]bool, len(longest))
	for i := range longest {
		ordered[longest[i].Input.(*effect)] = true
	}
	rest := slices.DeleteFunc(slices.Clone(g.effects), func(e *effect) bool { return ordered[e] })
	sort.SliceStable(rest, func(i, j int) bool { return rest[i].end < rest[j].end })
	var b strings.Builder
	fmt.Fprintf(&b, "the history of the keys %s cannot be explained by any order of its operations.", strings.Join(g.keys, " "))
	const around = 6
	fmt.Fprint(&b, " The longest order ends with")
	for i := max(0, len(longest)-around); i < len(longest); i++ {
		fmt.Fprintf(&b, "\n  %s", g.tell(longest[i].Input.(*effect)))
	}
	fmt.Fprint(&b, "\nand cannot go on with")
	for i := range min(len(rest), around) {
		fmt.Fprintf(&b, "\n  %s", g.tell(rest[i]))
	}
	return b.String()
}

// tell is the Op's part in the group.
func (g *keyGroup) tell(e *effect) string {
	part := *e.op
	mine := func(cells []Cell) (out []Cell) {
		for _, c := range cells {
			if slices.Contains(g.keys, c.Key) {
				out = append(out, c)
			}
		}
		return out
	}
	part.reads, part.writes = mine(part.reads), mine(part.writes)
	return part.String()
}
