package snapfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// PITFALLS S2: a file goes into an engine whole or, when damage shows in the midst of it, not at all, and the data before stays.
func TestInstallIsAllOrNothing(t *testing.T) {
	large := strings.Repeat("x", blockTarget)
	good := build(t, testRegion("b", "y"), content{
		engine.Default: {{"b", large}, {"c", large}, {"d", large}},
		engine.Write:   {{"b", "w"}},
	})
	damaged := bytes.Clone(good)
	damaged[len(good)/2] ^= 1
	pebble, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	for name, e := range map[string]engine.Engine{"memdb": memdb.New(), "pebbledb": pebble} {
		t.Run(name, func(t *testing.T) {
			defer func() { require.NoError(t, e.Close()) }()
			before := e.NewBatch()
			for _, key := range []string{"a", "b", "x", "y"} { // the outer ones are not the region's
				before.Put(engine.Default, []byte(key), []byte("old"))
				before.Put(engine.Lock, []byte(key), []byte("old"))
			}
			require.NoError(t, before.Commit(true))
			require.NoError(t, before.Close())

			var corrupt *CorruptError
			require.ErrorAs(t, install(t, e, damaged), &corrupt)
			require.Equal(t, "a=old b=old x=old y=old ", dump(t, e, engine.Default))
			require.Equal(t, "a=old b=old x=old y=old ", dump(t, e, engine.Lock))
			require.Empty(t, dump(t, e, engine.Write))

			require.NoError(t, install(t, e, good))
			require.Equal(t, "a=old b=xxx c=xxx d=xxx y=old ", dump(t, e, engine.Default))
			require.Equal(t, "a=old y=old ", dump(t, e, engine.Lock))
			require.Equal(t, "b=w ", dump(t, e, engine.Write))
		})
	}
}

func install(t *testing.T, e engine.Engine, file []byte) error {
	fs := NewMemFS()
	m := newManager(t, fs)
	f, err := fs.Create(fileName(testKey)) // as if it had rotted since it was received
	require.NoError(t, err)
	_, err = f.Write(file)
	require.NoError(t, err)
	r, err := m.OpenToInstall(testKey)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	replace := map[engine.CF]engine.Range{}
	for _, cf := range engine.DataCFs {
		replace[cf] = engine.Range{Start: r.Region().StartKey, End: r.Region().EndKey}
	}
	return e.Ingest(engine.Ingestion{Replace: replace, Open: r.Source})
}

func dump(t *testing.T, e engine.Engine, cf engine.CF) string {
	snap := e.NewSnapshot()
	defer func() { require.NoError(t, snap.Close()) }()
	it, err := snap.NewIterator(cf, engine.IterOptions{})
	require.NoError(t, err)
	var b strings.Builder
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		value := it.Value()
		b.WriteString(string(it.Key()) + "=" + string(value[:min(3, len(value))]) + " ")
	}
	require.NoError(t, it.Close())
	return b.String()
}
