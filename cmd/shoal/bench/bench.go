// Package bench is `shoal bench`: what a cluster does under load, as its clients see it.
//
// Concurrent clients go through the public client library, each in a closed loop: an operation begins when the one before has
// ended. The order of a run is: load the keys that will be read; warm up; measure; with --check, read every key back
// and compare with what was acknowledged. Latencies go into a histogram per client and kind of operation, merged at the end.
//
// Beside operations per second it tells the CPU time that the servers, if they run on this machine, and the client itself spent
// on one operation: a figure that moves with the code and not with what else the machine was doing.
package bench

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pingcap/errors"
	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/rawclient"
)

// Workload says what the clients do.
type Workload string

// The workloads: writes, reads, or each with the probability of one half.
const (
	Write Workload = "write"
	Read  Workload = "read"
	Mixed Workload = "mixed"
)

// Options describe a run.
type Options struct {
	PD        string // schedulers, host:port,…
	Workload  Workload
	Clients   int
	ValueSize int
	Keys      int
	Warmup    time.Duration
	Duration  time.Duration
	// Check gives each key to one client, which compares every value that it reads with what it has written; at the end all
	// are read back.
	Check bool
	// Prefix begins all keys of the run.
	Prefix  string
	Verbose bool
}

// minValue holds a key's number and a version.
const minValue = 16

func (o *Options) validate() error {
	switch {
	case o.Workload != Write && o.Workload != Read && o.Workload != Mixed:
		return errors.Errorf("--workload is %q; it must be write, read or mixed", string(o.Workload))
	case o.Clients < 1 || o.Clients > 100_000:
		return errors.Errorf("--clients is %d; it must be between 1 and 100000", o.Clients)
	case o.ValueSize < minValue || o.ValueSize > 4<<20:
		return errors.Errorf("--value-size is %d; it must be between %d and %d", o.ValueSize, minValue, 4<<20)
	case o.Keys < o.Clients || o.Keys > 100_000_000:
		return errors.Errorf("--keys is %d; it must be between the number of clients (%d) and 100000000", o.Keys, o.Clients)
	case o.Duration <= 0:
		return errors.Errorf("--duration is %v; it must be more than nothing", o.Duration)
	case o.Warmup < 0:
		return errors.Errorf("--warmup is %v; it must not be negative", o.Warmup)
	}
	return nil
}

// Command is `shoal bench`.
func Command() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure a cluster"}
	cmd.AddCommand(rawCommand())
	return cmd
}

func rawCommand() *cobra.Command {
	var o Options
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "raw",
		Short: "Measure raw puts and gets",
		Long: `Measure raw puts and gets of concurrent clients that go through the public client library.

With --check each key belongs to one client, which compares whatever it reads with what it has written; at the end every key is read
back, and the exit code is 1 if an acknowledged write is missing. A write whose outcome the client was not told may have
happened or not.`,
		Example: `  shoal bench raw --workload write --clients 64 --duration 10s
  shoal bench raw --workload mixed --clients 64 --keys 10000 --check --duration 5m
  shoal bench raw --workload read --clients 256 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			r, err := Run(ctx, o)
			if err != nil {
				return err
			}
			if asJSON {
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
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	pd := os.Getenv("SHOAL_PD")
	if pd == "" {
		pd = "127.0.0.1:2379"
	}
	f.StringVar(&o.PD, "pd", pd, "`host:port` of the scheduler; several separated by commas; also by SHOAL_PD")
	f.StringVar((*string)(&o.Workload), "workload", string(Mixed), "what clients `do`: write, read or mixed")
	f.IntVar(&o.Clients, "clients", 64, "`number` of concurrent clients")
	f.IntVar(&o.ValueSize, "value-size", 128, "`bytes` of a value")
	f.IntVar(&o.Keys, "keys", 100_000, "`number` of keys, chosen at random")
	f.DurationVar(&o.Duration, "duration", 10*time.Second, "how long to measure")
	f.DurationVar(&o.Warmup, "warmup", 2*time.Second, "how long to run before")
	f.BoolVar(&o.Check, "check", false, "verify that no acknowledged write is lost")
	f.StringVar(&o.Prefix, "prefix", "bench/", "beginning of all `keys`")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	f.BoolVarP(&o.Verbose, "verbose", "v", false, "show what the client library logs")
	return cmd
}

// Run does one run. When ctx ends before the duration is over, the run ends early, with what was measured so far.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	opening, cancel := context.WithTimeout(ctx, openBy)
	client, err := rawclient.Open(opening, o.PD, o.Verbose)
	cancel()
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }() // all answers are in
	servers, err := findServers(ctx, o.PD)
	if err != nil {
		return nil, err
	}
	return run(ctx, o, client, servers)
}

// openBy is how long connecting may take; a client that reaches nobody tries for longer than a user wants to wait.
const openBy = 15 * time.Second
