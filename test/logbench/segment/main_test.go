package segment

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	waitLimit = 30 * time.Second
	waitTick  = time.Millisecond
)

// Close joins everything that was started.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
