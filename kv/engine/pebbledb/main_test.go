package pebbledb_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Close joins everything that was started, also after a failure.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
