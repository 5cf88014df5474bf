// Package version knows what this binary was built from. The Makefile stamps it at link time; a binary that was built by
// hand says "unknown" rather than guess.
package version

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Release is the version of Shoal, edition the flavour that its family's tools expect to read.
const (
	Release = "0.1.0"
	edition = "Community"
)

// Stamped by the linker: see LDFLAGS in the Makefile.
var (
	gitHash   = "unknown"
	gitBranch = "unknown"
	buildTime = "unknown"
)

// Hash is the commit that the binary was built from.
func Hash() string { return gitHash }

// Print writes the version as a block of "Name: value" lines.
func Print(w io.Writer) {
	fmt.Fprintf(w, "Release Version:   %s\n", Release)
	fmt.Fprintf(w, "Edition:           %s\n", edition)
	fmt.Fprintf(w, "Git Commit Hash:   %s\n", gitHash)
	fmt.Fprintf(w, "Git Commit Branch: %s\n", gitBranch)
	fmt.Fprintf(w, "UTC Build Time:    %s\n", buildTime)
}

// Command is `shoal version`.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary was built from",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { Print(cmd.OutOrStdout()) },
	}
}
