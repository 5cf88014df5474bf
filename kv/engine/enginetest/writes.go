package enginetest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

func testEmptyAndAbsent(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "empty", "")
	s := f.e.NewSnapshot()
	defer closeAll(t, s)
	v, err := s.Get(engine.Default, []byte("empty"))
	require.NoError(t, err)
	require.NotNil(t, v, "an empty value is there")
	require.Empty(t, v)
	v, err = s.Get(engine.Default, []byte("absent"))
	require.NoError(t, err)
	require.Nil(t, v)
	require.Equal(t, []string{"empty="}, scan(t, s, engine.Default, engine.IterOptions{}))
}

// anyKeys are in order. An engine that keeps marks of its own among the keys loses some of them.
var anyKeys = []string{
	"", "\x00", "\x00\x00", "\x00\xff", "\x01", "!", "!a", "!badger!x", "\"", "a", "a\x00", "a!", "aa", "b",
	"\xfe\xff", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff\xff",
}

func testAnyBytesAreKeys(t *testing.T, f *fixture) {
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		for i := range anyKeys {
			key := anyKeys[(i*7)%len(anyKeys)] // not in order
			put(t, f.e, cf, key, "v"+key)
		}
		var want []string
		for _, key := range anyKeys {
			want = append(want, key+"=v"+key)
			require.Equal(t, "v"+key, getNow(t, f.e, cf, key), "%q", key)
		}
		require.Equal(t, want, scanNow(t, f.e, cf))
	}
	f.reopen(t)
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		require.Len(t, scanNow(t, f.e, cf), len(anyKeys))
	}
	write(t, f.e, false, func(b engine.Batch) {
		for _, key := range anyKeys {
			b.Delete(engine.Default, []byte(key))
		}
	})
	require.Empty(t, scanNow(t, f.e, engine.Default))
}

func testLargeKeysAndValues(t *testing.T, f *fixture) {
	key := bytes.Repeat([]byte{'k'}, 8<<10)
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	write(t, f.e, true, func(b engine.Batch) {
		b.Put(engine.Write, key, value)
		b.Put(engine.Write, append(key[:len(key):len(key)], 'x'), []byte("longer"))
	})
	check := func() {
		s := f.e.NewSnapshot()
		defer closeAll(t, s)
		v, err := s.Get(engine.Write, key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(value, v))
		it, err := s.NewIterator(engine.Write, engine.IterOptions{Lower: key})
		require.NoError(t, err)
		require.True(t, it.SeekGE(key))
		require.True(t, bytes.Equal(key, it.Key()))
		require.True(t, bytes.Equal(value, it.Value()))
		require.True(t, it.Next())
		require.Equal(t, "longer", string(it.Value()))
		require.False(t, it.Next())
		closeAll(t, it)
	}
	check()
	f.reopen(t)
	check()
}

// testLongestKeys puts the longest key that the engine takes, or a rather long one, and one that is too long.
func testLongestKeys(t *testing.T, f *fixture) {
	longest := f.Limits.KeySize
	if longest == 0 {
		longest = 128 << 10
	}
	key := bytes.Repeat([]byte{0xff}, longest)
	write(t, f.e, true, func(b engine.Batch) {
		b.Put(engine.Default, key, []byte("v"))
		b.Put(engine.Lock, key, []byte("v"))
		b.DeleteRange(engine.Lock, append(key[:longest-1:longest-1], 0xfe), append(key[:longest:longest], 0xff)) // bounds may be longer
	})
	f.reopen(t)
	require.Equal(t, "v", getNow(t, f.e, engine.Default, string(key)))
	require.Equal(t, "<none>", getNow(t, f.e, engine.Lock, string(key)))
	write(t, f.e, true, func(b engine.Batch) { b.Delete(engine.Default, key) })
	require.Empty(t, scanNow(t, f.e, engine.Default))
	if f.Limits.KeySize == 0 {
		return
	}
	tooLong := append(key, 'x')
	for name, bad := range map[string]func(engine.Batch){
		"put":    func(b engine.Batch) { b.Put(engine.Write, tooLong, nil) },
		"delete": func(b engine.Batch) { b.Delete(engine.Write, tooLong) },
	} {
		b := f.e.NewBatch()
		b.Put(engine.Write, []byte("beside"), []byte("it"))
		bad(b)
		require.Error(t, b.Commit(true), name)
		closeAll(t, b)
	}
	require.Equal(t, "<none>", getNow(t, f.e, engine.Write, string(tooLong)))
	require.Empty(t, scanNow(t, f.e, engine.Write), "the rest of a refused batch")
	put(t, f.e, engine.Write, "still", "usable")
}

