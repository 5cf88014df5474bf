package ctl

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/docker/go-units"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// How often progress is shown: on a terminal as a bar that is drawn again, elsewhere as lines.
const (
	barEvery  = 100 * time.Millisecond
	lineEvery = 10 * time.Second
)

// progress tells a person how an export or import comes along.
type progress struct {
	w     io.Writer
	verb  string // "exported"
	every time.Duration
	bar   *progressbar.ProgressBar // nil where there is no terminal
	quiet bool

	rows, bytes  int64 // of keys and values
	began, shown time.Time
}

// newProgress shows on w; total is the bytes of file to be read, 0 if that is not known.
func newProgress(w io.Writer, verb string, total int64, quiet bool) *progress {
	p := &progress{w: w, verb: verb, quiet: quiet, every: lineEvery, began: time.Now()}
	p.shown = p.began
	file, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	if total == 0 {
		total = -1 // a spinner
	}
	p.every = barEvery
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionSetPredictTime(total > 0), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetSpinnerChangeInterval(0), // it is drawn when there is something to say, by nobody else
		progressbar.OptionSetWidth(20), progressbar.OptionThrottle(0),
	)
	return p
}

// add counts what is done; at is how far the file has been read.
func (p *progress) add(rows int, bytes, at int64) {
	p.rows += int64(rows)
	p.bytes += bytes
	if p.quiet || time.Since(p.shown) < p.every {
		return
	}
	p.shown = time.Now()
	if p.bar == nil {
		fmt.Fprintln(p.w, p.String())
		return
	}
	p.bar.Describe(fmt.Sprintf("%s %d rows, %s", p.verb, p.rows, p.rate()))
	_ = p.bar.Set64(at) // a terminal that cannot be written to
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // likewise
		p.bar = nil
	}
}

// summary ends, and says how it all went.
func (p *progress) summary() {
	p.end()
	if !p.quiet {
		fmt.Fprintln(p.w, p.String())
	}
}

func (p *progress) rate() string {
	return fmt.Sprintf("%.0f rows/s", float64(p.rows)/max(time.Since(p.began).Seconds(), 1e-3))
}

// String is like "exported 1000 rows (1.2MiB of keys and values) in 3.2s, 312 rows/s".
func (p *progress) String() string {
	return fmt.Sprintf("%s %d rows (%s of keys and values) in %v, %s", p.verb, p.rows, units.BytesSize(float64(p.bytes)),
		time.Since(p.began).Round(10*time.Millisecond), p.rate())
}

// outcome is what export and import answer with -o json.
type outcome struct {
	Rows    int64   `json:"rows"`
	Bytes   int64   `json:"bytes"`
	Skipped int64   `json:"skipped,omitempty"`
	DryRun  bool    `json:"dry_run,omitempty"`
	Seconds float64 `json:"seconds"`
}

func (p *progress) outcome() outcome {
	return outcome{Rows: p.rows, Bytes: p.bytes, Seconds: time.Since(p.began).Seconds()}
}
