package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-kv/shoal/cmd/shoal/version"
)

func main() {
	root := &cobra.Command{Use: "shoal", Short: "A sharded, replicated key-value store", SilenceUsage: true}
	root.AddCommand(version.Command())
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}
