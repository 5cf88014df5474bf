package enginetest

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

func testIngest(t *testing.T, f *fixture) {
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		put(t, f.e, cf, "a", "old", "b", "old", "m", "old", "n", "old", "z", "old")
	}
	also := f.e.NewBatch()
	also.Put(engine.Local, []byte("installed"), []byte("yes"))
	also.Put(engine.Default, []byte("c"), []byte("by the marker's batch")) // Also comes after the data
	var opened []engine.CF
	require.NoError(t, f.e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{
			engine.Write:   {Start: []byte("b"), End: []byte("n")},
			engine.Default: {Start: []byte("b"), End: []byte("n")},
			engine.Lock:    {Start: []byte("b"), End: []byte("n")},
		},
		Open: func(cf engine.CF) (engine.Source, error) {
			opened = append(opened, cf)
			switch cf {
			case engine.Default:
				return source("b", "new", "c", "new", "d", ""), nil
			case engine.Write:
				return source("mm", "new"), nil
			default:
				return nil, nil // nothing, and a literal nil will do
			}
		},
		Also: also,
	}))
	closeAll(t, also)
	require.Equal(t, []engine.CF{engine.Default, engine.Lock, engine.Write}, opened, "families come in order")
	for range 2 {
		require.Equal(t, []string{"a=old", "b=new", "c=by the marker's batch", "d=", "n=old", "z=old"},
			scanNow(t, f.e, engine.Default))
		require.Equal(t, []string{"a=old", "n=old", "z=old"}, scanNow(t, f.e, engine.Lock))
		require.Equal(t, []string{"a=old", "mm=new", "n=old", "z=old"}, scanNow(t, f.e, engine.Write))
		require.Equal(t, []string{"a=old", "b=old", "installed=yes", "m=old", "n=old", "z=old"},
			scanNow(t, f.e, engine.Local))
		f.reopen(t)
	}
	// Later writes go on top of what was ingested.
	write(t, f.e, false, func(b engine.Batch) {
		b.Put(engine.Default, []byte("b"), []byte("newer"))
		b.Delete(engine.Default, []byte("d"))
	})
	require.Equal(t, []string{"a=old", "b=newer", "c=by the marker's batch", "n=old", "z=old"},
		scanNow(t, f.e, engine.Default))
}

func testIngestEmptyAndOpenRanges(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "1", "k", "1", "\xff\xff", "1")
	put(t, f.e, engine.Lock, "", "1", "a", "1")
	// An open range ends with its family; without a source, it is emptied.
	require.NoError(t, f.e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{engine.Default: {Start: []byte("b")}},
	}))
	require.Equal(t, []string{"a=1"}, scanNow(t, f.e, engine.Default))
	require.Equal(t, []string{"=1", "a=1"}, scanNow(t, f.e, engine.Lock))
	// A whole family, from the empty key on.
	require.NoError(t, f.e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{engine.Lock: {}},
		Open:    func(engine.CF) (engine.Source, error) { return source("", "2", "\xff\xff\xff", "2"), nil },
	}))
	require.Equal(t, []string{"=2", "\xff\xff\xff=2"}, scanNow(t, f.e, engine.Lock))
	require.Equal(t, []string{"a=1"}, scanNow(t, f.e, engine.Default))
	// No range at all is only the marker.
	also := f.e.NewBatch()
	also.Put(engine.Local, []byte("m"), []byte("1"))
	require.NoError(t, f.e.Ingest(engine.Ingestion{Also: also}))
	closeAll(t, also)
	require.Equal(t, "1", getNow(t, f.e, engine.Local, "m"))
	require.NoError(t, f.e.Ingest(engine.Ingestion{}))
	// An inverted range is empty.
	require.NoError(t, f.e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{engine.Default: {Start: []byte("b"), End: []byte("a")}},
	}))
	require.Equal(t, []string{"a=1"}, scanNow(t, f.e, engine.Default))
}