func testGetReturnsACopy(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "k", "value")
	s := f.e.NewSnapshot()
	defer closeAll(t, s)
	v, err := s.Get(engine.Default, []byte("k"))
	require.NoError(t, err)
	v[0] = 'X'
	require.Equal(t, "value", get(t, s, engine.Default, "k"))
}

func testFamiliesAreApart(t *testing.T, f *fixture) {
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		put(t, f.e, cf, "", "first of "+cf.String(), "k", cf.String(), "\xff\xff", "last of "+cf.String())
	}
	// Each family loses everything from "k" on; its neighbours must not notice.
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		before := map[engine.CF][]string{}
		for other := engine.CF(0); other < engine.NumCFs; other++ {
			before[other] = scanNow(t, f.e, other)
		}
		write(t, f.e, false, func(b engine.Batch) { b.DeleteRange(cf, []byte("k"), nil) })
		for other := engine.CF(0); other < engine.NumCFs; other++ {
			want := before[other]
			if other == cf {
				want = []string{"=first of " + cf.String()}
			}
			require.Equal(t, want, scanNow(t, f.e, other), "%s after a range delete in %s", other, cf)
		}
	}
}

func testBatchOrder(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "old", "b", "old", "c", "old", "d", "old")
	write(t, f.e, false, func(b engine.Batch) {
		b.Put(engine.Default, []byte("a"), []byte("1"))
		b.Put(engine.Default, []byte("a"), []byte("2")) // a later put wins
		b.Put(engine.Default, []byte("b"), []byte("1"))
		b.Delete(engine.Default, []byte("b")) // a later delete wins
		b.Put(engine.Default, []byte("bb"), []byte("1"))
		b.DeleteRange(engine.Default, []byte("bb"), []byte("d")) // takes bb and c
		b.Put(engine.Default, []byte("c"), []byte("3"))          // and c is back
		b.Delete(engine.Default, []byte("e"))
		b.Put(engine.Default, []byte("e"), []byte("4")) // a put after a delete wins
	})
	require.Equal(t, []string{"a=2", "c=3", "d=old", "e=4"}, scanNow(t, f.e, engine.Default))
}

func testBatchIsAtomic(t *testing.T, f *fixture) {
	const keys, rounds = 8, 200
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range rounds {
			write(t, f.e, false, func(b engine.Batch) {
				for k := range keys {
					b.Put(engine.CF(k)%engine.NumCFs, fmt.Appendf(nil, "k%d", k), fmt.Appendf(nil, "%04d", i))
				}
			})
		}
	})
	for range rounds {
		s := f.e.NewSnapshot()
		first := get(t, s, 0, "k0")
		for k := 1; k < keys; k++ {
			require.Equal(t, first, get(t, s, engine.CF(k)%engine.NumCFs, fmt.Sprintf("k%d", k)))
		}
		closeAll(t, s)
	}
}

