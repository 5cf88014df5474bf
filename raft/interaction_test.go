package raft_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/raft/rafttest"
)

// TestInteraction plays the scripts of testdata, each of which tells one story; `go test ./raft -run TestInteraction
// -rewrite` writes down what happens now, to be read and compared.
func TestInteraction(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			env := rafttest.NewEnv()
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				return env.Handle(t, *d)
			})
		})
	}
}
