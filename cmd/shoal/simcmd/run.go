package simcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"golang.org/x/sys/unix"

	"github.com/shoal-kv/shoal/kv/sim"
	"github.com/shoal-kv/shoal/kv/sim/timeline"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// outcome is what became of one seed.
type outcome struct {
	story  sim.Replay
	result sim.Result
	cpu    time.Duration
}

// run is the command.
// collectAt is by how much the heap may grow, in percent, before it is collected: a quarter of the time of a run goes into that otherwise.
const collectAt = 1000

func (f *flags) run(out, progress io.Writer) error {
	if f.faults == "help" {
		fmt.Fprintln(out, strings.Join(sim.Nemeses(), "\n"))
		return nil
	}
	if err := f.check(); err != nil {
		return err
	}
	stories, n, err := f.stories()
	if err != nil {
		return err
	}
	debug.SetGCPercent(collectAt) // a run's heap is small and its garbage much
	failed, err := f.playAll(stories, n, out, progress)
	if err != nil {
		return err
	}
	one := failed
	if one == nil && n == 1 {
		one = &outcome{story: stories(0)}
	}
	if one == nil {
		return nil
	}
	if failed != nil && f.shrink {
		f.smaller(failed, progress)
	}
	if err := f.write(one, progress); err != nil {
		return err
	}
	if failed != nil {
		return errors.Errorf("%s\nto see it again: %s", failed.result.Violations[0], f.again(failed))
	}
	return nil
}

func (f *flags) check() error {
	known := sim.Nemeses()
	for _, name := range f.names() {
		if !slices.Contains(known, name) {
			return errors.Errorf("--faults: there is no fault called %q; there are: %s", name, strings.Join(known, ", "))
		}
	}
	switch {
	case f.replay != "" && f.seeds != "":
		return errors.New("--replay plays one run: leave --seeds out")
	case f.parallel < 1:
		return errors.New("--parallel must be at least 1")
	case f.over.stores < 0 || f.over.stores > maxStores:
		return errors.Errorf("--stores must lie between 1 and %d", maxStores)
	}
	return nil
}

// maxStores bounds a simulated cluster: what is worth simulating shows in a few stores.
const maxStores = 15

// names are the faults that were chosen; nil for all.
func (f *flags) names() []string {
	switch f.faults {
	case "all", "none", "":
		return nil
	}
	return strings.Split(f.faults, ",")
}

// stories are the runs to be played, and how many there are.
func (f *flags) stories() (story func(i int) sim.Replay, n int, err error) {
	if f.replay != "" {
		b, err := os.ReadFile(f.replay)
		if err != nil {
			return nil, 0, err
		}
		r, err := sim.ReadReplay(b)
		if err != nil {
			return nil, 0, errors.Annotatef(err, "--replay %s", f.replay)
		}
		return func(int) sim.Replay { return *r }, 1, nil
	}
	from, to := f.seed, f.seed
	if f.seeds != "" {
		if from, to, err = seedRange(f.seeds); err != nil {
			return nil, 0, err
		}
	}
	return func(i int) sim.Replay { return f.draw(from + uint64(i)) }, int(to - from + 1), nil
}

// draw is what a seed draws, with what the user wants instead.
func (f *flags) draw(seed uint64) sim.Replay {
	cfg := sim.Draw(seed)
	if f.over.duration > 0 {
		cfg.Duration = f.over.duration
	}
	if f.over.stores > 0 {
		cfg.Stores = f.over.stores
		cfg.Replicas = min(cfg.Replicas, cfg.Stores)
	}
	if f.over.clients > 0 {
		cfg.Clients = f.over.clients
	}
	if f.faults == "none" {
		cfg.Faults, cfg.Weather = nil, world.Fair
	}
	if names := f.names(); names != nil {
		for name := range cfg.Faults { // order-free: each is judged by itself
			if !slices.Contains(names, name) {
				delete(cfg.Faults, name)
			}
		}
	}
	return sim.Replay{Config: cfg, Steps: sim.Plan(cfg)}
}

// playAll plays the runs, several at a time, tells of each in its turn, and returns the first that failed.
func (f *flags) playAll(story func(int) sim.Replay, n int, out, progress io.Writer) (failed *outcome, err error) {
	waiting := make(chan chan outcome, f.parallel-1) // one more is being waited for
	done := make(chan struct{})
	defer close(done)
	began := time.Now()
	go func() {
		defer close(waiting)
		for i := range n {
			if f.limit > 0 && time.Since(began) > f.limit {
				return
			}
			ready := make(chan outcome, 1)
			select {
			case waiting <- ready:
				go func() { ready <- play(story(i)) }()
			case <-done:
				return
			}
		}
	}()
	bar := newBar(progress, n)
	defer bar.finish()
	sum := summary{began: began}
	for ready := range waiting {
		o := <-ready
		sum.add(&o)
		if err := f.tell(out, &o); err != nil {
			return nil, err
		}
		bar.step()
		if len(o.result.Violations) > 0 && failed == nil {
			failed = &o
		}
	}
	if n > 1 {
		bar.finish()
		fmt.Fprintln(progress, sum.String())
	}
	return failed, nil
}

