// Package simcmd is `shoal sim`: lives of whole clusters from seeds, in one goroutine each.
package simcmd

import (
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
)

// flags are what the command was told.
type flags struct {
	seed     uint64
	seeds    string
	over     overrides
	faults   string
	replay   string
	shrink   bool
	trace    string
	html     string
	save     string
	json     bool
	parallel int
	limit    time.Duration
}

// overrides take the place of what a seed draws.
type overrides struct {
	duration        time.Duration
	stores, clients int
}

// Command is `shoal sim`.
func Command() *cobra.Command {
	f := &flags{}
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Replay the life of a whole cluster from a seed, with faults, and check it",
		Long: `Runs whole clusters (stores, schedulers, clients, and a network, disks and clocks that fail) in virtual time, each from one seed.

The stores are the product's own code; the same seed of the same version gives the same run, to the byte. What a seed draws (how many
stores, which faults, how strong) is part of it. Every run ends with all faults healed: then the cluster must come right, and the history of its
clients must be linearizable.

One line a seed goes to standard output. The exit status is 1 when something was wrong, and the last line then says how to see it again.`,
		Example: `  shoal sim --seeds 1..200                     # 200 lives
  shoal sim --seed 42                          # one, again
  shoal sim --seed 42 --trace run.txt          # every message, write, role change and fault as text
  shoal sim --seed 42 --html run.html          # the same as a picture, for a browser
  shoal sim --seed 42 --shrink                 # fewer faults, as long as it still fails; writes a file for --replay
  shoal sim --replay sim-42.json --html run.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	p := cmd.Flags()
	p.Uint64Var(&f.seed, "seed", 1, "the `seed` to run")
	p.StringVar(&f.seeds, "seeds", "", "a range of seeds to run, `A..B`, both included")
	p.DurationVar(&f.over.duration, "duration", 0, "virtual time with faults, instead of what the seed draws")
	p.IntVar(&f.over.stores, "stores", 0, "number of stores, instead of what the seed draws")
	p.IntVar(&f.over.clients, "clients", 0, "number of clients, instead of what the seed draws")
	p.StringVar(&f.faults, "faults", "all", "which faults the seed may draw: all, none, or `names` separated by commas (\"help\" lists them)")
	p.StringVar(&f.replay, "replay", "", "run what a `file` says that --save or --shrink wrote")
	p.StringVar(&f.save, "save", "", "write configuration and faults of the run to a `file` for --replay")
	p.BoolVar(&f.shrink, "shrink", false, "when the run fails, look for a smaller one that fails too")
	p.StringVar(&f.trace, "trace", "", "write a timeline as text to a `file` (- for standard error)")
	p.StringVar(&f.html, "html", "", "write a timeline as a self-contained page to a `file`; of a range of seeds, of the first that fails")
	p.BoolVar(&f.json, "json", false, "one JSON object a seed instead of a line")
	p.DurationVar(&f.limit, "for", 0, "begin no further seed after this much real time")
	p.IntVar(&f.parallel, "parallel", runtime.GOMAXPROCS(0), "seeds to run at a time")
	cmd.AddCommand(schedulerCommand())
	return cmd
}

// seedRange reads "A..B".
func seedRange(s string) (from, to uint64, err error) {
	a, b, ok := strings.Cut(s, "..")
	if ok {
		if from, err = strconv.ParseUint(a, 10, 64); err == nil {
			to, err = strconv.ParseUint(b, 10, 64)
		}
	}
	if !ok || err != nil || to < from {
		return 0, 0, errors.Errorf("--seeds %s: expected a range such as 1..200", s)
	}
	return from, to, nil
}
