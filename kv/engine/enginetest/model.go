package enginetest

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine"
)

// content is a plain map of a whole engine: the family's byte, then the key.
type content map[string]string

func inFamily(cf engine.CF, key string) string { return string(rune('0'+cf)) + key }

func (c content) put(cf engine.CF, key, value string) { c[inFamily(cf, key)] = value }
func (c content) delete(cf engine.CF, key string)     { delete(c, inFamily(cf, key)) }

func (c content) deleteRange(cf engine.CF, start, end string) {
	for _, key := range c.keys(cf, start, end) {
		c.delete(cf, key)
	}
}

// keys lists the keys of [start, end) in order; an empty end is open.
func (c content) keys(cf engine.CF, start, end string) []string {
	var keys []string
	for k := range c {
		key, ok := strings.CutPrefix(k, inFamily(cf, ""))
		if ok && key >= start && (end == "" || key < end) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// contentOf reads a whole engine.
func contentOf(t require.TestingT, e engine.Engine) content {
	c := content{}
	s := e.NewSnapshot()
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		it, err := s.NewIterator(cf, engine.IterOptions{})
		require.NoError(t, err)
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			c.put(cf, string(it.Key()), string(it.Value()))
		}
		require.NoError(t, it.Close())
	}
	require.NoError(t, s.Close())
	return c
}

var (
	// Few keys, so that they meet; some of them strange.
	genKey   = rapid.SampledFrom([]string{"", "\x00", "!", "!!", "a", "a\x00", "aa", "ab", "b", "ba", "c", "\xff", "\xff\xff"})
	genValue = rapid.SampledFrom([]string{"", "1", "2", "three", strings.Repeat("x", 600)})
	genCF    = rapid.Custom(func(t *rapid.T) engine.CF { return engine.CF(rapid.IntRange(0, int(engine.NumCFs)-1).Draw(t, "cf")) })
)

// machine runs an engine and a map side by side.
type machine struct {
	h     Harness
	e     engine.Engine
	model content
	snaps []frozen
}

type frozen struct {
	snap  engine.Snapshot
	model content
}

// RunModel does random things to engines, and the same to a map, and compares everything that can be read.
func RunModel(t *testing.T, h Harness) {
	rapid.Check(t, func(t *rapid.T) {
		e, err := h.Open()
		require.NoError(t, err)
		m := &machine{h: h, e: e, model: content{}}
		t.Cleanup(func() { // also when rapid gives up a run half-way
			m.closeSnapshots(t)
			require.NoError(t, m.e.Close())
		})
		t.Repeat(map[string]func(*rapid.T){
			"batch":    m.batch,
			"snapshot": m.snapshot,
			"read":     m.read,
			"walk":     m.walk,
			"ingest":   m.ingest,
			"sync":     func(t *rapid.T) { require.NoError(t, m.e.Sync()) },
			"reopen":   m.reopen,
			"":         func(t *rapid.T) { require.Equal(t, m.model, contentOf(t, m.e)) },
		})
	})
}

func (m *machine) batch(t *rapid.T) {
	b := m.e.NewBatch()
	defer closeAll(t, b)
	for range rapid.IntRange(0, 6).Draw(t, "operations") {
		cf, key := genCF.Draw(t, "cf"), genKey.Draw(t, "key")
		switch rapid.IntRange(0, 3).Draw(t, "operation") {
		case 0, 1:
			value := genValue.Draw(t, "value")
			b.Put(cf, []byte(key), []byte(value))
			m.model.put(cf, key, value)
		case 2:
			b.Delete(cf, []byte(key))
			m.model.delete(cf, key)
		case 3:
			end := genKey.Draw(t, "end")
			b.DeleteRange(cf, []byte(key), []byte(end))
			m.model.deleteRange(cf, key, end)
		}
	}
	require.NoError(t, b.Commit(rapid.Bool().Draw(t, "sync")))
}

