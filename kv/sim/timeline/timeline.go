// Package timeline shows a run of the simulator to people: as lines of text, and as one self-contained page of HTML with a lane for every
// process, its role and term as colours, messages as arrows and faults as marks.
package timeline

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// MaxEntries is how much of a run's end a page shows: what led to a failure is there, and a browser still draws it at once.
const MaxEntries = 30_000

// Recorder keeps the last entries of a run.
type Recorder struct {
	entries []world.Entry
	// Dropped is how many are not kept any more.
	Dropped int
}

// Take is a world.Trace's sink.
func (r *Recorder) Take(e world.Entry) {
	if len(r.entries) == 2*MaxEntries {
		r.Dropped += MaxEntries
		r.entries = append(r.entries[:0], r.entries[MaxEntries:]...)
	}
	r.entries = append(r.entries, e)
}

// Entries are the last MaxEntries of what was taken.
func (r *Recorder) Entries() []world.Entry {
	if n := len(r.entries) - MaxEntries; n > 0 {
		return r.entries[n:]
	}
	return r.entries
}

// WriteText writes an entry as a line.
func WriteText(w io.Writer, e world.Entry) error {
	who := e.Who
	if e.With != "" {
		arrow := " -> "
		if e.Kind == world.Deliver {
			arrow = " <- "
		}
		who += arrow + e.With
	}
	_, err := fmt.Fprintf(w, "%12.6f  %-9s  %-24s  %s\n", time.Duration(e.At).Seconds(), e.Kind, who, e.Text)
	return err
}

//go:embed page.html
var page string

// Page is what is written above the picture.
type Page struct {
	Title string
	// Lines describe the run: its configuration, what was wrong, how to see it again.
	Lines []string
	// Dropped is how many entries before the first one are not shown.
	Dropped int
}

// WriteHTML writes the page. It loads nothing from anywhere.
func WriteHTML(w io.Writer, head Page, entries []world.Entry) error {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	data, err := json.Marshal(pack(entries))
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Head": head, "Data": template.JS(data)}) //nolint:gosec // json.Marshal escapes what ends a script
}

// packed is a run as the page's script reads it: names once, entries as short rows.
type packed struct {
	Lanes []string `json:"lanes"`
	Kinds []string `json:"kinds"`
	// Rows are [seconds, kind, lane, other lane or -1, packet, region, term, role, text].
	Rows [][]any `json:"rows"`
}

func pack(entries []world.Entry) packed {
	p := packed{Lanes: []string{}, Kinds: []string{}, Rows: [][]any{}}
	lanes, kinds := map[string]int{"": -1}, map[string]int{}
	number := func(of map[string]int, list *[]string, name string) int {
		n, ok := of[name]
		if !ok {
			n = len(*list)
			of[name], *list = n, append(*list, name)
		}
		return n
	}
	for _, e := range entries {
		p.Rows = append(p.Rows, []any{
			time.Duration(e.At).Seconds(), number(kinds, &p.Kinds, e.Kind.String()), number(lanes, &p.Lanes, e.Who), number(lanes, &p.Lanes, e.With),
			e.Packet, e.Region, e.Term, e.Role, e.Text,
		})
	}
	return p
}
