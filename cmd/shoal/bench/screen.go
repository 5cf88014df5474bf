package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// screen is where a run is watched: lines that stay and, on a terminal, below them a bar that is drawn over and over.
type screen struct {
	w        io.Writer
	terminal bool
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

// clear takes the bar away.
func (s *screen) clear() {
	if s.terminal {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}

func (s *screen) line(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.w, format+"\n", args...)
}

const barWidth = 30

// bar shows how far something has come, on a terminal.
func (s *screen) bar(what string, part float64, left time.Duration) {
	if !s.terminal {
		return
	}
	part = min(max(part, 0), 1)
	full := int(part * barWidth)
	s.clear()
	fmt.Fprintf(s.w, "%s [%s%s] %3.0f%%  %v left", what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), part*100, left.Round(time.Second))
}

const lookAgain = time.Second

// watch writes a line each second until ctx ends.
func (d *driver) watch(ctx context.Context, s *screen) {
	defer s.clear()
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	s.line("%s", d.heading())
	last := time.Duration(0)
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := time.Since(d.began)
		s.line("%s", d.secondLine(now, now-last, d.record.take()))
		last = now
		all := d.Warmup + d.Duration
		s.bar(d.phase(), now.Seconds()/all.Seconds(), max(0, all-now))
	}
}

func (d *driver) phase() string {
	switch {
	case d.until.Load() > 0:
		return "ending"
	case d.from.Load() > 0:
		return "measuring"
	}
	return "warming up"
}

func (d *driver) heading() string {
	text := fmt.Sprintf("%8s %10s %9s %9s %8s", "", "ops/s", "p50 ms", "p99 ms", "errors")
	if d.Rate > 0 {
		text += fmt.Sprintf(" %10s", "backlog")
	}
	return text
}

// secondLine tells what happened in the time up to now.
func (d *driver) secondLine(now, took time.Duration, i interval) string {
	ms := func(q float64) float64 { return float64(i.latency.ValueAtQuantile(q)) / 1000 }
	text := fmt.Sprintf("%8s %10.0f %9.2f %9.2f %8d", now.Round(time.Second), float64(i.done)/took.Seconds(), ms(50), ms(99), i.errors)
	if d.Rate > 0 {
		text += fmt.Sprintf(" %10d", d.backlog(now))
	}
	if phase := d.phase(); phase != "measuring" {
		text += "  (" + phase + ")"
	}
	return text
}
