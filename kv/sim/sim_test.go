package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The frame holds if whole lives of a cluster run in one goroutine and the same seed gives the same run twice.
func TestRunsRepeat(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		first := Run(Default(seed), nil)
		require.NoError(t, first.Err())
		require.Greater(t, first.Counts.Answered, 1000, "%+v", first)
		require.Equal(t, first, Run(Default(seed), nil), "seed %d does not repeat itself", seed)
	}
}

func TestSeedsDiffer(t *testing.T) {
	require.NotEqual(t, Run(Default(1), nil).Hash, Run(Default(2), nil).Hash)
}
