package snapfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// PITFALLS S2, S22: what is received into the engine's staging shows only when it is installed, whole, and at whatever byte it is damaged
// leaves nothing.
func TestStagedSnapshot(t *testing.T) {
	dir := t.TempDir()
	e, err := pebbledb.Open(pebbledb.Options{Dir: dir})
	require.NoError(t, err)
	m := newManager(t, NewMemFS())
	m.StageIn(e)
	left := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "ingest", "*"))
		require.NoError(t, err)
		return names
	}
	before := e.NewBatch()
	for _, key := range []string{"a", "b", "x", "y"} { // the outer ones are not the region's
		before.Put(engine.Default, []byte(key), []byte("old"))
	}
	require.NoError(t, before.Commit(true))
	require.NoError(t, before.Close())
	large := strings.Repeat("x", blockTarget)
	r := testRegion("b", "y")
	good := build(t, r, content{engine.Default: {{"b", large}, {"c", large}, {"d", large}}, engine.Write: {{"b", "w"}}})
	for _, at := range []int{0, 10, len(magic) + headerLen, len(good) / 2, len(good) - wholeFooter, len(good) - 1} {
		damaged := bytes.Clone(good)
		damaged[at] ^= 1
		_, err := receivePieces(t, m, testKey, damaged, 1<<20)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt)
		_, err = receive(t, m, testKey, good[:at])
		require.ErrorAs(t, err, &corrupt)
		require.Empty(t, left())
	}
	require.ErrorIs(t, m.Install(testKey, r, e, nil), ErrNotFound)

	meta, err := receive(t, m, testKey, good)
	require.NoError(t, err)
	require.NotEmpty(t, left())
	items, err := m.List()
	require.NoError(t, err)
	require.Equal(t, []Item{{Key: testKey, Received: true, Size: int64(meta.Size)}}, items)
	_, err = m.Receive(testKey)
	require.ErrorIs(t, err, ErrExists)
	require.Equal(t, "a=old b=old x=old y=old ", dump(t, e, engine.Default))
	require.NoError(t, m.Install(testKey, r, e, nil))
	require.Equal(t, "a=old b=xxx c=xxx d=xxx y=old ", dump(t, e, engine.Default))
	require.Equal(t, "b=w ", dump(t, e, engine.Write))
	require.Empty(t, left())
	require.ErrorIs(t, m.Install(testKey, r, e, nil), ErrNotFound)

	// What goes without being installed takes its tables along.
	for _, end := range []func() error{
		func() error { return m.Delete(testKey, true) },
		func() error { return m.Sweep(time.Unix(1e9, 0), -1) },
		func() error {
			var corrupt *CorruptError
			require.ErrorAs(t, m.Install(testKey, testRegion("b", "z"), e, nil), &corrupt) // it is not what the message said
			return nil
		},
		m.Close,
	} {
		_, err = receive(t, m, testKey, good)
		require.NoError(t, err)
		require.NotEmpty(t, left())
		require.NoError(t, end())
		require.Empty(t, left())
	}
	_, err = receive(t, m, testKey, good)
	require.ErrorIs(t, err, errClosed)
	require.NoError(t, e.Close())
	require.NoError(t, os.RemoveAll(dir))
}

// The engine is asked for what a stream needs until the stream is closed, and not longer; the second receiver gets the same bytes.
func TestHeldSnapshot(t *testing.T) {
	e, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	b := e.NewBatch()
	b.Put(engine.Default, []byte("b"), []byte("1"))
	require.NoError(t, b.Commit(false))
	m := newManager(t, NewMemFS())
	r := testRegion("", "")
	require.NoError(t, m.Hold(testKey, r, e.NewSnapshot(), nil))
	b.Reset()
	b.Put(engine.Default, []byte("b"), []byte("2"))
	require.NoError(t, b.Commit(false))
	require.NoError(t, b.Close())
	first, meta := sent(t, m, testKey)
	require.Equal(t, CFMeta{engine.Default, 1, 2}, meta.CFs[0])
	open, err := m.OpenToSend(testKey)
	require.NoError(t, err)
	head, err := open.Next(nil)
	require.NoError(t, err)

	require.NoError(t, m.Hold(testKey, r, e.NewSnapshot(), nil)) // in its place
	second, _ := sent(t, m, testKey)
	require.NotEqual(t, first, second)
	require.NoError(t, m.Delete(testKey, false))
	_, err = m.OpenToSend(testKey)
	require.ErrorIs(t, err, ErrNotFound)
	for err = nil; err == nil; {
		head, err = open.Next(head)
	}
	require.Equal(t, first, head)
	require.NoError(t, open.Close())

	require.NoError(t, m.Hold(testKey, r, e.NewSnapshot(), nil))
	require.NoError(t, m.Close())
	require.NoError(t, m.Hold(testKey, r, e.NewSnapshot(), nil)) // nobody will come
	_, err = m.OpenToSend(testKey)
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, e.Close(), "no snapshot is open")
}
