// Package ctl is `shoal ctl`: looking at a cluster and at its data from a shell.
//
// Data goes through the public client, so that what ctl sees is what clients see; stores and regions are asked of the scheduler's
// HTTP API. Answers are tables for people, or JSON for programs with -o json.
package ctl

import (
	"context"
	"encoding/json"
	stderrors "errors"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/pingcap/errors"
	"github.com/spf13/cobra"
)

// options are what all subcommands know.
type options struct {
	pd      string
	output  string
	timeout time.Duration
	verbose bool
}

// endpointsVariable is an environment variable that stands for --pd.
const endpointsVariable = "SHOAL_PD"

// Command is `shoal ctl`.
func Command() *cobra.Command {
	var opts options
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "Look at a cluster and its data",
		Example: `  shoal ctl kv put hello world
  shoal ctl kv scan --prefix he -o json
  shoal ctl store
  shoal ctl member
  shoal ctl --pd 127.0.0.1:2479 region 2`,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if opts.output != "table" && opts.output != "json" {
				return errors.Errorf("-o is %q; it must be table or json", opts.output)
			}
			return nil
		},
	}
	pd := os.Getenv(endpointsVariable)
	if pd == "" {
		pd = "127.0.0.1:2379"
	}
	f := cmd.PersistentFlags()
	f.StringVar(&opts.pd, "pd", pd, "`host:port` of the scheduler; several separated by commas; also by "+endpointsVariable)
	f.StringVarP(&opts.output, "output", "o", "table", "`format` of the answer: table or json")
	f.DurationVar(&opts.timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	f.BoolVarP(&opts.verbose, "verbose", "v", false, "show what the client library logs")
	cmd.AddCommand(kvCommand(&opts), storeCommand(&opts), regionCommand(&opts), memberCommand(&opts))
	return cmd
}

// context ends when the user's patience does.
func (o *options) context(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	return context.WithTimeout(ctx, o.timeout)
}

// explain adds to an error what to do about it.
func (o *options) explain(err error) error {
	if err != nil && stderrors.Is(err, context.DeadlineExceeded) {
		return errors.Annotatef(err, "no answer within %v; `shoal ctl --pd %s store` shows which stores are up, --timeout waits longer", o.timeout, o.pd)
	}
	return err
}

// print writes v as JSON, or as the table that render makes.
func (o *options) print(w io.Writer, v any, render func(t table.Writer)) error {
	if o.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	render(t)
	t.Render()
	return nil
}
