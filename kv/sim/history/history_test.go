package history

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func byFirstLetter(key string) string { return key[:1] }

func play(steps func(h *History)) Verdict {
	h := New(func() time.Duration { return 0 })
	steps(h)
	return h.Check(byFirstLetter, 100000)
}

func write(h *History, cells ...Cell) { h.Write(1, cells...).Wrote() }
func read(h *History, cells ...Cell)  { h.Read(2).Saw(cells) }

func TestHistoriesThatHold(t *testing.T) {
	for name, steps := range map[string]func(h *History){
		"one after the other": func(h *History) {
			read(h, Cell{"a1", ""})
			write(h, Cell{"a1", "x"})
			read(h, Cell{"a1", "x"})
			write(h, Cell{"a1", ""})
			read(h, Cell{"a1", ""})
		},
		"concurrent": func(h *History) {
			w, r := h.Write(1, Cell{"a1", "x"}), h.Read(2)
			read(h, Cell{"a1", "x"})
			r.Saw([]Cell{{"a1", ""}})
			w.Wrote()
		},
		"an unanswered write is seen late, after others": func(h *History) {
			h.Write(1, Cell{"a1", "x"})
			write(h, Cell{"a1", "y"})
			read(h, Cell{"a1", "y"})
			read(h, Cell{"a1", "x"})
		},
		"an unanswered delete": func(h *History) {
			h.Write(1, Cell{"a1", ""})
			write(h, Cell{"a1", "y"})
			read(h, Cell{"a1", "y"})
			read(h, Cell{"a1", ""})
		},
		"swaps": func(h *History) {
			h.Swap(1, "a1", "", "x").Swapped(true, "")
			h.Swap(1, "a1", "", "y").Swapped(false, "x")
			h.Swap(1, "a1", "x", "z")
			h.Swap(1, "a1", "z", "u").Swapped(true, "z")
			read(h, Cell{"a1", "u"})
		},
		"a batch seen whole": func(h *History) {
			h.Write(1, Cell{"a1", "x1"}, Cell{"a2", "x2"})
			read(h, Cell{"a1", ""}, Cell{"a2", ""})
			read(h, Cell{"a1", "x1"}, Cell{"a2", "x2"})
		},
		"a rejected write": func(h *History) {
			h.Write(1, Cell{"a1", "x"}).Reject()
			read(h, Cell{"a1", ""})
		},
	} {
		require.Equal(t, Verdict{Groups: 1}, play(steps), name)
	}
}

func TestHistoriesThatDoNotHold(t *testing.T) {
	for name, tc := range map[string]struct {
		steps func(h *History)
		want  string
	}{
		"a stale read": {func(h *History) {
			write(h, Cell{"a1", "x"})
			write(h, Cell{"a1", "y"})
			read(h, Cell{"a1", "x"})
		}, "keys a1 cannot be explained"},
		"a lost write": {func(h *History) {
			write(h, Cell{"a1", "x"})
			read(h, Cell{"a1", ""})
		}, "a1 was (none)"},
		"time goes back for a reader": {func(h *History) {
			w := h.Write(1, Cell{"a1", "x"})
			read(h, Cell{"a1", "x"})
			read(h, Cell{"a1", ""})
			w.Wrote()
		}, "cannot go on with"},
		"an unanswered write comes and goes": {func(h *History) {
			write(h, Cell{"a1", "y"})
			h.Write(1, Cell{"a1", "x"})
			read(h, Cell{"a1", "x"})
			read(h, Cell{"a1", "y"})
		}, "cannot be explained"},
		"one unanswered delete, two holes": {func(h *History) {
			h.Write(1, Cell{"a1", ""})
			write(h, Cell{"a1", "x"})
			read(h, Cell{"a1", ""})
			write(h, Cell{"a1", "y"})
			read(h, Cell{"a1", ""})
		}, "cannot be explained"},
		"two swaps of one value": {func(h *History) {
			h.Swap(1, "a1", "", "x").Swapped(true, "")
			h.Swap(2, "a1", "", "y").Swapped(true, "")
		}, "cannot be explained"},
		"a swap that was not answered happened after its value was gone": {func(h *History) {
			write(h, Cell{"a1", "x"})
			write(h, Cell{"a1", "y"})
			h.Swap(1, "a1", "x", "z")
			read(h, Cell{"a1", "z"})
		}, "cannot be explained"},
		"a swap that should have happened": {func(h *History) {
			h.Swap(1, "a1", "", "x").Swapped(false, "")
		}, "found what it expected"},
		"half a batch": {func(h *History) {
			write(h, Cell{"a1", "x1"}, Cell{"a2", "x2"})
			h.Write(1, Cell{"a1", "y1"}, Cell{"a2", "y2"})
			read(h, Cell{"a1", "y1"}, Cell{"a2", "x2"})
		}, "cannot be explained"},
		"a value from nowhere":     {func(h *History) { read(h, Cell{"a1", "x"}) }, "nobody wrote"},
		"a value of another key":   {func(h *History) { write(h, Cell{"a2", "x"}); read(h, Cell{"a1", "x"}) }, "another key"},
		"a rejected write is seen": {func(h *History) { h.Write(1, Cell{"a1", "x"}).Reject(); read(h, Cell{"a1", "x"}) }, "write was rejected"},
		"a value before its write": {func(h *History) { read(h, Cell{"a1", "x"}); write(h, Cell{"a1", "x"}) }, "had not begun"},
	} {
		require.Contains(t, play(tc.steps).Violation, tc.want, name)
	}
}

// A search that is given up is said to be unknown, and is given up after the same number of steps in every run.
func TestStepsAreBounded(t *testing.T) {
	h := New(func() time.Duration { return 0 })
	for range 100 {
		write(h, Cell{"a1", "x"})
	}
	require.Equal(t, Verdict{Groups: 1, Unknown: 1}, h.Check(byFirstLetter, 50))
}

// Many open ends must not make the search explode.
func TestOpenEndsAreCheap(t *testing.T) {
	v := play(func(h *History) {
		for i := range 1000 {
			name := string(rune('A'+i/26%26)) + string(rune('a'+i%26)) + string(rune('a'+i/676))
			h.Write(i%8, Cell{"a1", name})
			if i%3 == 0 {
				read(h, Cell{"a1", name})
			}
			if i%50 == 0 {
				h.Write(i%8, Cell{"a1", ""})
			}
		}
	})
	require.Equal(t, Verdict{Groups: 1}, v)
}
