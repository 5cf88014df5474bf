package ctl

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/shell"
	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

func shellCommand(opts *options) *cobra.Command {
	var keepGoing bool
	cmd := &cobra.Command{
		Use:   "shell",
		Short: "Type commands one after the other, with history and completion",
		Long: `Type commands one after the other, with history and completion, over one
connection.

A line is any "shoal ctl" command without those two words: kv get hello. The
flags given to the shell itself hold for all lines that do not say otherwise.
Words with blanks go between '…' or "…"; a backslash may stand as it is (kv get
a\x00b); # begins a comment. There are no pipes and no redirections.

Tab completes commands, flags, and ids of stores and regions. Ctrl-C ends the
running command, exit or Ctrl-D the shell. History is kept in
~/.local/state/shoal/ctl_history (or below $XDG_STATE_HOME), except for lines
that begin with a blank.

When standard input is no terminal, its lines are run as a script: it stops at
the first command that fails, with exit code 1, unless told to --keep-going.`,
		Example: `  shoal ctl shell
  shoal ctl shell --pd 127.0.0.1:2479 -o json
  shoal ctl shell < script
  printf 'kv put a 1\nkv get a\n' | shoal ctl shell`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			shared := *opts
			shared.connection = &connection{keep: true}
			defer shared.connection.close()
			s := shell.Shell{Tree: shared.shellTree, Completing: offerFlagValues, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			if in, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
				shared.greet(ctx, cmd)
				return s.Terminal(ctx, "shoal> ", historyFile())
			}
			return s.Script(ctx, cmd.InOrStdin(), keepGoing)
		},
	}
	cmd.Flags().BoolVar(&keepGoing, "keep-going", false, "run a script to its end, and fail then if any command failed")
	return cmd
}

// shellTree is the commands for one line; the shell's own flags are their defaults.
func (o *options) shellTree() *cobra.Command {
	cmd, _ := tree(*o)
	cmd.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "shoal ctl"}
	return cmd
}

// greet says whether there is a cluster, and how to begin.
func (o *options) greet(ctx context.Context, cmd *cobra.Command) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	api, err := pdapi.New(o.pd)
	var stores []pdapi.Store
	if err == nil {
		stores, err = api.Stores(ctx)
	}
	if err != nil {
		cmd.PrintErrf("%v\n", err)
	} else {
		up := 0
		for _, s := range stores {
			if s.Store.StateName == "Up" {
				up++
			}
		}
		cmd.PrintErrf("The cluster at %s has %d stores, %d of them up.\n", o.pd, len(stores), up)
	}
	cmd.PrintErrln(`"help" lists the commands, Tab completes, Ctrl-D leaves.`)
}

// historyFile is where the shell's lines are kept; empty if the user has no home.
func historyFile() string {
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "shoal", "ctl_history")
}
