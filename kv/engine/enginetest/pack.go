package enginetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
)

// part is a part of a table.
type part struct {
	lane int
	data []byte
	end  bool
}

// sink gathers what a Packer writes to a lane, in parts of at most 100 bytes. err is what it answers.
type sink struct {
	lane  int
	parts []part
	err   error
}

func (s *sink) Write(b []byte) error {
	for p := range slices.Chunk(bytes.Clone(b), 100) {
		s.parts = append(s.parts, part{s.lane, p, false})
	}
	return s.err
}

func (s *sink) EndTable() error {
	s.parts[len(s.parts)-1].end = true
	return s.err
}

// inLane is the parts as they would come in another lane.
func inLane(lane int, parts []part) []part {
	moved := slices.Clone(parts)
	for i := range moved {
		moved[i].lane = lane
	}
	return moved
}

// inTurns is two lanes' parts, one of each after the other.
func inTurns(a, b []part) (both []part) {
	for i := range max(len(a), len(b)) {
		both = append(both, a[min(i, len(a)):min(i+1, len(a))]...)
		both = append(both, b[min(i, len(b)):min(i+1, len(b))]...)
	}
	return both
}

// packed returns the parts of a range.
func packed(t *testing.T, p engine.Packer, cf engine.CF, r engine.Range) ([]part, engine.Packed) {
	var s [engine.TableLanes]sink
	var to [engine.TableLanes]engine.TableSink
	for i := range s {
		s[i].lane, to[i] = i, &s[i]
	}
	counts, err := p.Pack(cf, r, to)
	require.NoError(t, err)
	parts := s[0].parts
	for _, lane := range s[1:] { // those that are in use
		parts = inTurns(parts, lane.parts)
	}
	require.NotEmpty(t, s[0].parts)
	require.True(t, s[0].parts[len(s[0].parts)-1].end)
	return parts, counts
}

// packer returns a snapshot that packs, and the stager that takes what it packs; not every engine has them, and then there is nothing to test.
func (f *fixture) packer(t *testing.T) (engine.Packer, engine.TableStager, bool) {
	stager, ok := f.e.(engine.TableStager)
	snap := f.e.NewSnapshot()
	packer, packs := snap.(engine.Packer)
	require.Equal(t, ok, packs)
	if !ok {
		closeAll(t, snap)
		return nil, nil, false
	}
	require.NotEmpty(t, stager.TableForm())
	require.Equal(t, stager.TableForm(), packer.TableForm())
	return packer, stager, true
}

// What is packed of a snapshot takes the place of what is there later, as far as the range goes; tables and pairs come side by side, a family each.
func testPack(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "1", "b", "2", "c", "", "m\xff", "4", "n", "5")
	put(t, f.e, engine.Write, "z", "6")
	packer, stager, ok := f.packer(t)
	if !ok {
		return
	}
	middle := engine.Range{Start: []byte("b"), End: []byte("n")}
	wanted := map[engine.CF]engine.Range{engine.Default: middle, engine.Lock: {}, engine.Write: {Start: []byte("b")}}
	parts := make(map[engine.CF][]part)
	counts := make(map[engine.CF]engine.Packed)
	for cf, r := range wanted {
		parts[cf], counts[cf] = packed(t, packer, cf, r)
	}
	closeAll(t, packer.(engine.Snapshot))
	require.Equal(t, map[engine.CF]engine.Packed{engine.Default: {Pairs: 3, Bytes: 6}, engine.Lock: {}, engine.Write: {Pairs: 1, Bytes: 2}}, counts)

	write(t, f.e, false, func(b engine.Batch) {
		b.DeleteRange(engine.Default, nil, nil)
		b.Put(engine.Default, []byte("a"), []byte("kept"))
		b.Put(engine.Default, []byte("b"), []byte("gone"))
		b.Put(engine.Default, []byte("k"), []byte("gone"))
		b.Put(engine.Lock, []byte("k"), []byte("gone"))
	})
	s, err := stager.Stage(map[engine.CF]engine.Range{engine.Default: middle, engine.Lock: {}, engine.Write: {Start: []byte("b")}})
	require.NoError(t, err)
	staged := s.(engine.TableStaged)
	for _, cf := range []engine.CF{engine.Default, engine.Lock} {
		for _, p := range parts[cf] {
			require.NoError(t, staged.PutTable(cf, p.lane, p.data, p.end))
			clear(p.data) // it is copied
		}
	}
	require.NoError(t, staged.Put(engine.Write, []byte("y"), []byte("a pair")))
	require.NoError(t, staged.Finish())
	require.Equal(t, counts[engine.Default], staged.Packed(engine.Default))
	require.Equal(t, counts[engine.Lock], staged.Packed(engine.Lock))
	require.NoError(t, staged.Commit(nil))
	for range 2 {
		require.Equal(t, []string{"a=kept", "b=2", "c=", "m\xff=4"}, scanNow(t, f.e, engine.Default))
		require.Empty(t, scanNow(t, f.e, engine.Lock))
		require.Equal(t, []string{"y=a pair"}, scanNow(t, f.e, engine.Write))
		f.reopen(t)
	}
}

