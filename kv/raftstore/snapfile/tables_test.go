package snapfile

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// tableStore is a store whose engine makes tables and takes them.
type tableStore struct {
	*Manager
	e *pebbledb.DB
}

func openTableStore(t *testing.T) tableStore {
	e, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	m := newManager(t, NewMemFS())
	m.StageIn(e)
	t.Cleanup(func() {
		require.NoError(t, m.Close())
		require.NoError(t, e.Close(), "nothing of it is in use")
	})
	return tableStore{m, e}
}

// fill writes size bytes of pairs, and holds the region's part of them.
func (s tableStore) fill(t *testing.T, size int, pace Pace) {
	b, rng := s.e.NewBatch(), rand.NewChaCha8([32]byte{})
	for _, key := range []string{"a", "y"} {
		b.Put(engine.Default, []byte(key), []byte("outside"))
	}
	value := make([]byte, 1000)
	for i := range size / len(value) {
		_, _ = rng.Read(value) // never fails
		b.Put(engine.Default, fmt.Appendf(nil, "k%06d", i), value)
	}
	b.Put(engine.Write, []byte("c"), []byte("w"))
	require.NoError(t, b.Commit(false))
	require.NoError(t, b.Close())
	require.NoError(t, s.Hold(testKey, testRegion("b", "y"), s.e.NewSnapshot(), pace))
}

// tables returns what is sent to a receiver that takes tables.
func (s tableStore) tables(t *testing.T) ([]byte, Meta) {
	stream, err := s.OpenToSend(testKey)
	require.NoError(t, err)
	stream.SendTables(s.e.TableForm())
	b, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	return b, stream.Meta()
}

// Between engines of one kind tables are sent. What is received is what would have come as pairs, and damage at any byte leaves nothing.
func TestSnapshotOfTables(t *testing.T) {
	from, to, third := openTableStore(t), openTableStore(t), openTableStore(t)
	from.fill(t, 5*partSize, nil)
	asPairs, want := sent(t, from.Manager, testKey)
	good, meta := from.tables(t)
	require.NotEqual(t, asPairs, good)
	require.Equal(t, want.CFs, meta.CFs)
	require.Len(t, good, int(meta.Size))
	for _, at := range []int{0, 10, len(magic) + headerLen, partSize / 2, len(good) / 2, len(good) - wholeFooter - 1, len(good) - wholeFooter, len(good) - 1} {
		damaged := bytes.Clone(good)
		damaged[at] ^= 1
		_, err := receivePieces(t, to.Manager, testKey, damaged, 1<<20)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt)
		_, err = receive(t, to.Manager, testKey, good[:at])
		require.ErrorAs(t, err, &corrupt)
	}
	for _, piece := range []int{100, 1 << 20, len(good)} {
		received, err := receivePieces(t, to.Manager, testKey, good, piece)
		require.NoError(t, err)
		require.Equal(t, meta.CFs, received.CFs)
		require.NoError(t, to.Install(testKey, meta.Region, to.e, nil))
		require.Equal(t, "c=w ", dump(t, to.e, engine.Write))
	}
	require.NoError(t, to.Hold(testKey, meta.Region, to.e.NewSnapshot(), nil))
	again, _ := sent(t, to.Manager, testKey)
	require.Equal(t, asPairs, again)

	// What is in tables already is halved, and comes in lanes.
	inLanes, _ := to.tables(t)
	require.Equal(t, 1, lanesOf(t, good))
	require.Equal(t, engine.TableLanes, lanesOf(t, inLanes))
	received, err := receivePieces(t, third.Manager, testKey, inLanes, 1<<20)
	require.NoError(t, err)
	require.Equal(t, meta.CFs, received.CFs)
	require.NoError(t, third.Install(testKey, meta.Region, third.e, nil))
	require.NoError(t, third.Hold(testKey, meta.Region, third.e.NewSnapshot(), nil))
	again, _ = sent(t, third.Manager, testKey)
	require.Equal(t, asPairs, again)
}

