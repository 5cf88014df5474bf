package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run found.
type Result struct {
	Workload  Workload `json:"workload"`
	Clients   int      `json:"clients"`
	ValueSize int      `json:"value_size"`
	Keys      int      `json:"keys"`
	Seconds   float64  `json:"seconds"`
	// Read and Write are nil when the workload has none.
	Read  *Figures `json:"read,omitempty"`
	Write *Figures `json:"write,omitempty"`
	Total Figures  `json:"total"`
	// FirstError is one of those that Figures count.
	FirstError string `json:"first_error,omitempty"`
	CPU        CPU    `json:"cpu"`
	// SyncsPerSecond is how often the stores together made their raft logs durable.
	SyncsPerSecond float64 `json:"syncs_per_second"`
	// PerOperation is CPU divided by the operations, in microseconds.
	PerOperation struct {
		Servers float64 `json:"servers"`
		Client  float64 `json:"client"`
	} `json:"cpu_us_per_op"`
	Check *Check `json:"check,omitempty"`
}

// Figures tell of one kind of operation. Latencies are in microseconds; Max is the longest wait.
type Figures struct {
	Operations int64   `json:"operations"`
	PerSecond  float64 `json:"per_second"`
	// Errors count the warm-up too: a client that saw an error saw it.
	Errors int64   `json:"errors"`
	Avg    float64 `json:"avg_us"`
	P50    int64   `json:"p50_us"`
	P90    int64   `json:"p90_us"`
	P95    int64   `json:"p95_us"`
	P99    int64   `json:"p99_us"`
	P999   int64   `json:"p99_9_us"`
	Max    int64   `json:"max_us"`
}

func newResult(o Options, took time.Duration, workers []*worker, cpu CPU) *Result {
	r := &Result{Workload: o.Workload, Clients: o.Clients, ValueSize: o.ValueSize, Keys: o.Keys, Seconds: took.Seconds(), CPU: cpu}
	total := hdrhistogram.New(1, longestWait.Microseconds(), 3)
	var errs int64
	for op, into := range []**Figures{opRead: &r.Read, opWrite: &r.Write} {
		merged := hdrhistogram.New(1, longestWait.Microseconds(), 3)
		var opErrors int64
		done := false
		for _, w := range workers {
			if w.hist[op] != nil {
				merged.Merge(w.hist[op])
				opErrors += w.errors[op]
				done = true
			}
		}
		if done {
			*into = figures(merged, opErrors, took)
			total.Merge(merged)
			errs += opErrors
		}
	}
	r.Total = *figures(total, errs, took)
	for _, w := range workers {
		if w.failed != nil && r.FirstError == "" {
			r.FirstError = w.failed.Error()
		}
	}
	if n := float64(r.Total.Operations); n > 0 {
		r.PerOperation.Servers = float64((cpu.Stores + cpu.Scheduler).Microseconds()) / n
		r.PerOperation.Client = float64(cpu.Client.Microseconds()) / n
	}
	return r
}

func figures(h *hdrhistogram.Histogram, errs int64, took time.Duration) *Figures {
	return &Figures{
		Operations: h.TotalCount(),
		PerSecond:  float64(h.TotalCount()) / took.Seconds(),
		Errors:     errs,
		Avg:        h.Mean(),
		P50:        h.ValueAtQuantile(50),
		P90:        h.ValueAtQuantile(90),
		P95:        h.ValueAtQuantile(95),
		P99:        h.ValueAtQuantile(99),
		P999:       h.ValueAtQuantile(99.9),
		Max:        h.Max(),
	}
}

// print writes the result for people.
func (r *Result) print(w io.Writer) error {
	p := &printer{w: w}
	p.f("raw %s, clients: %d, value size: %d, keys: %d, seconds: %.1f\n\n", r.Workload, r.Clients, r.ValueSize, r.Keys, r.Seconds)
	p.f("%-6s %10s %10s %9s %9s %9s %9s %9s %9s %9s  (ms)\n", "", "ops/s", "errors", "Avg", "50th", "90th", "95th", "99th", "99.9th", "Max")
	p.row("read", r.Read)
	p.row("write", r.Write)
	if r.Read != nil && r.Write != nil {
		p.row("total", &r.Total)
	}
	p.f("\n")
	if r.CPU.Known {
		p.f("CPU of an operation: servers %.1f µs, client %.1f µs", r.PerOperation.Servers, r.PerOperation.Client)
		seconds := r.Seconds
		p.f("  (cores: stores %.2f, scheduler %.2f, client %.2f)\n",
			r.CPU.Stores.Seconds()/seconds, r.CPU.Scheduler.Seconds()/seconds, r.CPU.Client.Seconds()/seconds)
		if r.CPU.Gone > 0 {
			p.f("%d server processes ended meanwhile; the last moments of their CPU time are missing\n", r.CPU.Gone)
		}
	} else {
		p.f("CPU of an operation: client %.1f µs (the servers are not all processes of this machine)\n", r.PerOperation.Client)
	}
	if r.SyncsPerSecond > 0 {
		p.f("log syncs of all stores: %.0f/s\n", r.SyncsPerSecond)
	}
	if r.FirstError != "" {
		p.f("first error: %s\n", r.FirstError)
	}
	if c := r.Check; c != nil {
		p.f("check: %d keys read back, %d violations, %d could not be read\n", c.Keys, c.Wrong, c.Unread)
		for _, line := range c.Listed {
			p.f("  %s\n", line)
		}
	}
	return p.err
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
	if f == nil {
		return
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	p.f("%-6s %10.0f %10d %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", name, f.PerSecond, f.Errors, f.Avg/1000,
		ms(f.P50), ms(f.P90), ms(f.P95), ms(f.P99), ms(f.P999), ms(f.Max))
}
