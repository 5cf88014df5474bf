package raft_test

import (
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/shoal-kv/shoal/raft/rafttest"
)

// TestInteraction plays the scripts of testdata, each of which tells one story; `go test ./raft -run TestInteraction
// -rewrite` writes down what happens now, to be read and compared.
func TestInteraction(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		env := rafttest.NewEnv()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return env.Handle(t, *d)
		})
	})
}
