package pebbledb

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
		d.tableTarget = 100 << 10
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
	snap := from.NewSnapshot().(*snapshot)
	s, err := to.Stage(map[engine.CF]engine.Range{engine.Write: {}})
	require.NoError(t, err)
	parts, ends := 0, 0
	counts, err := snap.Pack(engine.Write, engine.Range{}, SinkFunc(func(part []byte, end bool) error {
		if parts++; end {
			ends++
		}
		return s.(*staged).PutTable(engine.Write, part, end)
	}))
	require.NoError(t, err)
	require.Equal(t, want, counts)
	require.Greater(t, ends, 9)
	require.NoError(t, s.Finish())
	require.Equal(t, want, s.(*staged).Packed(engine.Write))
	require.NoError(t, s.Commit(nil))
	same(t, from, to)

	gone := errors.New("nobody takes it")
	for last := range parts {
		given := 0
		_, err := snap.Pack(engine.Write, engine.Range{}, SinkFunc(func([]byte, bool) error {
			if given++; given > last {
				return gone
			}
			return nil
		}))
		require.ErrorIs(t, err, gone)
		require.Equal(t, last+1, given)
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
