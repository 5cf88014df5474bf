package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
)

// A data directory is not to be opened with another engine than its own.
func TestKeepEngine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	require.NoError(t, keepEngine(dir, config.EngineBadger))
	require.NoError(t, keepEngine(dir, config.EngineBadger))
	require.ErrorContains(t, keepEngine(dir, config.EnginePebble), `made with "badger"`)

	old := t.TempDir() // from before there was a choice
	require.NoError(t, os.Mkdir(filepath.Join(old, "raft"), 0o755))
	require.ErrorContains(t, keepEngine(old, config.EngineBadger), `made with "pebble"`)
	require.NoError(t, keepEngine(old, config.EnginePebble))
}
