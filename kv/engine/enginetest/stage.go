package enginetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// stage begins an ingestion in an engine that is a Stager; not every engine is one, and then there is nothing to test.
func (f *fixture) stage(t *testing.T, replace map[engine.CF]engine.Range) (engine.Staged, bool) {
	e, ok := f.e.(engine.Stager)
	if !ok {
		return nil, false
	}
	s, err := e.Stage(replace)
	require.NoError(t, err)
	return s, true
}

// What is staged does not show, and replaces what is there when it is committed, not when it was staged.
func testStage(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "old", "b", "old", "n", "old")
	put(t, f.e, engine.Write, "b", "old")
	middle := engine.Range{Start: []byte("b"), End: []byte("n")}
	s, ok := f.stage(t, map[engine.CF]engine.Range{engine.Default: middle, engine.Lock: middle, engine.Write: middle})
	if !ok {
		return
	}
	given, ok := f.stage(t, map[engine.CF]engine.Range{engine.Default: {}}) // two at a time
	require.True(t, ok)
	require.NoError(t, given.Put(engine.Default, []byte("x"), []byte("never")))
	key, value := []byte("c"), []byte("new")
	require.NoError(t, s.Put(engine.Default, key, value))
	key[0], value[0] = 'X', 'X' // they are copied
	require.NoError(t, s.Put(engine.Default, []byte("d"), nil))
	require.NoError(t, s.Put(engine.Write, []byte("m"), []byte("new")))
	require.NoError(t, s.Finish())
	require.NoError(t, given.Finish())
	require.Equal(t, []string{"a=old", "b=old", "n=old"}, scanNow(t, f.e, engine.Default))
	put(t, f.e, engine.Default, "bb", "meanwhile", "c", "meanwhile", "z", "meanwhile")
	put(t, f.e, engine.Lock, "k", "meanwhile")
	given.Discard()
	given.Discard()
	also := f.e.NewBatch()
	also.Put(engine.Local, []byte("installed"), []byte("yes"))
	require.NoError(t, s.Commit(also))
	s.Discard()
	closeAll(t, also)
	for range 2 {
		require.Equal(t, []string{"a=old", "c=new", "d=", "n=old", "z=meanwhile"}, scanNow(t, f.e, engine.Default))
		require.Empty(t, scanNow(t, f.e, engine.Lock))
		require.Equal(t, []string{"m=new"}, scanNow(t, f.e, engine.Write))
		require.Equal(t, []string{"installed=yes"}, scanNow(t, f.e, engine.Local))
		f.reopen(t)
	}
}

// What may not be staged is refused, and what is staged and not committed is gone when the engine is opened again.
func testStageRefuses(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "old")
	type pair struct {
		cf  engine.CF
		key string
	}
	for name, pairs := range map[string][]pair{
		"out of order":        {{engine.Default, "b"}, {engine.Default, "a"}},
		"twice the same":      {{engine.Default, "b"}, {engine.Default, "b"}},
		"outside the range":   {{engine.Default, "c"}},
		"family not replaced": {{engine.Lock, "a"}},
		"family out of turn":  {{engine.Write, "a"}, {engine.Default, "a"}},
	} {
		s, ok := f.stage(t, map[engine.CF]engine.Range{engine.Default: {End: []byte("c")}, engine.Write: {}})
		if !ok {
			return
		}
		var err error
		for i, p := range pairs {
			require.NoError(t, err, name)
			err = s.Put(p.cf, []byte(p.key), fmt.Append(nil, i))
		}
		require.Error(t, err, name)
		s.Discard()
	}
	s, _ := f.stage(t, map[engine.CF]engine.Range{engine.Default: {}})
	require.NoError(t, s.Finish())
	f.reopen(t)
	require.Equal(t, []string{"a=old"}, scanNow(t, f.e, engine.Default))
	require.Error(t, s.Commit(nil), "the engine that it was staged in is closed")
	require.Equal(t, []string{"a=old"}, scanNow(t, f.e, engine.Default))
	put(t, f.e, engine.Default, "still", "usable")
}