// lanesOf counts the lanes in which a file's tables come.
func lanesOf(t *testing.T, file []byte) int {
	lanes := make(map[int]bool)
	in := incoming{name: "test", key: testKey, takePart: func(_ engine.CF, lane int, _ []byte, _ bool) error {
		lanes[lane] = true
		return nil
	}}
	require.NoError(t, in.feed(file))
	return len(lanes)
}

// Nobody is sent tables who does not take them, and from nobody they are taken where they are not due.
func TestTablesOnlyWhereTheyAreTaken(t *testing.T) {
	from, files := openTableStore(t), newManager(t, NewMemFS())
	from.fill(t, 5000, nil)
	pairs, _ := sent(t, from.Manager, testKey)
	tables, _ := from.tables(t)

	r, err := files.Receive(testKey)
	require.NoError(t, err)
	require.Empty(t, r.TableForm())
	r.Abort()
	stream, err := from.OpenToSend(testKey)
	require.NoError(t, err)
	stream.SendTables("")
	stream.SendTables("of another engine")
	b, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.Equal(t, pairs, b)
	_, err = receive(t, files, testKey, tables)
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)

	other := newManager(t, NewMemFS()) // whose engine makes none
	require.NoError(t, other.Hold(testKey, testRegion("b", "y"), memdb.New().NewSnapshot(), nil))
	stream, err = other.OpenToSend(testKey)
	require.NoError(t, err)
	stream.SendTables(from.e.TableForm())
	b, err = io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	_, err = receive(t, files, testKey, b)
	require.NoError(t, err)
}

// The footer's counts are held against what the tables hold, by whoever receives them.
func TestCountsOfTables(t *testing.T) {
	from, to := openTableStore(t), openTableStore(t)
	from.fill(t, 5000, nil)
	for i, change := range []func(*engine.Packed){
		func(p *engine.Packed) { p.Pairs++ },
		func(p *engine.Packed) { p.Bytes-- },
		func(*engine.Packed) {},
	} {
		stream, err := from.OpenToSend(testKey)
		require.NoError(t, err)
		stream.held.snap = miscounting{stream.held.snap.(engine.Packer), stream.held.snap, change}
		stream.SendTables(from.e.TableForm())
		b, err := io.ReadAll(stream)
		require.NoError(t, err)
		stream.held.snap = stream.held.snap.(miscounting).Snapshot
		require.NoError(t, stream.Close())
		_, err = receive(t, to.Manager, testKey, b)
		if i == 2 {
			require.NoError(t, err)
			break
		}
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.ErrorContains(t, err, "the footer promises")
	}
}

// miscounting is a snapshot whose tables are right and whose counts are not.
type miscounting struct {
	engine.Packer
	engine.Snapshot
	change func(*engine.Packed)
}

func (m miscounting) Pack(cf engine.CF, r engine.Range, to [engine.TableLanes]engine.TableSink) (engine.Packed, error) {
	p, err := m.Packer.Pack(cf, r, to)
	m.change(&p)
	return p, err
}

// A stream may be closed at any point: the packing beside it ends with it, and the engine can be closed. What ends the packing is the stream's error.
func TestPackingEndsWithItsStream(t *testing.T) {
	from := openTableStore(t)
	stop := errors.New("no more")
	left := 5
	from.fill(t, 8*partSize, func(int) error {
		if left--; left < 0 {
			return stop
		}
		return nil
	})
	for blocks := range 5 {
		left = blocks
		stream, err := from.OpenToSend(testKey)
		require.NoError(t, err)
		stream.SendTables(from.e.TableForm())
		for range blocks {
			_, err := stream.Next(nil)
			require.NoError(t, err)
		}
		if blocks%2 == 0 {
			_, err = stream.Next(nil)
			require.ErrorIs(t, err, stop)
		}
		require.NoError(t, stream.Close())
		require.NoError(t, stream.Close())
	}
}

