package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run found.
type Result struct {
	// Command does the same run again.
	Command   string  `json:"command,omitempty"`
	Workload  string  `json:"workload"`
	Clients   int     `json:"clients"`
	Rate      float64 `json:"rate,omitempty"` // asked for
	ValueSize int     `json:"value_size"`
	Keys      int     `json:"keys"`
	Load      *Loaded `json:"load,omitempty"`
	Seconds   float64 `json:"seconds"`
	// Kinds are those of the workload; Total is of all of them.
	Kinds []Figures `json:"kinds,omitempty"`
	Total Figures   `json:"total"`
	// FirstError is one of those that Figures count.
	FirstError string `json:"first_error,omitempty"`
	Cost       Cost   `json:"cost"`
	Check      *Check `json:"check,omitempty"`
}

// Loaded tells of the records that were written before the run.
type Loaded struct {
	Records   int     `json:"records"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"per_second"`
}

// Cost is what the run took of the machines.
type Cost struct {
	CPU CPU `json:"cpu"`
	// Servers and Client are CPU divided by the operations, in microseconds.
	Servers float64 `json:"servers_us_per_op"`
	Client  float64 `json:"client_us_per_op"`
	// SyncsPerSecond is how often the stores together made their raft logs durable.
	SyncsPerSecond float64 `json:"syncs_per_second"`
}

// Figures tell of one kind of operation. Latencies are in microseconds, and of all operations that began, or with a rate were due,
// in the time that was measured, whatever became of them; with a rate they are counted from when the operation was due. Max is
// the longest.
type Figures struct {
	Kind       string  `json:"kind,omitempty"`
	Operations int64   `json:"operations"` // that succeeded in that time
	PerSecond  float64 `json:"per_second"`
	// Errors count the warm-up too: a client that saw an error saw it.
	Errors       int64            `json:"errors"`
	ErrorsByKind map[string]int64 `json:"errors_by_kind,omitempty"`
	// Unsent were due and never began: the target, or the number of clients, was too small for the rate. Of their latencies only
	// the part up to the end of the run is known, and counted.
	Unsent int64   `json:"unsent,omitempty"`
	Avg    float64 `json:"avg_us"`
	P50    int64   `json:"p50_us"`
	P90    int64   `json:"p90_us"`
	P95    int64   `json:"p95_us"`
	P99    int64   `json:"p99_us"`
	P999   int64   `json:"p99_9_us"`
	Max    int64   `json:"max_us"`
}

// newResult leaves out kinds that nothing was done of.
func newResult(o Options, took time.Duration, rec *recorder) *Result {
	r := &Result{Clients: o.Clients, Rate: o.Rate, Seconds: took.Seconds()}
	tallies, failed := rec.sum()
	total := newTally()
	for kind := range tallies {
		t := &tallies[kind]
		total.add(t)
		if t.latency.TotalCount() > 0 || len(t.errors) > 0 {
			r.Kinds = append(r.Kinds, figures(rec.kinds[kind], t, took))
		}
	}
	r.Total = figures("", &total, took)
	if failed != nil {
		r.FirstError = failed.Error()
	}
	return r
}

func figures(kind string, t *tally, took time.Duration) Figures {
	return Figures{
		Kind:         kind,
		Operations:   t.done,
		PerSecond:    float64(t.done) / took.Seconds(),
		Errors:       t.failures(),
		ErrorsByKind: t.errors,
		Unsent:       t.unsent,
		Avg:          t.latency.Mean(),
		P50:          t.latency.ValueAtQuantile(50),
		P90:          t.latency.ValueAtQuantile(90),
		P95:          t.latency.ValueAtQuantile(95),
		P99:          t.latency.ValueAtQuantile(99),
		P999:         t.latency.ValueAtQuantile(99.9),
		Max:          longest(t.latency),
	}
}

// longest is 0 when there is nothing.
func longest(h *hdrhistogram.Histogram) int64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return h.Max()
}