func testIngestFailsWhole(t *testing.T, f *fixture) {
	boom := errors.New("boom")
	put(t, f.e, engine.Default, "a", "old", "b", "old")
	put(t, f.e, engine.Write, "a", "old", "b", "old")
	fails := source("a", "new")
	fails.err = boom
	for name, bad := range map[string]struct {
		src *pairs
		err error
	}{
		"out of order":      {src: source("b", "new", "a", "new")},
		"twice the same":    {src: source("a", "new", "a", "new")},
		"outside the range": {src: source("a", "new", "c", "new")},
		"failing source":    {src: fails},
		"no source":         {err: boom},
	} {
		err := f.e.Ingest(engine.Ingestion{
			Replace: map[engine.CF]engine.Range{
				engine.Default: {End: []byte("c")},
				engine.Write:   {End: []byte("c")},
			},
			Open: func(cf engine.CF) (engine.Source, error) {
				if cf == engine.Write {
					return bad.src, bad.err
				}
				return source("x", "new"), bad.err
			},
		})
		require.Error(t, err, name)
		require.Equal(t, []string{"a=old", "b=old"}, scanNow(t, f.e, engine.Default), name)
		require.Equal(t, []string{"a=old", "b=old"}, scanNow(t, f.e, engine.Write), name)
	}
	put(t, f.e, engine.Default, "still", "usable")
	require.NoError(t, f.e.Sync())
}

func testIngestAndSnapshots(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "old", "b", "old")
	require.NoError(t, f.e.Sync())
	f.reopen(t) // so that the old data may lie in a table
	put(t, f.e, engine.Default, "c", "old")
	s := f.e.NewSnapshot()
	require.NoError(t, f.e.Ingest(engine.Ingestion{
		Replace: map[engine.CF]engine.Range{engine.Default: {}},
		Open:    func(engine.CF) (engine.Source, error) { return source("b", "new"), nil },
	}))
	require.Equal(t, []string{"a=old", "b=old", "c=old"}, scan(t, s, engine.Default, engine.IterOptions{}))
	require.Equal(t, "old", get(t, s, engine.Default, "a"))
	require.Equal(t, []string{"b=new"}, scanNow(t, f.e, engine.Default))
	closeAll(t, s)
}

func testCheckpoint(t *testing.T, f *fixture) {
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		put(t, f.e, cf, "k", cf.String())
	}
	dir := filepath.Join(t.TempDir(), "checkpoint")
	require.NoError(t, f.e.Checkpoint(dir))
	require.Error(t, f.e.Checkpoint(dir), "the directory exists")
	put(t, f.e, engine.Default, "k", "later")

	c, err := f.OpenCheckpoint(f.e, dir)
	require.NoError(t, err)
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		require.Equal(t, []string{"k=" + cf.String()}, scanNow(t, c, cf))
	}
	put(t, c, engine.Default, "only", "in the copy")
	require.Equal(t, "<none>", getNow(t, f.e, engine.Default, "only"))
	require.Equal(t, "later", getNow(t, f.e, engine.Default, "k"))
	closeAll(t, c)
}

func testReopen(t *testing.T, f *fixture) {
	for round := range 3 {
		write(t, f.e, true, func(b engine.Batch) { b.Put(engine.Default, fmt.Appendf(nil, "synced%d", round), nil) })
		write(t, f.e, false, func(b engine.Batch) { b.Put(engine.Lock, fmt.Appendf(nil, "by Sync%d", round), nil) })
		require.NoError(t, f.e.Sync())
		write(t, f.e, false, func(b engine.Batch) { b.DeleteRange(engine.Write, nil, nil) })
		f.reopen(t)
		require.Len(t, scanNow(t, f.e, engine.Default), round+1)
		require.Len(t, scanNow(t, f.e, engine.Lock), round+1)
		require.Empty(t, scanNow(t, f.e, engine.Write))
		put(t, f.e, engine.Write, "w", "1")
	}
}

func testClosedEngine(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "k", "v")
	b := f.e.NewBatch()
	b.Put(engine.Default, []byte("late"), []byte("v"))
	old := f.e
	f.reopen(t)
	require.Error(t, b.Commit(false))
	require.Error(t, old.Sync())
	require.Error(t, old.Checkpoint("anywhere"))
	require.Error(t, old.Ingest(engine.Ingestion{}))
	require.Error(t, old.Close(), "closed twice")
	require.Equal(t, []string{"k=v"}, scanNow(t, f.e, engine.Default))
}
