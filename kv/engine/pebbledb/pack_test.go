package pebbledb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// A range that takes many tables comes as many, of pairs as of tables, and whoever takes them may give up at any part: nothing goes on
// then, and nothing is left.
func TestPackManyTables(t *testing.T) {
	open := func() *DB {
		d, err := Open(Options{Dir: "/db", FS: vfs.NewMem()})
		require.NoError(t, err)
		d.tableTarget, d.halvedFrom = 100<<10, 100<<10
		return d
	}
	from, to := open(), open()
	rng := rand.NewChaCha8([32]byte{})
	b := from.NewBatch()
	want := engine.Packed{Pairs: 3000}
	for i := range 3000 {
		key, value := fmt.Appendf(nil, "%04d", i), make([]byte, i%700)
		_, _ = rng.Read(value) // never fails
		b.Put(engine.Write, key, value)
		want.Bytes += uint64(len(key) + len(value))
	}
	require.NoError(t, b.Commit(false))
	require.NoError(t, b.Close())
	require.NoError(t, from.pdb.Flush()) // what is halved is tables
	snap := from.NewSnapshot().(*snapshot)
	s, err := to.Stage(map[engine.CF]engine.Range{engine.Write: {}})
	require.NoError(t, err)
	parts, ends := 0, 0
	var perLane [engine.TableLanes]int
	counts, err := snap.Pack(engine.Write, engine.Range{}, Lanes(func(lane int, part []byte, end bool) error {
		parts++
		perLane[lane] += len(part)
		if end {
			ends++
		}
		return s.(*staged).PutTable(engine.Write, lane, part, end)
	}))
	require.NoError(t, err)
	require.Equal(t, want, counts)
	require.Greater(t, ends, 9)
	require.InDelta(t, perLane[0], perLane[1], float64(perLane[0])/4, "%v", perLane)
	require.NoError(t, s.Finish())
	require.Equal(t, want, s.(*staged).Packed(engine.Write))
	require.NoError(t, s.Commit(nil))
	same(t, from, to)

	gone := errors.New("nobody takes it")
	for last := range parts {
		given := 0
		_, err := snap.Pack(engine.Write, engine.Range{}, Lanes(func(int, []byte, bool) error {
			if given++; given > last {
				return gone
			}
			return nil
		}))
		require.ErrorIs(t, err, gone)
		require.LessOrEqual(t, given, last+engine.TableLanes) // the other lane may have been about to give
	}
	require.NoError(t, snap.Close())

	// As pairs.
	require.NoError(t, to.Ingest(engine.Ingestion{Replace: map[engine.CF]engine.Range{engine.Write: {}}}))
	s, err = to.Stage(map[engine.CF]engine.Range{engine.Write: {}})
	require.NoError(t, err)
	require.NoError(t, eachPair(from, s.Put))
	require.NoError(t, s.Finish())
	require.Greater(t, len(s.(*staged).paths()), 9)
	require.NoError(t, s.Commit(nil))
	same(t, from, to)
	require.NoError(t, from.Close())
	require.NoError(t, to.Close())
}

// SinkFunc is told of a table's parts, and of its end with none: a sink for the tests of both packages here.
type SinkFunc func(part []byte, end bool) error

// Lanes are sinks that all are to, one call at a time.
func Lanes(to func(lane int, part []byte, end bool) error) (lanes [engine.TableLanes]engine.TableSink) {
	var mu sync.Mutex
	for i := range lanes {
		lanes[i] = SinkFunc(func(part []byte, end bool) error {
			mu.Lock()
			defer mu.Unlock()
			return to(i, part, end)
		})
	}
	return lanes
}

func (f SinkFunc) Write(p []byte) error { return f(p, false) }
func (f SinkFunc) EndTable() error      { return f(nil, true) }

func eachPair(d *DB, do func(cf engine.CF, key, value []byte) error) (err error) {
	snap := d.NewSnapshot()
	defer func() { err = firstError(err, snap.Close()) }()
	it, err := snap.NewIterator(engine.Write, engine.IterOptions{})
	if err != nil {
		return err
	}
	for more := it.SeekGE(nil); more && err == nil; more = it.Next() {
		err = do(engine.Write, it.Key(), it.Value())
	}
	return firstError(err, it.Close())
}

func same(t *testing.T, a, b *DB) {
	all := func(d *DB) (list []string) {
		require.NoError(t, eachPair(d, func(_ engine.CF, key, value []byte) error {
			list = append(list, string(key)+string(value))
			return nil
		}))
		return list
	}
	require.Equal(t, all(a), all(b))
}

// A range is halved where about half of its bytes lie on either side, whatever its keys are; not where it is small, nor within a key.
func TestHalves(t *testing.T) {
	value := make([]byte, 1000)
	for name, c := range map[string]struct {
		key    func(i int) []byte
		weight func(i int) int // values of a key
		whole  bool
	}{
		"numbers":     {key: func(i int) []byte { return fmt.Appendf(nil, "user%016d", i) }},
		"long prefix": {key: func(i int) []byte { return fmt.Appendf(nil, "%0200d", i) }},
		"binary":      {key: func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)<<20) }},
		"prefixes":    {key: func(i int) []byte { return bytes.Repeat([]byte{'x'}, i+1) }},
		"heavy end":   {key: func(i int) []byte { return fmt.Appendf(nil, "%06d", i) }, weight: func(i int) int { return 1 + i/500*20 }},
		"one key":     {key: func(int) []byte { return []byte("k") }, weight: func(int) int { return 4 }, whole: true},
		"none":        {key: func(int) []byte { return nil }, weight: func(int) int { return 0 }, whole: true},
		"small":       {key: func(i int) []byte { return fmt.Appendf(nil, "%06d", i) }, weight: func(i int) int { return (600 - i) / 600 }, whole: true},
	} {
		d, err := Open(Options{Dir: "/db", FS: vfs.NewMem(), Compression: NoCompression})
		require.NoError(t, err)
		d.halvedFrom = 100 << 10
		b := d.NewBatch()
		b.Put(engine.Default, []byte("k"), value) // beside the range
		for i := range 600 {
			n := 1
			if c.weight != nil {
				n = c.weight(i)
			}
			if n > 0 {
				b.Put(engine.Write, c.key(i), make([]byte, n*1000))
			}
		}
		require.NoError(t, b.Commit(false))
		require.NoError(t, b.Close())
		require.NoError(t, d.pdb.Flush())
		snap := d.NewSnapshot().(*snapshot)
		all := (&family{cf: engine.Write}).span()
		parts, err := snap.halves(all)
		require.NoError(t, err, name)
		if c.whole {
			require.Equal(t, []span{all}, parts, name)
		} else {
			require.Len(t, parts, 2, name)
			require.Equal(t, all, span{parts[0].lower, parts[1].upper}, name)
			require.Equal(t, parts[0].upper, parts[1].lower, name)
			var sizes [2]int
			for i, part := range parts {
				require.NoError(t, snap.eachIn(part, func(_, value []byte) error { sizes[i] += len(value); return nil }))
			}
			require.InDelta(t, sizes[0], sizes[1], float64(sizes[0]+sizes[1])/8, "%s: %v", name, sizes)
		}
		require.NoError(t, snap.Close())
		require.NoError(t, d.Close())
	}
}
