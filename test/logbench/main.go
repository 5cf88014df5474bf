// Logbench measures the raft log under the load that the log writer makes: what a byte and an entry cost, how fast it is, and how long syncs
// take while old log is deleted. It runs the product's log, through the interface that the product uses, and beside it the prototype of
// another one (package segment), so that the choice between them rests on figures: docs/logstore.md tells them.
//
// A run is a process of its own: CPU, memory and bytes written are the kernel's figures for it. Its order is: fill each region's log, run for a while
// unmeasured, measure, close, open again and see that every region's log is there.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/pingcap/errors"
)

// plan is what a call of the program is to measure.
type plan struct {
	logs, regions, sizes string
	skewed               bool
	rounds               int
	output               string
	dir                  string
	child, profile       string
	base                 scenario
}

func main() {
	var p plan
	flag.StringVar(&p.logs, "logs", "pebble,segment", "which logs")
	flag.StringVar(&p.regions, "regions", "1,48,1000", "how many regions there are")
	flag.StringVar(&p.sizes, "sizes", "128,1024,16384", "bytes of an entry")
	flag.BoolVar(&p.skewed, "skewed", true, "also 1000 regions of which one in ten gets nearly all entries")
	flag.IntVar(&p.rounds, "rounds", 1, "how often each is measured; the figures are medians")
	flag.StringVar(&p.output, "o", "text", "text (markdown) or json")
	flag.StringVar(&p.dir, "dir", "", "an empty directory on the disk to measure; default a temporary one")
	flag.IntVar(&p.base.Keep, "keep", 1000, "entries that a region keeps, about")
	flag.Int64Var(&p.base.LiveBytes, "live", 256<<20, "bytes that all regions together keep at most, about")
	flag.Int64Var(&p.base.SegmentBytes, "segment", 32<<20, "bytes of a segment")
	flag.IntVar(&p.base.MemTableBytes, "memtable", 0, "bytes of pebble's memtables; 0 is what the product has")
	flag.StringVar(&p.profile, "cpuprofile", "", "a file for the CPU profile of the last run")
	flag.DurationVar(&p.base.Warmup, "warmup", time.Second, "how long to run before measuring")
	flag.DurationVar(&p.base.Duration, "duration", 3*time.Second, "how long to measure")
	flag.StringVar(&p.child, "run", "", "the one scenario to run, as JSON; for the program's own use")
	flag.Parse()
	if err := p.carryOut(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "logbench:", err)
		os.Exit(1)
	}
}

func (p *plan) carryOut(out io.Writer) error {
	if p.output != "text" && p.output != "json" {
		return errors.Errorf("-o is %q; it must be text or json", p.output)
	}
	if p.child != "" {
		var s scenario
		if err := json.Unmarshal([]byte(p.child), &s); err != nil {
			return errors.Trace(err)
		}
		stop, err := p.startProfile()
		if err != nil {
			return err
		}
		r, err := run(s, p.dir)
		stop()
		if err != nil {
			return err
		}
		return errors.Trace(json.NewEncoder(out).Encode(r))
	}
	scenarios, err := p.scenarios()
	if err != nil {
		return err
	}
	var results []result
	for round := range p.rounds {
		for _, s := range scenarios {
			r, err := p.measure(s)
			if err != nil {
				return errors.Annotatef(err, "%+v", s)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s: %.0f entries/s\n", round+1, p.rounds, s.Log, s.name(), r.EntriesPerSecond)
			results = append(results, r)
		}
	}
	if p.output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return errors.Trace(enc.Encode(results))
	}
	printTables(out, results)
	return nil
}

// scenarios lists the logs under one load one after the other: what else the machine does meets both.
func (p *plan) scenarios() ([]scenario, error) {
	var list []scenario
	add := func(regions, size int, skewed bool) {
		for log := range strings.SplitSeq(p.logs, ",") {
			s := p.base
			s.Log, s.Regions, s.Size, s.Skewed = log, regions, size, skewed
			list = append(list, s)
		}
	}
	for r := range strings.SplitSeq(p.regions, ",") {
		for b := range strings.SplitSeq(p.sizes, ",") {
			regions, err := strconv.Atoi(r)
			if err != nil || regions < 1 {
				return nil, errors.Errorf("-regions: %q is no number of regions", r)
			}
			size, err := strconv.Atoi(b)
			if err != nil || size < 1 {
				return nil, errors.Errorf("-sizes: %q is no number of bytes", b)
			}
			add(regions, size, false)
		}
	}
	if p.skewed {
		add(1000, 1024, true)
	}
	return list, nil
}

// measure runs one scenario in a process of its own, in a directory of its own.
func (p *plan) measure(s scenario) (r result, err error) {
	dir, err := os.MkdirTemp(p.dir, "logbench-")
	if err != nil {
		return r, errors.Trace(err)
	}
	defer func() {
		if e := os.RemoveAll(dir); err == nil {
			err = errors.Trace(e)
		}
	}()
	text, err := json.Marshal(s)
	if err != nil {
		return r, errors.Trace(err)
	}
	self, err := os.Executable()
	if err != nil {
		return r, errors.Trace(err)
	}
	cmd := exec.Command(self, "-dir", dir, "-cpuprofile", p.profile, "-run", string(text))
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return r, errors.Trace(err)
	}
	return r, errors.Trace(json.Unmarshal(answer, &r))
}

// startProfile begins the CPU profile that was asked for, if any.
func (p *plan) startProfile() (stop func(), err error) {
	if p.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(p.profile)
	if err != nil {
		return nil, errors.Trace(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Trace(err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}
