package simcmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows how far a range of seeds is, on a terminal only.
type bar struct{ *progressbar.ProgressBar }

func newBar(w io.Writer, n int) *bar {
	file, ok := w.(*os.File)
	if !ok || n < 2 || !term.IsTerminal(int(file.Fd())) {
		return &bar{}
	}
	return &bar{progressbar.NewOptions(n,
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("seeds"), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
	)}
}

func (b *bar) step() {
	if b.ProgressBar != nil {
		_ = b.Add(1) // a terminal that is gone is no reason to stop
	}
}

func (b *bar) finish() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}

// summary is what a range of seeds came to.
type summary struct {
	began                  time.Time
	seeds, failed          int
	virtual, slowest       time.Duration
	operations, answered   int
	kills, snapshots, cuts int
	regions, changes       int
}

func (s *summary) add(o *outcome) {
	c := &o.result.Counts
	s.seeds++
	if len(o.result.Violations) > 0 {
		s.failed++
	}
	s.virtual += o.result.Virtual
	s.slowest = max(s.slowest, o.result.Healed)
	s.operations += c.Operations
	s.answered += c.Answered
	s.kills += c.Kills
	s.snapshots += c.Snapshots
	s.regions += c.Regions
	s.changes += c.Changes
	s.cuts += c.Cuts
}

// String is the last line of a range of seeds.
func (s *summary) String() string {
	took := time.Since(s.began)
	return fmt.Sprintf("%d seeds, %d with violations: %.0f virtual seconds in %.1f s (%.0f times as fast), %d operations (%d answered), %d kills, %d snapshots, %d regions of %d shapes, healed within %.1f s",
		s.seeds, s.failed, s.virtual.Seconds(), took.Seconds(), s.virtual.Seconds()/took.Seconds(), s.operations, s.answered, s.kills, s.snapshots, s.regions, s.changes, s.slowest.Seconds())
}
