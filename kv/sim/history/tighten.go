package history

import (
	"cmp"
	"slices"
	"sort"
)

// tighten moves the beginnings of writes to later stamps where no order could have them before, which spares the search most of its wrong
// turns. A value x was seen by a read; nothing else happened to the key between its write and that read. So whatever
// touched the key with another value, and ended before the read began, came before the write of x: it began before that write took place.
// False, and nothing is changed, when something would begin after its end: then there is no order.
func (g *keyGroup) tighten() bool {
	writers := make(map[uint32]*effect)
	seenAt := make(map[uint32]int64) // value → the last beginning of a read of it
	for _, e := range g.effects {
		for _, w := range e.writes {
			if w.value != 0 {
				writers[w.value] = e
			}
		}
		for _, r := range e.reads {
			seenAt[r.value] = max(seenAt[r.value], e.begin)
		}
	}
	touches := make([][]touch, len(g.keys))
	for _, e := range g.effects {
		for key := range g.keys {
			if value, ok := e.leaves(uint8(key)); ok {
				touches[key] = append(touches[key], touch{end: e.end, value: value, latest: e.begin})
			}
		}
	}
	for _, t := range touches {
		accumulate(t)
	}
	begins := make([]int64, len(g.effects))
	at := make(map[*effect]int, len(g.effects))
	for i, e := range g.effects {
		begins[i], at[e] = e.begin, i
		for _, w := range e.writes {
			if w.value != 0 && seenAt[w.value] > 0 {
				begins[i] = max(begins[i], latestBefore(touches[w.key], seenAt[w.value], w.value))
			}
		}
	}
	for i, e := range g.effects { // a read comes after its write
		for _, r := range e.reads {
			if w := writers[r.value]; w != nil {
				begins[i] = max(begins[i], begins[at[w]])
			}
		}
		if begins[i] > e.end {
			return false
		}
	}
	for i, e := range g.effects {
		e.begin = begins[i]
	}
	return true
}

// leaves is the value that a key has after the effect; not ok if the effect does not touch it.
func (e *effect) leaves(key uint8) (uint32, bool) {
	for _, list := range [][]number{e.writes, e.reads} {
		for _, n := range list {
			if n.key == key {
				return n.value, true
			}
		}
	}
	return 0, false
}

// touch is one effect on a key, in a list by end. After accumulate, latest is the latest beginning so far and value whose it was, and other the latest
// of another value.
type touch struct {
	end           int64
	value         uint32
	latest, other int64
}

func accumulate(list []touch) {
	slices.SortStableFunc(list, func(a, b touch) int { return cmp.Compare(a.end, b.end) })
	for i := 1; i < len(list); i++ {
		before, t := list[i-1], &list[i]
		begin, value := t.latest, t.value
		t.latest, t.value, t.other = before.latest, before.value, before.other
		switch {
		case value == t.value:
			t.latest = max(t.latest, begin)
		case begin > t.latest:
			t.latest, t.value, t.other = begin, value, t.latest
		default:
			t.other = max(t.other, begin)
		}
	}
}

// latestBefore is the latest beginning among touches of other values that ended before a stamp, 0 when there is none.
func latestBefore(list []touch, stamp int64, value uint32) int64 {
	i := sort.Search(len(list), func(i int) bool { return list[i].end >= stamp }) - 1
	switch {
	case i < 0:
		return 0
	case list[i].value == value:
		return list[i].other
	}
	return list[i].latest
}