// Tables that do not replace the range, all of it and nothing else, are refused, and an error of whoever takes the parts ends the packing.
func testPackRefuses(t *testing.T, f *fixture) {
	put(t, f.e, engine.Default, "a", "old", "b", "old")
	packer, stager, ok := f.packer(t)
	if !ok {
		return
	}
	good, _ := packed(t, packer, engine.Default, engine.Range{End: []byte("c")})
	half, _ := packed(t, packer, engine.Default, engine.Range{End: []byte("b")})
	rest, _ := packed(t, packer, engine.Default, engine.Range{Start: []byte("b"), End: []byte("c")})
	behind, _ := packed(t, packer, engine.Default, engine.Range{Start: []byte("b\x00"), End: []byte("c")})
	wide, _ := packed(t, packer, engine.Default, engine.Range{End: []byte("d")})
	other, _ := packed(t, packer, engine.Lock, engine.Range{End: []byte("c")})
	mangled := []part{{0, make([]byte, 1000), true}}
	gone := errors.New("nobody takes it")
	_, err := packer.Pack(engine.Default, engine.Range{}, [engine.TableLanes]engine.TableSink{&sink{err: gone}, &sink{err: gone}})
	require.ErrorIs(t, err, gone)
	closeAll(t, packer.(engine.Snapshot))
	for name, c := range map[string]struct {
		parts []part
		also  func(engine.TableStaged) error
		good  bool
	}{
		"in one table":   {parts: good, good: true},
		"in two tables":  {parts: slices.Concat(half, rest), good: true},
		"in two lanes":   {parts: inTurns(half, inLane(1, rest)), good: true},
		"second lane":    {parts: inLane(1, good), good: true},
		"lanes swapped":  {parts: inTurns(inLane(1, half), rest)},
		"a gap of lanes": {parts: inTurns(half, inLane(1, behind))},
		"lanes overlap":  {parts: inTurns(half, inLane(1, good))},
		"a lane ends":    {parts: slices.Concat(half, inLane(1, rest[:len(rest)-1]))},
		"a lane of none": {also: func(s engine.TableStaged) error {
			return s.PutTable(engine.Default, engine.TableLanes, good[0].data, false)
		}},
		"ends early":     {parts: half},
		"begins late":    {parts: rest},
		"a gap":          {parts: slices.Concat(half, behind)},
		"twice":          {parts: slices.Concat(good, good)},
		"beyond the end": {parts: wide},
		"of another":     {parts: other},
		"no end":         {parts: good[:len(good)-1]},
		"cut":            {parts: append(slices.Clone(good[:len(good)-2]), good[len(good)-1])},
		"no table":       {parts: mangled},
		"pairs behind it": {parts: good, also: func(s engine.TableStaged) error {
			return s.Put(engine.Default, []byte("bb"), nil)
		}},
		"out of turn": {parts: good, also: func(s engine.TableStaged) error {
			require.NoError(t, s.Put(engine.Write, []byte("x"), nil))
			return s.PutTable(engine.Default, 0, good[0].data, false)
		}},
		"behind pairs": {also: func(s engine.TableStaged) error {
			require.NoError(t, s.Put(engine.Default, []byte("a"), nil))
			return s.PutTable(engine.Default, 0, good[0].data, false)
		}},
		"not replaced": {also: func(s engine.TableStaged) error { return s.PutTable(engine.Lock, 0, good[0].data, false) }},
	} {
		s, err := stager.Stage(map[engine.CF]engine.Range{engine.Default: {End: []byte("c")}, engine.Write: {}})
		require.NoError(t, err)
		staged := s.(engine.TableStaged)
		for _, p := range c.parts {
			require.NoError(t, staged.PutTable(engine.Default, p.lane, p.data, p.end), name)
		}
		if c.also != nil {
			err = c.also(staged)
		}
		if err == nil {
			err = staged.Finish()
		}
		require.Equal(t, c.good, err == nil, "%s: %v", name, err)
		staged.Discard()
	}
	require.Equal(t, []string{"a=old", "b=old"}, scanNow(t, f.e, engine.Default))
	put(t, f.e, engine.Default, "still", "usable")
}
