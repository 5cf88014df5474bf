package enginetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

func testIteratorDirections(t *testing.T, f *fixture) {
	put(t, f.e, engine.Lock, "\xff", "not in this family")
	put(t, f.e, engine.Write, "a", "1", "c", "2", "e", "3", "g", "4")
	put(t, f.e, engine.Local, "", "nor in this one")
	s := f.e.NewSnapshot()
	it, err := s.NewIterator(engine.Write, engine.IterOptions{})
	require.NoError(t, err)
	defer closeAll(t, it, s)
	at := func(want string, ok bool) {
		t.Helper()
		if want == "" {
			require.False(t, ok)
			return
		}
		require.True(t, ok)
		require.Equal(t, want, string(it.Key())+string(it.Value()))
	}
	at("a1", it.SeekGE(nil))
	at("a1", it.SeekGE([]byte{}))
	at("c2", it.SeekGE([]byte("b")))
	at("c2", it.SeekGE([]byte("c")))
	at("", it.SeekGE([]byte("h")))
	at("g4", it.SeekLT(nil))
	at("g4", it.SeekLT([]byte("h")))
	at("e3", it.SeekLT([]byte("g")))
	at("", it.SeekLT([]byte("a")))

	at("a1", it.SeekGE(nil)) // there and back, past no end
	at("c2", it.Next())
	at("a1", it.Prev())
	at("c2", it.Next())
	at("e3", it.Next())
	at("g4", it.Next())
	at("e3", it.Prev())
	at("g4", it.Next())
	at("", it.Next())

	at("e3", it.SeekLT([]byte("f"))) // switch after a backward seek
	at("g4", it.Next())
	at("e3", it.Prev())
	at("c2", it.Prev())
	at("e3", it.Next())
	at("c2", it.Prev())
	at("a1", it.Prev())
	at("", it.Prev())
	at("a1", it.SeekGE([]byte("a"))) // still usable
}

func testIteratorBounds(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "1", "c", "2", "e", "3", "g", "4")
	s := f.e.NewSnapshot()
	defer closeAll(t, s)
	open := func(lower, upper string, keyOnly bool) engine.Iterator {
		it, err := s.NewIterator(engine.Default,
			engine.IterOptions{Lower: []byte(lower), Upper: []byte(upper), KeyOnly: keyOnly})
		require.NoError(t, err)
		return it
	}
	for _, c := range []struct{ lower, upper, want string }{
		{"", "", "aceg"},
		{"c", "", "ceg"},
		{"b", "g", "ce"},
		{"c", "g\x00", "ceg"},
		{"", "a", ""},
		{"d", "e", ""},
		{"h", "", ""},
		{"e", "c", ""}, // inverted: empty
		{"c", "c", ""},
	} {
		for _, keyOnly := range []bool{false, true} {
			it := open(c.lower, c.upper, keyOnly)
			var forward, backward string
			for ok := it.SeekGE(nil); ok; ok = it.Next() {
				forward += string(it.Key())
			}
			for ok := it.SeekLT(nil); ok; ok = it.Prev() {
				backward = string(it.Key()) + backward
			}
			closeAll(t, it)
			require.Equal(t, c.want, forward, "[%q, %q)", c.lower, c.upper)
			require.Equal(t, c.want, backward, "[%q, %q)", c.lower, c.upper)
		}
	}
	it := open("b", "f", false) // seeks outside of the bounds stop at them
	require.True(t, it.SeekGE([]byte("a")))
	require.Equal(t, "c", string(it.Key()))
	require.True(t, it.SeekLT([]byte("z")))
	require.Equal(t, "e", string(it.Key()))
	require.False(t, it.SeekGE([]byte("f")))
	require.False(t, it.SeekGE([]byte("z")))
	require.False(t, it.SeekLT([]byte("b")))
	require.False(t, it.SeekLT([]byte("a")))
	closeAll(t, it)
}

func testIteratorOverManyKeys(t *testing.T, f *fixture) {
	const n = 2000
	for i := 0; i < n; i += 100 {
		write(t, f.e, false, func(b engine.Batch) {
			for k := i; k < i+100; k++ {
				b.Put(engine.Default, fmt.Appendf(nil, "%06d", k), bytes.Repeat([]byte("v"), k%50))
			}
		})
	}
	for range 2 { // from memory, and from what reopening made of it
		s := f.e.NewSnapshot()
		it, err := s.NewIterator(engine.Default, engine.IterOptions{})
		require.NoError(t, err)
		i := 0
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			require.Equal(t, fmt.Sprintf("%06d", i), string(it.Key()))
			require.Len(t, it.Value(), i%50)
			i++
		}
		require.Equal(t, n, i)
		for ok := it.SeekLT(nil); ok; ok = it.Prev() {
			i--
			require.Equal(t, fmt.Sprintf("%06d", i), string(it.Key()))
		}
		require.Zero(t, i)
		closeAll(t, it, s)
		f.reopen(t)
	}
}

