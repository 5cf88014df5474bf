package node

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	t.Setenv(processorsVariable, "7")
	require.Equal(t, before, AddProcessor())
	require.Equal(t, before, runtime.GOMAXPROCS(0), "the environment's stays")
	t.Setenv(processorsVariable, "")
	require.Equal(t, before, AddProcessor())
	require.Equal(t, before+1, runtime.GOMAXPROCS(0))
}