// That a table ends is told when all of it has been verified, however the file is cut, and a part with a byte wrong is never the end of one.
func TestTableEndsOnceItIsVerified(t *testing.T) {
	from := openTableStore(t)
	from.fill(t, 2*partSize+1000, nil)
	good, _ := from.tables(t)
	ended := func(b []byte, piece int) (tables [][]byte, err error) {
		var table []byte
		in := incoming{name: "test", key: testKey, takePart: func(_ engine.CF, _ int, part []byte, end bool) error {
			if table = append(table, part...); end {
				tables, table = append(tables, table), nil
			}
			return nil
		}}
		for rest := b; len(rest) > 0 && err == nil; {
			n := min(len(rest), piece)
			err = in.feed(rest[:n])
			rest = rest[n:]
		}
		return tables, err
	}
	want, err := ended(good, len(good))
	require.NoError(t, err)
	require.Len(t, want, len(engine.DataCFs))
	for _, piece := range []int{7, 1000, partSize} {
		got, err := ended(good, piece)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	firstEnds := bytes.Index(good, want[0][2*partSize:]) + len(want[0][2*partSize:])
	for _, at := range []int{firstEnds - 1, firstEnds - 1000, firstEnds - partSize, firstEnds - 2*partSize} {
		damaged := bytes.Clone(good)
		damaged[at] ^= 1
		got, err := ended(damaged, 1000)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt)
		require.Empty(t, got)
	}
}

// A table may end with a part of no bytes.
func TestEmptyLastPart(t *testing.T) {
	p := newPacking(int64(len(magic)))
	l := &p.lanes[0]
	require.NoError(t, l.Write([]byte("table")))
	require.NoError(t, l.hand(false))
	require.NoError(t, l.EndTable())
	ends := ""
	in := incoming{name: "test", key: testKey, at: int64(len(magic)), region: testRegion("b", "y"), takePart: func(_ engine.CF, _ int, part []byte, end bool) error {
		ends += fmt.Sprint(string(part), end, " ")
		return nil
	}}
	in.enter(0, in.at)
	for range 2 {
		require.NoError(t, in.feed(<-p.parts))
	}
	require.Equal(t, "tablefalse true ", ends)
}

// Tables of two lanes come block by block, each lane's in its order; a lane that nobody has is refused.
func TestLanesSideBySide(t *testing.T) {
	p := newPacking(int64(len(magic)))
	for i := range 3 {
		for n := range p.lanes {
			l := &p.lanes[n]
			require.NoError(t, l.Write(fmt.Appendf(nil, "%d", i)))
			require.NoError(t, l.hand(i == 2))
		}
	}
	tables := make([]string, engine.TableLanes)
	in := incoming{name: "test", key: testKey, at: int64(len(magic)), region: testRegion("b", "y"), takePart: func(cf engine.CF, lane int, part []byte, end bool) error {
		tables[lane] += fmt.Sprint(cf, string(part), end, " ")
		return nil
	}}
	in.enter(0, in.at)
	for range 3 * engine.TableLanes {
		require.NoError(t, in.feed(<-p.parts))
	}
	for _, table := range tables {
		require.Equal(t, "default0false default1false default2false defaulttrue ", table)
	}
	kind := tableKind(engine.Default, engine.TableLanes, true)
	h := partHeader(in.at, kind, 0, 0)
	var corrupt *CorruptError
	require.ErrorAs(t, in.feed(h[:]), &corrupt)
	for _, cf := range engine.DataCFs {
		for lane := range engine.TableLanes {
			for _, last := range []bool{false, true} {
				gotCF, gotLane, gotLast := ofTableKind(tableKind(cf, lane, last))
				require.Equal(t, []any{cf, lane, last}, []any{gotCF, gotLane, gotLast})
				require.True(t, ofTable(tableKind(cf, lane, last)))
			}
		}
	}
}
