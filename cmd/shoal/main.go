// Shoal is a sharded, replicated key-value store. This is its one binary: every command is a package of its own below; what
// they are made of is put together here.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/bench"
	"github.com/shoal-kv/shoal/cmd/shoal/ctl"
	"github.com/shoal-kv/shoal/cmd/shoal/playground"
	"github.com/shoal-kv/shoal/cmd/shoal/schedulercmd"
	"github.com/shoal-kv/shoal/cmd/shoal/simcmd"
	"github.com/shoal-kv/shoal/cmd/shoal/storecmd"
	"github.com/shoal-kv/shoal/cmd/shoal/version"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "Error: %v\n", err)
		os.Exit(1)
	}
}

// command is the whole tree.
func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "shoal",
		Short: "A sharded, replicated key-value store",
		Long: `Shoal is a sharded, replicated key-value store that speaks the protocol of TiKV and its placement driver.

Start with "shoal playground", which runs a whole cluster on this machine.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	showVersion := root.Flags().BoolP("version", "V", false, "print the version and exit")
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if *showVersion {
			version.Print(cmd.OutOrStdout())
			return nil
		}
		return cmd.Help()
	}
	root.AddCommand(
		playground.Command(), storecmd.Command(startStore), schedulercmd.Command(), ctl.Command(), bench.Command(),
		simcmd.Command(), version.Command(),
	)
	return root
}