func play(story sim.Replay) outcome {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	r := sim.Play(story.Config, story.Steps, nil)
	story.Hash = r.Hash
	return outcome{story: story, result: r, cpu: threadTime() - began}
}

// threadTime is the CPU time of this thread: of one run, without what the garbage collector does beside it.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tell writes a seed's line.
func (f *flags) tell(out io.Writer, o *outcome) error {
	r := &o.result
	if f.json {
		return json.NewEncoder(out).Encode(struct {
			Seed       uint64     `json:"seed"`
			Hash       string     `json:"hash"`
			Violations []string   `json:"violations"`
			Virtual    float64    `json:"virtual"`
			CPU        float64    `json:"cpu"`
			Healed     float64    `json:"healed"`
			Counts     sim.Counts `json:"counts"`
		}{r.Seed, fmt.Sprintf("%016x", r.Hash), append([]string{}, r.Violations...), r.Virtual.Seconds(), o.cpu.Seconds(), r.Healed.Seconds(), r.Counts})
	}
	_, err := fmt.Fprintf(out, "seed=%d hash=%016x violations=%d virtual=%.1f cpu=%.2f\n", r.Seed, r.Hash, len(r.Violations), r.Virtual.Seconds(), o.cpu.Seconds())
	return err
}

// smaller shrinks a story that failed.
func (f *flags) smaller(o *outcome, progress io.Writer) {
	const budget = 400
	fmt.Fprintf(progress, "shrinking: %d faults\n", len(o.story.Steps))
	s := sim.Shrinking{
		Fails: func(r sim.Result) bool { return len(r.Violations) > 0 }, Budget: budget,
		Progress: func(runs, steps int) {
			if runs%20 == 0 {
				fmt.Fprintf(progress, "  %d runs: %d faults left\n", runs, steps)
			}
		},
	}
	o.story.Config, o.story.Steps = s.Shrink(o.story.Config, o.story.Steps)
	o.result = sim.Play(o.story.Config, o.story.Steps, nil)
	o.story.Hash = o.result.Hash
	fmt.Fprintf(progress, "shrunk to %d faults in %s:\n", len(o.story.Steps), o.story.Config.Duration)
	for _, step := range o.story.Steps {
		fmt.Fprintf(progress, "  %s\n", step)
	}
	if f.save == "" {
		f.save = fmt.Sprintf("sim-%d.json", o.story.Config.Seed)
	}
}

// write writes the files that were asked for, about one run, which is played again with somebody listening.
func (f *flags) write(o *outcome, progress io.Writer) error {
	if f.save != "" {
		b, err := o.story.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(f.save, append(b, '\n'), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(progress, "saved: %s\n", f.save)
	}
	if f.trace == "" && f.html == "" {
		return nil
	}
	var rec timeline.Recorder
	sink, closeTrace, err := f.openTrace(progress, &rec)
	if err != nil {
		return err
	}
	r := sim.Play(o.story.Config, o.story.Steps, sink)
	if err := closeTrace(); err != nil {
		return err
	}
	return f.writePage(o, &r, &rec, progress)
}

func (f *flags) openTrace(progress io.Writer, rec *timeline.Recorder) (sink func(world.Entry), end func() error, err error) {
	if f.trace == "" {
		return rec.Take, func() error { return nil }, nil
	}
	w, closeFile := progress, func() error { return nil }
	if f.trace != "-" {
		file, err := os.Create(filepath.Clean(f.trace))
		if err != nil {
			return nil, nil, err
		}
		w, closeFile = file, file.Close
	}
	var failed error
	return func(e world.Entry) {
			rec.Take(e)
			if err := timeline.WriteText(w, e); failed == nil {
				failed = err
			}
		}, func() error {
			if err := closeFile(); failed == nil {
				failed = err
			}
			return failed
		}, nil
}

func (f *flags) writePage(o *outcome, r *sim.Result, rec *timeline.Recorder, progress io.Writer) error {
	if f.html == "" {
		return nil
	}
	file, err := os.Create(filepath.Clean(f.html))
	if err != nil {
		return err
	}
	head := timeline.Page{
		Title:   fmt.Sprintf("Seed %d", r.Seed),
		Lines:   append([]string{o.story.Config.String()}, r.Violations...),
		Dropped: rec.Dropped,
	}
	head.Lines = append(head.Lines, "To see it again: "+f.again(o))
	err = timeline.WriteHTML(file, head, rec.Entries())
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		fmt.Fprintf(progress, "page: %s\n", f.html)
	}
	return err
}

// again is the command line that plays a run again.
func (f *flags) again(o *outcome) string {
	switch {
	case f.save != "":
		return "shoal sim --replay " + f.save
	case f.replay != "":
		return "shoal sim --replay " + f.replay
	}
	line := fmt.Sprintf("shoal sim --seed %d", o.story.Config.Seed)
	if f.over.duration > 0 {
		line += " --duration " + f.over.duration.String()
	}
	if f.over.stores > 0 {
		line += fmt.Sprintf(" --stores %d", f.over.stores)
	}
	if f.over.clients > 0 {
		line += fmt.Sprintf(" --clients %d", f.over.clients)
	}
	if f.faults != "all" {
		line += " --faults " + f.faults
	}
	return line
}