func (m *machine) ingest(t *rapid.T) {
	replace := map[engine.CF]engine.Range{}
	data := map[engine.CF]*pairs{}
	for cf := engine.CF(0); cf < engine.NumCFs; cf++ {
		if rapid.Bool().Draw(t, "skip") {
			continue
		}
		start, end := genKey.Draw(t, "start"), genKey.Draw(t, "end")
		replace[cf] = engine.Range{Start: []byte(start), End: []byte(end)}
		keys := content{}
		for range rapid.IntRange(0, 4).Draw(t, "pairs") {
			keys.put(cf, genKey.Draw(t, "key"), genValue.Draw(t, "value"))
		}
		m.model.deleteRange(cf, start, end)
		data[cf] = source()
		for _, key := range keys.keys(cf, start, end) {
			data[cf].list = append(data[cf].list, key, keys[inFamily(cf, key)])
			m.model.put(cf, key, keys[inFamily(cf, key)])
		}
	}
	also := m.e.NewBatch()
	also.Put(engine.Local, []byte("ingested"), nil)
	m.model.put(engine.Local, "ingested", "")
	require.NoError(t, m.e.Ingest(engine.Ingestion{
		Replace: replace,
		Open:    func(cf engine.CF) (engine.Source, error) { return data[cf], nil },
		Also:    also,
	}))
	require.NoError(t, also.Close())
}

func (m *machine) snapshot(*rapid.T) {
	m.snaps = append(m.snaps, frozen{m.e.NewSnapshot(), maps.Clone(m.model)})
}

// pick chooses a snapshot, old or new.
func (m *machine) pick(t *rapid.T) frozen {
	if len(m.snaps) == 0 {
		m.snapshot(t)
	}
	return rapid.SampledFrom(m.snaps).Draw(t, "snapshot")
}

func (m *machine) read(t *rapid.T) {
	f := m.pick(t)
	cf, key := genCF.Draw(t, "cf"), genKey.Draw(t, "key")
	want, ok := f.model[inFamily(cf, key)]
	if !ok {
		want = "<none>"
	}
	require.Equal(t, want, get(t, f.snap, cf, key))
}

// walk moves an iterator about, and an index over the sorted keys with it.
func (m *machine) walk(t *rapid.T) {
	f := m.pick(t)
	cf, lower, upper := genCF.Draw(t, "cf"), genKey.Draw(t, "lower"), genKey.Draw(t, "upper")
	keys := f.model.keys(cf, lower, upper)
	it, err := f.snap.NewIterator(cf, engine.IterOptions{Lower: []byte(lower), Upper: []byte(upper)})
	require.NoError(t, err)
	defer func() { require.NoError(t, it.Close()) }()
	at, valid := 0, false
	for range rapid.IntRange(1, 20).Draw(t, "moves") {
		move := rapid.IntRange(0, 3).Draw(t, "move")
		if !valid {
			move %= 2 // only a seek is allowed
		}
		var ok bool
		switch move {
		case 0:
			key := genKey.Draw(t, "key")
			ok = it.SeekGE([]byte(key))
			at, _ = slices.BinarySearch(keys, key)
		case 1:
			key := genKey.Draw(t, "key")
			ok = it.SeekLT([]byte(key))
			at = len(keys) - 1
			if key != "" {
				at, _ = slices.BinarySearch(keys, key)
				at--
			}
		case 2:
			ok = it.Next()
			at++
		case 3:
			ok = it.Prev()
			at--
		}
		valid = at >= 0 && at < len(keys)
		require.Equal(t, valid, ok)
		if valid {
			require.Equal(t, keys[at], string(it.Key()))
			require.Equal(t, f.model[inFamily(cf, keys[at])], string(it.Value()))
		}
	}
}

func (m *machine) reopen(t *rapid.T) {
	m.closeSnapshots(t)
	e, err := m.h.Reopen(m.e)
	require.NoError(t, err)
	m.e = e
}

func (m *machine) closeSnapshots(t *rapid.T) {
	for _, f := range m.snaps {
		require.NoError(t, f.snap.Close())
	}
	m.snaps = nil
}