// spent adds what the run cost.
func (r *Result) spent(cpu CPU, syncs float64) {
	r.Cost = Cost{CPU: cpu, SyncsPerSecond: syncs / r.Seconds}
	if n := float64(r.Total.Operations); n > 0 {
		r.Cost.Servers = float64((cpu.Stores + cpu.Scheduler).Microseconds()) / n
		r.Cost.Client = float64(cpu.Client.Microseconds()) / n
	}
}

// Of returns the figures of a kind of operation; nil when nothing was done of it.
func (r *Result) Of(kind string) *Figures {
	for i := range r.Kinds {
		if r.Kinds[i].Kind == kind {
			return &r.Kinds[i]
		}
	}
	return nil
}

// print writes the result for people.
func (r *Result) print(w io.Writer) error {
	p := &printer{w: w}
	p.f("%s, clients: %d, value size: %d, keys: %d", r.Workload, r.Clients, r.ValueSize, r.Keys)
	if r.Rate > 0 {
		p.f(", rate: %g/s", r.Rate)
	}
	if r.Seconds > 0 {
		p.f(", seconds: %.1f", r.Seconds)
	}
	p.f("\n")
	if l := r.Load; l != nil {
		p.f("loaded %d records in %.1f s: %.0f/s\n", l.Records, l.Seconds, l.PerSecond)
	}
	if r.Seconds > 0 {
		r.printFigures(p)
	}
	if c := r.Check; c != nil {
		p.f("check: %d keys read back, %d violations, %d could not be read\n", c.Keys, c.Wrong, c.Unread)
		for _, line := range c.Listed {
			p.f("  %s\n", line)
		}
	}
	if r.Command != "" {
		p.f("again: %s\n", r.Command)
	}
	return p.err
}

func (r *Result) printFigures(p *printer) {
	p.f("\n%-6s %10s %10s %9s %9s %9s %9s %9s %9s %9s  (ms)\n", "", "ops/s", "errors", "Avg", "50th", "90th", "95th", "99th", "99.9th", "Max")
	for i := range r.Kinds {
		p.row(r.Kinds[i].Kind, &r.Kinds[i])
	}
	if len(r.Kinds) != 1 {
		p.row("total", &r.Total)
	}
	p.f("\n")
	if n := r.Total.Unsent; n > 0 {
		p.f("not kept up: %d operations were due and never sent; what they had waited at the end counts above\n", n)
	}
	if len(r.Total.ErrorsByKind) > 0 {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(r.Total.ErrorsByKind)) {
			kinds = append(kinds, fmt.Sprintf("%d %s", r.Total.ErrorsByKind[kind], kind))
		}
		p.f("errors: %s\nfirst error: %s\n", strings.Join(kinds, ", "), r.FirstError)
	}
	r.Cost.show(p, r.Seconds)
}

func (c *Cost) show(p *printer, seconds float64) {
	if c.CPU.Known {
		p.f("CPU of an operation: servers %.1f µs, client %.1f µs", c.Servers, c.Client)
		p.f("  (cores: stores %.2f, scheduler %.2f, client %.2f)\n",
			c.CPU.Stores.Seconds()/seconds, c.CPU.Scheduler.Seconds()/seconds, c.CPU.Client.Seconds()/seconds)
		if c.CPU.Gone > 0 {
			p.f("%d server processes ended meanwhile; the last moments of their CPU time are missing\n", c.CPU.Gone)
		}
	} else {
		p.f("CPU of an operation: client %.1f µs (the servers are not all processes of this machine)\n", c.Client)
	}
	if c.SyncsPerSecond > 0 {
		p.f("log syncs of all stores: %.0f/s\n", c.SyncsPerSecond)
	}
}

// printer remembers the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) row(name string, f *Figures) {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	p.f("%-6s %10.0f %10d %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, f.PerSecond, f.Errors, f.Avg/1000,
		ms(f.P50), ms(f.P90), ms(f.P95), ms(f.P99), ms(f.P999), ms(f.Max))
}
