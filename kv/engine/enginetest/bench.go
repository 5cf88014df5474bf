package enginetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// RunBenchmarks measures what the store leans on: synced batches by several writers at once (the raft log), batches
// without a sync (apply), gets and short scans.
func RunBenchmarks(b *testing.B, open func() (engine.Engine, error)) {
	value := make([]byte, 1024)
	for i := range value {
		value[i] = byte(i * i >> 7) // compresses somewhat
	}
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("SyncedBatch/writers=%d", writers), func(b *testing.B) {
			benchSynced(b, open, writers, value)
		})
	}
	b.Run("UnsyncedBatchOf100", func(b *testing.B) { benchUnsynced(b, open, value[:128]) })
	b.Run("Get", func(b *testing.B) { benchGet(b, open, value[:128]) })
	b.Run("GetAbsent", func(b *testing.B) { benchGetAbsent(b, open, value[:128]) })
	b.Run("Scan100", func(b *testing.B) { benchScan(b, open, value[:128]) })
}

func benchOpen(b *testing.B, open func() (engine.Engine, error)) engine.Engine {
	e, err := open()
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	return e
}

func benchSynced(b *testing.B, open func() (engine.Engine, error), writers int, value []byte) {
	e := benchOpen(b, open)
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			batch := e.NewBatch()
			defer closeAll(b, batch)
			var key [16]byte
			for i := w; i < b.N; i += writers {
				batch.Reset()
				batch.Put(engine.Local, benchKey(key[:0], i), value)
				if err := batch.Commit(true); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}

func benchUnsynced(b *testing.B, open func() (engine.Engine, error), value []byte) {
	e := benchOpen(b, open)
	rng := rand.New(rand.NewPCG(1, 1))
	batch := e.NewBatch()
	defer closeAll(b, batch)
	var key [16]byte
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		for range 100 {
			batch.Put(engine.Default, benchKey(key[:0], rng.IntN(1<<20)), value)
		}
		check(b, true, batch.Commit(false))
	}
}

const benchKeys = 200_000

func benchFill(b *testing.B, e engine.Engine, value []byte) {
	batch := e.NewBatch()
	defer closeAll(b, batch)
	var key [16]byte
	for i := range benchKeys {
		batch.Put(engine.Default, benchKey(key[:0], i), value)
		if i%1000 == 999 {
			require.NoError(b, batch.Commit(false))
			batch.Reset()
		}
	}
}

// benchKey is cheap, so that it is the engine that is measured.
func benchKey(dst []byte, i int) []byte {
	dst = append(dst, "key0000000000"...)
	for at := len(dst) - 1; i > 0; at, i = at-1, i/10 {
		dst[at] = byte('0' + i%10)
	}
	return dst
}

func check(b *testing.B, ok bool, err error) {
	if err != nil || !ok {
		b.Fatal("wrong answer", err)
	}
}

func benchGet(b *testing.B, open func() (engine.Engine, error), value []byte) {
	e := benchOpen(b, open)
	benchFill(b, e, value)
	rng := rand.New(rand.NewPCG(1, 1))
	var key [16]byte
	b.ReportAllocs()
	for b.Loop() {
		s := e.NewSnapshot()
		v, err := s.Get(engine.Default, benchKey(key[:0], rng.IntN(benchKeys)))
		check(b, len(v) == len(value), err)
		check(b, true, s.Close())
	}
}

func benchGetAbsent(b *testing.B, open func() (engine.Engine, error), value []byte) {
	e := benchOpen(b, open)
	benchFill(b, e, value)
	rng := rand.New(rand.NewPCG(1, 1))
	var key [20]byte
	b.ReportAllocs()
	for b.Loop() {
		s := e.NewSnapshot()
		v, err := s.Get(engine.Default, append(benchKey(key[:0], rng.IntN(benchKeys)), 'x'))
		check(b, v == nil, err)
		check(b, true, s.Close())
	}
}

func benchScan(b *testing.B, open func() (engine.Engine, error), value []byte) {
	e := benchOpen(b, open)
	benchFill(b, e, value)
	rng := rand.New(rand.NewPCG(1, 1))
	var key [16]byte
	b.ReportAllocs()
	for b.Loop() {
		s := e.NewSnapshot()
		it, err := s.NewIterator(engine.Default, engine.IterOptions{})
		check(b, true, err)
		n := 0
		for ok := it.SeekGE(benchKey(key[:0], rng.IntN(benchKeys-100))); ok && n < 100; ok = it.Next() {
			n += min(1, len(it.Value()))
		}
		check(b, n == 100, it.Close())
		check(b, true, s.Close())
	}
}
