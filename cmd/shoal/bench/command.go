package bench

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command is `shoal bench`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a cluster",
		Long: `Measure a running cluster, through the public client library.

While a run goes on, a line each second on standard error tells its operations per second, latencies and errors; the result
goes to standard output. It ends with the command that does the same run again.`,
	}
	cmd.AddCommand(rawCommand(), ycsbCommand())
	return cmd
}

// loops explains --rate; every kind of run has it.
const loops = `

Without --rate a client begins an operation when the one before has ended: that shows how much the cluster can do. With --rate
operations are due at fixed times whether or not the cluster keeps up, and latencies are counted from then on: that shows what
users would wait. At most --clients operations are under way; when all wait, those that become due wait too (the backlog), and
what was never sent by the end is told. Give enough clients for rate × latency.`

func rawCommand() *cobra.Command {
	var o Raw
	cmd := &cobra.Command{
		Use:   "raw",
		Short: "Measure raw puts and gets",
		Long: `Measure raw puts and gets of keys that are all equally likely.

With --check each key belongs to one client, which compares whatever it reads with what it has written; at the end every key is read
back, and the exit code is 1 if an acknowledged write is missing. A write whose outcome the client was not told may have
happened or not.` + loops,
		Example: `  shoal bench raw --workload write --clients 64 --duration 10s
  shoal bench raw --workload read --rate 2000 --clients 256        # latencies at a fixed rate
  shoal bench raw --workload mixed --clients 64 --keys 10000 --check --duration 5m
  shoal bench raw --workload read --clients 256 -o json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.SortFlags = false
	out := outputFlags(f)
	commonFlags(f, &o.Options, "bench/")
	f.StringVar((*string)(&o.Workload), "workload", string(Mixed), "what clients `do`: write, read or mixed")
	f.IntVar(&o.ValueSize, "value-size", 128, "`bytes` of a value")
	f.IntVar(&o.Keys, "keys", 100_000, "`number` of keys, chosen at random")
	f.BoolVar(&o.Check, "check", false, "verify that no acknowledged write is lost")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return out.run(cmd, args, &o.Options, func(ctx context.Context) (*Result, error) { return RunRaw(ctx, o) })
	}
	return cmd
}

func ycsbCommand() *cobra.Command {
	var o YCSB
	var phase string
	cmd := &cobra.Command{
		Use:   "ycsb a|b|c|d|e|f",
		Short: "Measure one of YCSB's core workloads",
		Long: `Measure one of the core workloads of the Yahoo! Cloud Serving Benchmark, after loading its records:

  a  half reads, half updates                          few records are popular (zipfian)
  b  95 % reads, 5 % updates                           the same
  c  reads                                             the same
  d  95 % reads, 5 % inserts                           the newest records are popular (latest)
  e  95 % scans of 1 to --max-scan records, 5 % inserts  zipfian starts, uniform lengths
  f  half reads, half read-modify-writes               zipfian

A record is one key and one value of --field-count × --field-size bytes, which an update writes as a whole. Keys are hashes, so that
popular records lie anywhere. A read whose record is missing, or is another one, is an error.` + loops,
		Example: `  shoal bench ycsb a
  shoal bench ycsb b --records 1000000 --clients 128 --duration 1m
  shoal bench ycsb c --phase run --rate 5000 --clients 256   # of records that are loaded already
  shoal bench ycsb e --field-count 1 --field-size 100 --max-scan 50 -o json`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"a", "b", "c", "d", "e", "f"},
	}
	f := cmd.Flags()
	f.SortFlags = false
	out := outputFlags(f)
	commonFlags(f, &o.Options, "ycsb/")
	f.IntVar(&o.Records, "records", 100_000, "`number` of records that are loaded")
	f.IntVar(&o.FieldCount, "field-count", 10, "`number` of fields of a record")
	f.IntVar(&o.FieldSize, "field-size", 100, "`bytes` of a field")
	f.IntVar(&o.MaxScan, "max-scan", 100, "greatest `number` of records of a scan")
	f.StringVar(&phase, "phase", "all", "what to `do`: load, run, or all, which is both")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Workload = args[0]
		if o.Load, o.Run = phase != "run", phase != "load"; phase != "all" && phase != "load" && phase != "run" {
			return errors.Errorf("--phase is %q; it must be load, run or all", phase)
		}
		return out.run(cmd, args, &o.Options, func(ctx context.Context) (*Result, error) { return RunYCSB(ctx, o) })
	}
	return cmd
}

func commonFlags(f *pflag.FlagSet, o *Options, prefix string) {
	pd := os.Getenv("SHOAL_PD")
	if pd == "" {
		pd = "127.0.0.1:2379"
	}
	f.StringVar(&o.PD, "pd", pd, "`host:port` of the scheduler; several separated by commas; also by SHOAL_PD")
	f.IntVar(&o.Clients, "clients", 64, "`number` of concurrent clients")
	f.Float64Var(&o.Rate, "rate", 0, "`operations` that are due in a second; 0 for as many as the clients get done")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&o.Warmup, "warmup", 2*time.Second, "how long to run before")
	f.Uint64Var(&o.Seed, "seed", 1, "`number` that decides what the operations are")
	f.StringVar(&o.Prefix, "prefix", prefix, "beginning of all `keys`")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "show what the client library logs")
}

// output says what is shown of a run, and how.
type output struct {
	format string
	quiet  bool
}

// outputFlags are not part of the command that is told to do the run again.
func outputFlags(f *pflag.FlagSet) *output {
	out := &output{}
	f.StringVarP(&out.format, "output", "o", "text", "`format` of the result: text or json")
	f.BoolVarP(&out.quiet, "quiet", "q", false, "nothing while the run goes on")
	return out
}

func (out *output) run(cmd *cobra.Command, args []string, o *Options, run func(context.Context) (*Result, error)) error {
	if out.format != "text" && out.format != "json" {
		return errors.Errorf("--output is %q; it must be text or json", out.format)
	}
	if !out.quiet {
		o.Progress = cmd.ErrOrStderr()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx)
	if err != nil {
		return err
	}
	r.Command = again(cmd, args)
	if out.format == "json" {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.print(cmd.OutOrStdout())
	}
	if err != nil {
		return err
	}
	return r.Check.Err()
}

// again is the command line of a run with every value spelled out, so that it means the same where defaults differ.
func again(cmd *cobra.Command, args []string) string {
	words := append(strings.Fields(cmd.CommandPath()), args...)
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "output", "quiet", "verbose", "help":
			return
		}
		switch value := f.Value.String(); {
		case f.Value.Type() == "bool":
			if value == "true" {
				words = append(words, "--"+f.Name)
			}
		default:
			words = append(words, "--"+f.Name, quote(value))
		}
	})
	return strings.Join(words, " ")
}

// quote makes one word of a value for a shell.
func quote(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./,:=+@%", r)
	}) < 0
	if plain && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
