package main

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/reference"
	"github.com/shoal-kv/shoal/cmd/shoal/schedulercmd"
	"github.com/shoal-kv/shoal/kv/config"
)

// `make docs` sets it.
var rewrite = flag.Bool("rewrite", false, "write the reference pages in docs/")

// TestReferenceIsCurrent holds the pages in docs/ against what they are made of.
func TestReferenceIsCurrent(t *testing.T) {
	t.Setenv("SHOAL_PD", "") // it is a default
	comments, err := reference.ReadComments("../../kv/config", "../../log", "schedulercmd")
	require.NoError(t, err)
	configuration, err := reference.Configuration(config.Default(), schedulercmd.DefaultConfig(), comments)
	require.NoError(t, err)
	for name, want := range map[string]string{
		"../../docs/commands.md": reference.Commands(command()), "../../docs/configuration.md": configuration,
	} {
		if *rewrite {
			require.NoError(t, os.WriteFile(name, []byte(want), 0o644))
		}
		have, err := os.ReadFile(name)
		require.NoError(t, err, "`make docs` writes it")
		require.Equal(t, want, string(have), "%s is not what the code says any more: `make docs` writes it again", name)
	}
}