func testBatchLifecycle(t *testing.T, f *fixture) {
	b := f.e.NewBatch()
	require.Zero(t, b.Size())
	require.NoError(t, b.Commit(true), "an empty batch may be committed")
	b.Reset()

	b.Put(engine.Default, []byte("k"), []byte("1"))
	small := b.Size()
	require.Positive(t, small)
	b.Put(engine.Default, []byte("l"), make([]byte, 100))
	require.Greater(t, b.Size(), small+100)
	b.Reset()
	require.Zero(t, b.Size())
	require.NoError(t, b.Commit(false))
	require.Empty(t, scanNow(t, f.e, engine.Default), "what was reset is not written")

	for i := range 5 { // reuse after a commit
		b.Reset()
		b.Put(engine.Default, fmt.Appendf(nil, "k%d", i), []byte("v"))
		require.NoError(t, b.Commit(i%2 == 0))
		require.ErrorIs(t, b.Commit(false), engine.ErrCommitted)
	}
	require.NoError(t, b.Close())
	require.Len(t, scanNow(t, f.e, engine.Default), 5)

	dropped := f.e.NewBatch()
	dropped.Put(engine.Default, []byte("never"), nil)
	require.NoError(t, dropped.Close())
	require.Equal(t, "<none>", getNow(t, f.e, engine.Default, "never"))
}

func testBatchCopiesIn(t *testing.T, f *fixture) {
	key, value, end := []byte("key"), []byte("value"), []byte("z")
	put(t, f.e, engine.Lock, "y", "1", "zz", "2")
	b := f.e.NewBatch()
	b.Put(engine.Default, key, value)
	b.DeleteRange(engine.Lock, key, end)
	copy(key, "xxx")
	copy(value, "xxxxx")
	copy(end, "!")
	require.NoError(t, b.Commit(false))
	closeAll(t, b)
	require.Equal(t, []string{"key=value"}, scanNow(t, f.e, engine.Default))
	require.Equal(t, []string{"zz=2"}, scanNow(t, f.e, engine.Lock))
}

func testDeleteRange(t *testing.T, f *fixture) {
	all := []string{"", "a", "ab", "b", "b\x00", "c", "\xff", "\xff\xff"}
	for _, c := range []struct {
		start, end string
		openEnd    bool
		left       []string
	}{
		{"a", "b", false, []string{"", "b", "b\x00", "c", "\xff", "\xff\xff"}},
		{"b", "b\x00", false, []string{"", "a", "ab", "b\x00", "c", "\xff", "\xff\xff"}},
		{"b", "b", false, all},
		{"c", "a", false, all}, // an inverted range is empty
		{"", "a", false, all[1:]},
		{"\xff", "", true, []string{"", "a", "ab", "b", "b\x00", "c"}},
		{"", "", true, nil},
		{"x", "y", false, all},
	} {
		for _, key := range all {
			put(t, f.e, engine.Write, key, "v")
		}
		put(t, f.e, engine.Lock, "a", "v")
		put(t, f.e, engine.Local, "a", "v")
		end := []byte(c.end)
		write(t, f.e, false, func(b engine.Batch) { b.DeleteRange(engine.Write, []byte(c.start), end) })
		want := []string{}
		for _, key := range c.left {
			want = append(want, key+"=v")
		}
		require.Equal(t, want, scanNow(t, f.e, engine.Write), "[%q, %q)", c.start, c.end)
		require.Equal(t, "v", getNow(t, f.e, engine.Lock, "a"))
		require.Equal(t, "v", getNow(t, f.e, engine.Local, "a"))
	}
}

func testConcurrentUse(t *testing.T, f *fixture) {
	const writers, rounds = 4, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				write(t, f.e, i%10 == 0, func(b engine.Batch) {
					b.Put(engine.CF(w), fmt.Appendf(nil, "%d-%03d", w, i), []byte("v"))
				})
				s := f.e.NewSnapshot()
				if n := len(scan(t, s, engine.CF(w), engine.IterOptions{})); n != i+1 {
					t.Errorf("writer %d sees %d of its %d keys", w, n, i+1)
				}
				_, err := f.e.ApproximateSize(engine.CF(w), nil, nil)
				require.NoError(t, err)
				closeAll(t, s)
			}
			require.NoError(t, f.e.Sync())
		})
	}
	wg.Wait()
}
