package engine_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

func TestFamilyNames(t *testing.T) {
	for _, cf := range engine.DataCFs {
		got, ok := engine.ParseCF(cf.String())
		require.True(t, ok)
		require.Equal(t, cf, got)
	}
	got, ok := engine.ParseCF("")
	require.True(t, ok)
	require.Equal(t, engine.Default, got)
	for _, name := range []string{"local", "raft", "unknown", "Default"} {
		_, ok := engine.ParseCF(name)
		require.False(t, ok, name)
	}
	require.Equal(t, "local", engine.Local.String())
	require.Equal(t, "unknown", engine.NumCFs.String())
}

func TestPoisonedErrorKeepsItsCause(t *testing.T) {
	cause := errors.New("fsync: input/output error")
	var err error = &engine.PoisonedError{Cause: cause}
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, cause.Error())
}
