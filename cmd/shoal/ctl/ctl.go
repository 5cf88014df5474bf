// Package ctl is `shoal ctl`: looking at a cluster and at its data from a shell, and steering it.
//
// Data goes through the public client, so that what ctl sees is what clients see; everything else is asked of the scheduler's
// HTTP API (act.go), a file or two for each family of commands. Answers are tables for people (table.go), or JSON for programs with -o json. An error
// says what to do next (advice.go), and Tab offers what there is (complete.go).
//
// The same tree of commands serves the command line, where it is built once and every command opens a connection of its own, and
// `shoal ctl shell`, where it is built for every line and the lines share a connection.
package ctl

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// options are what all subcommands know.
type options struct {
	pd         string
	output     output
	timeout    time.Duration
	verbose    bool
	connection *connection
}

// endpointsVariable is an environment variable that stands for --pd.
const endpointsVariable = "SHOAL_PD"

// usualPD is where a scheduler is unless it was told otherwise.
const usualPD = "127.0.0.1:2379"

// Command is `shoal ctl`.
func Command() *cobra.Command {
	defaults := options{pd: os.Getenv(endpointsVariable), output: asTable, timeout: 10 * time.Second, connection: &connection{}}
	if defaults.pd == "" {
		defaults.pd = usualPD
	}
	cmd, opts := tree(defaults)
	cmd.AddCommand(shellCommand(opts))
	offerFlagValues(cmd)
	return cmd
}

// tree is all commands but the shell; the options are theirs, and hold what the flags say once one of them runs.
func tree(defaults options) (*cobra.Command, *options) {
	opts := &defaults
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "Look at a cluster and its data, and steer it",
		Long: `Look at a cluster and its data, and steer it.

All commands find the cluster by the address of its scheduler: --pd, or the
environment variable ` + endpointsVariable + `, or where "shoal playground" has it by default.`,
		Example: `  shoal ctl kv put hello world
  shoal ctl kv scan --prefix he -o json
  shoal ctl kv export backup.csv
  shoal ctl store
  shoal ctl region --key hello
  shoal ctl --pd 127.0.0.1:2479 member
  shoal ctl shell`,
		Args:              onlySubcommands,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              help,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&opts.pd, "pd", opts.pd, "`host:port` of the scheduler; several separated by commas; also by "+endpointsVariable)
	f.VarP(&opts.output, "output", "o", "how to answer: table or json")
	f.DurationVar(&opts.timeout, "timeout", opts.timeout, "how long to wait for an answer")
	f.BoolVarP(&opts.verbose, "verbose", "v", opts.verbose, "show what the client library logs")
	cmd.AddCommand(
		kvCommand(opts), storeCommand(opts), regionCommand(opts), operatorCommand(opts), schedulerCommand(opts), configCommand(opts), placementCommand(opts),
		hotCommand(opts), explainCommand(opts), memberCommand(opts), consistencyCommand(opts), recoverCommand(opts),
	)
	return cmd, opts
}

// output is how answers look.
type output string

const (
	asTable output = "table"
	asJSON  output = "json"
)

// String, Set and Type make it a flag.
func (o *output) String() string { return string(*o) }

// Set refuses what is not known.
func (o *output) Set(name string) error {
	if name != string(asTable) && name != string(asJSON) {
		return errors.New("it must be table or json")
	}
	*o = output(name)
	return nil
}

// Type is what help texts call the flag's value.
func (o *output) Type() string { return "format" }

// interruptible ends when the user asks for it by Ctrl-C. A second Ctrl-C does what it always does, in case nobody heeds the first.
func (o *options) interruptible(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// context ends when the user's patience does, too.
func (o *options) context(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx, stop := o.interruptible(cmd)
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	return ctx, func() { cancel(); stop() }
}

// print writes v as JSON, or as the table that render makes.
func (o *options) print(w io.Writer, v any, render func(t table.Writer)) error {
	if o.output == asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			t.Style().Box.UnfinishedRow = "…" // a person sees that there is more; JSON, and a pipe, have all of it
			t.Style().Size.WidthMax = width
		}
	}
	render(t)
	t.Render()
	return nil
}