// testIteratorsAcrossWrites moves iterators of two ages while what they stand on is overwritten.
func testIteratorsAcrossWrites(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "1", "b", "1", "c", "1")
	old := f.e.NewSnapshot()
	oldIt, err := old.NewIterator(engine.Default, engine.IterOptions{})
	require.NoError(t, err)
	require.True(t, oldIt.SeekGE(nil))

	write(t, f.e, true, func(b engine.Batch) {
		b.Put(engine.Default, []byte("aa"), []byte("2"))
		b.Delete(engine.Default, []byte("b"))
		b.Put(engine.Default, []byte("c"), []byte("2"))
	})
	// An iterator that is made late from an old snapshot is as old as the snapshot.
	require.Equal(t, []string{"a=1", "b=1", "c=1"}, scan(t, old, engine.Default, engine.IterOptions{}))
	require.Equal(t, []string{"a=1", "aa=2", "c=2"}, scanNow(t, f.e, engine.Default))

	require.True(t, oldIt.Next())
	require.Equal(t, "b1", string(oldIt.Key())+string(oldIt.Value()))
	require.True(t, oldIt.Next())
	require.Equal(t, "c1", string(oldIt.Key())+string(oldIt.Value()))
	require.False(t, oldIt.Next())
	closeAll(t, oldIt, old)
}

func testSnapshotsOutliveDeletes(t *testing.T, f *fixture) {
	var snaps []engine.Snapshot
	var want [][]string
	keep := func() {
		snaps = append(snaps, f.e.NewSnapshot())
		want = append(want, scanNow(t, f.e, engine.Default))
	}
	for i := range 300 {
		put(t, f.e, engine.Default, fmt.Sprintf("k%03d", i), fmt.Sprint(i))
	}
	keep()
	write(t, f.e, true, func(b engine.Batch) { b.Delete(engine.Default, []byte("k007")) })
	keep()
	write(t, f.e, true, func(b engine.Batch) { b.DeleteRange(engine.Default, []byte("k100"), []byte("k200")) })
	keep()
	put(t, f.e, engine.Default, "k150", "again")
	keep()
	write(t, f.e, true, func(b engine.Batch) { b.DeleteRange(engine.Default, nil, nil) })
	keep()
	for i, s := range snaps {
		require.Equal(t, want[i], scan(t, s, engine.Default, engine.IterOptions{}), "snapshot %d", i)
	}
	require.Equal(t, "7", get(t, snaps[0], engine.Default, "k007"))
	require.Equal(t, "<none>", get(t, snaps[1], engine.Default, "k007"))
	require.Equal(t, "150", get(t, snaps[1], engine.Default, "k150"))
	require.Equal(t, "<none>", get(t, snaps[2], engine.Default, "k150"))
	require.Equal(t, "again", get(t, snaps[3], engine.Default, "k150"))
	require.Empty(t, want[4])
	for _, s := range snaps {
		closeAll(t, s)
	}
}

func testApproximateSize(t *testing.T, f *fixture) {
	size := func(cf engine.CF, start, end string) uint64 {
		n, err := f.e.ApproximateSize(cf, []byte(start), []byte(end))
		require.NoError(t, err)
		return n
	}
	require.Zero(t, size(engine.Default, "", ""))
	const valueSize = 1000
	for i := range 400 {
		key := fmt.Sprintf("k%03d", i)
		put(t, f.e, engine.Default, key, string(bytes.Repeat([]byte{byte(i)}, valueSize)))
	}
	for range 2 {
		all, half, none := size(engine.Default, "", ""), size(engine.Default, "k200", ""), size(engine.Default, "x", "")
		require.Greater(t, all, half)
		require.Less(t, none, half)
		require.Positive(t, half)
		require.Zero(t, size(engine.Default, "k300", "k100"), "an inverted range")
		require.Zero(t, size(engine.Lock, "", ""), "another family")
		f.reopen(t)
	}
}
