package snapfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/proto/region"
)

var testKey = Key{RegionID: 7, Term: 6, Index: 100}

func testRegion(start, end string) *metapb.Region {
	return &metapb.Region{
		Id: testKey.RegionID, StartKey: []byte(start), EndKey: []byte(end),
		RegionEpoch: &metapb.RegionEpoch{ConfVer: 3, Version: 5},
		Peers:       []*metapb.Peer{{Id: 8, StoreId: 1}, {Id: 9, StoreId: 2}},
	}
}

type pair struct{ key, value string }

type content map[engine.CF][]pair

// fill writes pairs, and what must not get into a snapshot, and returns a snapshot of it.
func fill(t require.TestingT, data content) engine.Snapshot {
	db := memdb.New()
	b := db.NewBatch()
	b.Put(engine.Local, []byte("b"), []byte("local"))
	for cf, pairs := range data {
		for _, p := range pairs {
			b.Put(cf, []byte(p.key), []byte(p.value))
		}
	}
	require.NoError(t, b.Commit(true))
	return db.NewSnapshot()
}

func readAll(t require.TestingT, r *Reader) content {
	data := content{}
	for _, cf := range engine.DataCFs {
		s, err := r.Source(cf)
		require.NoError(t, err)
		for s.Next() {
			data[cf] = append(data[cf], pair{string(s.Key()), string(s.Value())})
		}
		require.NoError(t, s.Close())
	}
	return data
}

func newManager(t require.TestingT, fs FS) *Manager {
	m, err := New(fs)
	require.NoError(t, err)
	return m
}

// hold gives a manager the data to send.
func hold(t require.TestingT, m *Manager, key Key, r *metapb.Region, data content) {
	require.NoError(t, m.Hold(key, r, fill(t, data), nil))
}

// sent returns what a manager sends, and how it describes it.
func sent(t require.TestingT, from *Manager, key Key) ([]byte, Meta) {
	stream, err := from.OpenToSend(key)
	require.NoError(t, err)
	b, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	require.NoError(t, stream.Close())
	require.Len(t, b, int(stream.Meta().Size))
	return b, stream.Meta()
}

// send brings a snapshot from one manager to another, as bytes, and compares how the two describe it.
func send(t require.TestingT, from, to *Manager, key Key) Meta {
	b, meta := sent(t, from, key)
	received, err := receive(t, to, key, b)
	require.NoError(t, err)
	require.True(t, proto.Equal(meta.Region, received.Region)) // an empty key may come as nil
	received.Region = meta.Region
	require.Equal(t, meta, received)
	return meta
}

func receive(t require.TestingT, to *Manager, key Key, b []byte) (Meta, error) {
	return receivePieces(t, to, key, b, 1000)
}

func receivePieces(t require.TestingT, to *Manager, key Key, b []byte, size int) (Meta, error) {
	r, err := to.Receive(key)
	require.NoError(t, err)
	defer r.Abort()
	for len(b) > 0 {
		n, err := r.Write(b[:min(len(b), size)])
		if err != nil {
			return Meta{}, err
		}
		b = b[n:]
	}
	return r.Commit()
}

func build(t require.TestingT, r *metapb.Region, data content) []byte {
	m := newManager(t, NewMemFS())
	hold(t, m, testKey, r, data)
	b, _ := sent(t, m, testKey)
	return b
}

func directories(t *testing.T) map[string]FS {
	dir, err := OSDir(filepath.Join(t.TempDir(), "snap"))
	require.NoError(t, err)
	return map[string]FS{"os": dir, "mem": NewMemFS()}
}

func TestFromStoreToStore(t *testing.T) {
	data := content{
		engine.Default: {{"a", "outside"}, {"b", "1"}, {"b\x00", ""}, {"c", "3"}, {"d", "outside"}},
		engine.Write:   {{"bb", "w"}, {"zz", "outside"}},
	}
	want := content{engine.Default: {{"b", "1"}, {"b\x00", ""}, {"c", "3"}}, engine.Write: {{"bb", "w"}}}
	for name, fs := range directories(t) {
		t.Run(name, func(t *testing.T) {
			leader, follower := newManager(t, NewMemFS()), newManager(t, fs)
			hold(t, leader, testKey, testRegion("b", "d"), data)
			meta := send(t, leader, follower, testKey)
			require.Equal(t, []CFMeta{{engine.Default, 3, 6}, {engine.Lock, 0, 0}, {engine.Write, 1, 3}}, meta.CFs)

			items, err := follower.List()
			require.NoError(t, err)
			require.Equal(t, []Item{{Key: testKey, Received: true, Size: int64(meta.Size)}}, items)
			r, err := follower.OpenToInstall(testKey)
			require.NoError(t, err)
			require.Equal(t, testRegion("b", "d"), r.Region())
			require.Equal(t, meta, r.Meta())
			require.NoError(t, follower.Delete(testKey, true)) // an open file stays readable
			require.Equal(t, want, readAll(t, r))
			_, err = r.Source(engine.Local)
			require.ErrorContains(t, err, "do not hold column family local")
			require.NoError(t, r.Close())
		})
	}
}

// What is read back is what was there, for any data, and it goes into an engine.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := rapid.SampledFrom([]string{"", "!", "a", "m", "\xff"})
		r := testRegion(bounds.Draw(t, "start"), bounds.Draw(t, "end"))
		data, want := content{}, content{}
		for _, cf := range engine.DataCFs {
			keys := rapid.MapOfN(
				rapid.StringOfN(rapid.RuneFrom([]rune("!am\xff\x00")), 1, 4, -1),
				rapid.SampledFrom([]int{0, 1, 100, blockTarget / 3, blockTarget, 3 * blockTarget}), 0, 12).Draw(t, cf.String())
			for k, n := range keys {
				data[cf] = append(data[cf], pair{k, string(bytes.Repeat([]byte(k[:1]), n))})
			}
		}
		snap := fill(t, data)
		for _, cf := range engine.DataCFs { // in the engine's order
			it, err := snap.NewIterator(cf, engine.IterOptions{})
			require.NoError(t, err)
			for ok := it.SeekGE(nil); ok; ok = it.Next() {
				if region.Contains(r, it.Key()) {
					want[cf] = append(want[cf], pair{string(it.Key()), string(it.Value())})
				}
			}
		}
		leader, follower := newManager(t, NewMemFS()), newManager(t, NewMemFS())
		require.NoError(t, leader.Hold(testKey, r, snap, nil))
		send(t, leader, follower, testKey)
		reader, err := follower.OpenToInstall(testKey)
		require.NoError(t, err)
		require.Equal(t, want, readAll(t, reader))

		db := memdb.New()
		replace := map[engine.CF]engine.Range{}
		for _, cf := range engine.DataCFs {
			replace[cf] = engine.Range{Start: r.StartKey, End: r.EndKey}
		}
		if len(r.EndKey) == 0 || bytes.Compare(r.StartKey, r.EndKey) < 0 {
			require.NoError(t, db.Ingest(engine.Ingestion{Replace: replace, Open: reader.Source}))
			got, err := db.NewSnapshot().Get(engine.Default, []byte("m"))
			require.NoError(t, err)
			for _, p := range want[engine.Default] {
				if p.key == "m" {
					require.Equal(t, p.value, string(got))
				}
			}
		}
	})
}

// PITFALLS S22: whichever byte is wrong, wherever the file ends, it is refused, by the receiver, whatever pieces it comes in, and, should the disk rot later, by the one who installs.
func TestEveryDamageIsFound(t *testing.T) {
	good := build(t, testRegion("", ""), content{
		engine.Default: {{"a", "1"}, {"b", "2"}},
		engine.Lock:    {{"a", "lock"}},
		engine.Write:   {{"w", ""}},
	})
	check := func(bad []byte, what string, n int) {
		follower := newManager(t, NewMemFS())
		_, err := receivePieces(t, follower, testKey, bad, []int{1000, 1, 7}[n%3])
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, "%s %d", what, n)
		names, err := follower.fs.List()
		require.NoError(t, err)
		require.Empty(t, names)
		require.ErrorAs(t, tryInstall(bad), &corrupt, "%s %d", what, n)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		check(bad, "flipped byte", i)
		check(good[:i], "length", i)
	}
	check(append(bytes.Clone(good), 0), "appended", 1)
	check(append(bytes.Clone(good), good...), "doubled", 1)
	require.NoError(t, tryInstall(good))
}

// tryInstall reads all of a received file that has these bytes; the receiver's verification does not take place.
func tryInstall(b []byte) error {
	fs := NewMemFS()
	m, err := New(fs)
	if err != nil {
		return err
	}
	file, err := fs.Create(fileName(testKey))
	if err != nil {
		return err
	}
	if _, err := file.Write(b); err != nil {
		return err
	}
	r, err := m.OpenToInstall(testKey)
	if err != nil {
		return err
	}
	for _, cf := range engine.DataCFs {
		s, err := r.Source(cf)
		if err != nil {
			return err
		}
		for s.Next() {
			if !region.Contains(r.Region(), s.Key()) {
				return fmt.Errorf("key %X", s.Key())
			}
		}
		if s.Next() {
			return fmt.Errorf("went on after the end")
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// assemble writes a file by hand: whatever is in it, its checksums are right.
func assemble(region *metapb.Region, key Key, change func(f *footer), blocks ...[]byte) []byte {
	b := []byte(magic)
	add := func(kind byte, payload []byte) {
		h := header(int64(len(b)), kind, payload)
		b = append(append(b, h[:]...), payload...)
	}
	encoded, _ := region.Marshal()
	add(kindRegion, encoded)
	f := footer{key: key}
	for i, cf := range engine.DataCFs {
		f.sections[i].CF = cf
		f.sections[i].start = int64(len(b))
		if i == 0 {
			for _, block := range blocks {
				add(kindData, block)
			}
		}
	}
	change(&f)
	add(kindFooter, f.encode())
	return b
}

func pairsOf(of ...string) (block []byte) {
	for i := 0; i < len(of); i += 2 {
		block = binary.AppendUvarint(block, uint64(len(of[i])))
		block = binary.AppendUvarint(block, uint64(len(of[i+1])))
		block = append(append(block, of[i]...), of[i+1]...)
	}
	return block
}

func TestNonsenseIsRefused(t *testing.T) {
	counts := func(pairs, bytes uint64) func(f *footer) {
		return func(f *footer) { f.sections[0].Pairs, f.sections[0].Bytes = pairs, bytes }
	}
	r := testRegion("b", "d")
	other := testRegion("b", "d")
	other.Id = 8
	require.NoError(t, tryInstall(assemble(r, testKey, counts(2, 4), pairsOf("b", "1"), pairsOf("c", "2"))))
	for _, c := range []struct {
		want string
		file []byte
	}{
		{"9 bytes are too few", []byte("SHOALSN1.")},
		{"does not begin with", append([]byte("SHOALSN1"), assemble(r, testKey, counts(0, 0))[8:]...)},
		{"holds the snapshot {RegionID:7 Term:6 Index:101}", assemble(r, Key{7, 6, 101}, counts(0, 0))},
		{"holds region 8", assemble(other, testKey, counts(0, 0))},
		{"key 63 does not come after 63", assemble(r, testKey, counts(2, 4), pairsOf("c", "1", "c", "2"))},
		{"key 62 does not come after 63", assemble(r, testKey, counts(2, 4), pairsOf("c", "1"), pairsOf("b", "2"))},
		{"key 61 is not in the region", assemble(r, testKey, counts(1, 2), pairsOf("a", "1"))},
		{"key 64 is not in the region", assemble(r, testKey, counts(1, 2), pairsOf("d", "1"))},
		{"has 1 pairs of 2 bytes, the footer promises 2 of 4", assemble(r, testKey, counts(2, 4), pairsOf("b", "1"))},
		{"has 1 pairs of 2 bytes, the footer promises 2 of 2", assemble(r, testKey, counts(2, 2), pairsOf("b", "1"))},
		{"has 1 pairs of 2 bytes, the footer promises 1 of 3", assemble(r, testKey, counts(1, 3), pairsOf("b", "1"))},
		{"empty block", assemble(r, testKey, counts(0, 0), nil)},
		{"ends within a pair", assemble(r, testKey, counts(1, 2), []byte{1, 2, 'b', 'b'})},
		{"ends within a pair", assemble(r, testKey, counts(1, 2), []byte{5, 0, 'b'})},
		{"ends within a pair", assemble(r, testKey, counts(1, 2), binary.AppendUvarint(binary.AppendUvarint(nil, 1<<63), 1<<63))},
		{"a length in the block is malformed", assemble(r, testKey, counts(1, 2), []byte{0x80})},
		{"a length in the block is malformed", assemble(r, testKey, counts(1, 2), bytes.Repeat([]byte{0xff}, 11))},
		{"a length in the block is malformed", assemble(r, testKey, counts(1, 2), []byte{1})},
		{"does not describe column family lock", assemble(r, testKey, func(f *footer) { f.sections[1].CF = engine.Write })},
		{"does not describe column family lock", assemble(r, testKey, func(f *footer) { f.sections[1].start = 1 << 40 })},
		{"does not describe column family default", assemble(r, testKey, func(f *footer) { f.sections[0].start = -1 })},
		{"ends within a block", assemble(r, testKey, func(f *footer) { f.sections[0].start = int64(len(magic)) })},
		{"unexpected data behind the region", assemble(r, testKey, func(f *footer) { f.sections[0].start = f.sections[2].start }, pairsOf("b", "1"))},
	} {
		err := tryInstall(c.file)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, c.want)
		require.ErrorContains(t, err, c.want)
	}
}

func TestHoldRefuses(t *testing.T) {
	m := newManager(t, NewMemFS())
	wrong := testRegion("", "")
	wrong.Id = 8
	require.ErrorContains(t, m.Hold(testKey, wrong, fill(t, nil), nil), "cannot hold region 8")
	require.ErrorContains(t, m.Hold(testKey, nil, fill(t, nil), nil), "cannot hold region 0")
	items, err := m.List()
	require.NoError(t, err)
	require.Empty(t, items)
	hold(t, m, testKey, testRegion("", ""), content{engine.Default: {{"k", string(make([]byte, maxPairSpace))}}})
	stream, err := m.OpenToSend(testKey)
	require.NoError(t, err)
	_, err = io.ReadAll(stream)
	require.ErrorContains(t, err, "the limit is")
	require.NoError(t, stream.Close())
}

func TestOneReceiverPerSnapshot(t *testing.T) {
	good := build(t, testRegion("", ""), content{engine.Default: {{"a", "1"}}})
	m := newManager(t, NewMemFS())
	first, err := m.Receive(testKey)
	require.NoError(t, err)
	_, err = m.Receive(testKey)
	require.ErrorIs(t, err, ErrBusy)
	other, err := m.Receive(Key{8, 6, 100})
	require.NoError(t, err)
	other.Abort()
	_, err = m.OpenToInstall(testKey)
	require.ErrorIs(t, err, ErrNotFound)
	first.Abort()
	first.Abort()

	_, err = receive(t, m, testKey, good)
	require.NoError(t, err)
	_, err = m.Receive(testKey)
	require.ErrorIs(t, err, ErrExists)
	require.NoError(t, m.Delete(testKey, true))
	require.NoError(t, m.Delete(testKey, true))
	r, err := m.Receive(testKey)
	require.NoError(t, err)
	r.Abort()
	_, err = m.OpenToSend(testKey)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestNewRemovesWhatIsThere(t *testing.T) {
	good := build(t, testRegion("", ""), nil)
	for name, fs := range directories(t) {
		t.Run(name, func(t *testing.T) {
			m := newManager(t, fs)
			_, err := receive(t, m, testKey, good)
			require.NoError(t, err)
			_, err = m.Receive(Key{8, 6, 100})
			require.NoError(t, err)
			for _, name := range []string{"README.tmp", "snap_gen_1_1_1.snap", "snap_gen_1_1_1.snap.tmp"} { // an earlier version wrote the latter
				stranger, err := fs.Create(name)
				require.NoError(t, err)
				require.NoError(t, stranger.Close())
			}
			m = newManager(t, fs)
			names, err := fs.List()
			require.NoError(t, err)
			require.Equal(t, []string{"README.tmp"}, names)
			items, err := m.List()
			require.NoError(t, err)
			require.Empty(t, items)
		})
	}
}

func TestListIsSorted(t *testing.T) {
	m := newManager(t, NewMemFS())
	keys := []Key{{1, 9, 5}, {1, 5, 10}, {1, 6, 10}, {2, 1, 1}, {10, 1, 1}}
	for i := range keys {
		key := keys[len(keys)-1-i]
		r := testRegion("", "")
		r.Id = key.RegionID
		hold(t, m, key, r, nil)
		send(t, m, m, key)
	}
	for _, name := range []string{"snap_rev_1_1.snap", "snap_rev_01_1_1.snap", "snap_new_1_1_1.snap", "snap_rev_-1_1_1.snap", "snap_rev_1_1_1", "x"} {
		_, err := m.fs.Create(name)
		require.NoError(t, err)
	}
	items, err := m.List()
	require.NoError(t, err)
	require.Len(t, items, 2*len(keys))
	for i, item := range items {
		require.Equal(t, keys[i/2], item.Key)
		require.Equal(t, i%2 == 1, item.Received)
	}
}

// The name is also that which operators of the family know.
func TestName(t *testing.T) {
	require.Equal(t, "snap_rev_7_6_100.snap", fileName(testKey))
}

func TestOSDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "snap")
	dir, err := OSDir(path)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(path, "sub"), 0o755))
	names, err := dir.List()
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, os.WriteFile(filepath.Join(path, "file"), nil, 0o600))
	_, err = OSDir(filepath.Join(path, "file", "snap"))
	require.Error(t, err)
}

// FuzzReader: no bytes make the reader panic or take more than they are; what it accepts lies in the region, in order.
func FuzzReader(f *testing.F) {
	good := build(f, testRegion("", ""), content{engine.Default: {{"a", "1"}, {"b", "2"}}, engine.Write: {{"w", ""}}})
	f.Add(good)
	f.Add(assemble(testRegion("b", "d"), testKey, func(*footer) {}, pairsOf("b", "1")))
	f.Add(assemble(testRegion("b", "d"), testKey, func(*footer) {}, []byte{5, 0, 'b'}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = repair(b)
		err := tryInstall(b)
		// The receiver finds all that the one who installs finds.
		if _, refused := receivePieces(t, newManager(t, NewMemFS()), testKey, b, 1+len(b)/3); refused == nil {
			require.NoError(t, err)
		}
	})
}

// repair makes the checksums of a file right where its blocks can be found, so that the fuzzer gets behind them.
func repair(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < minFile {
		return b
	}
	copy(b, magic)
	fix := func(at, end int) (next int) {
		length := int(binary.BigEndian.Uint32(b[at+1:]))
		if next = at + headerLen + length; length > maxBlock || next > end {
			return end
		}
		h := header(int64(at), b[at], b[at+headerLen:next])
		copy(b[at:], h[:])
		return next
	}
	footerAt := len(b) - wholeFooter
	for at := len(magic); at+headerLen <= footerAt; {
		at = fix(at, footerAt)
	}
	b[footerAt] = kindFooter
	binary.BigEndian.PutUint32(b[footerAt+1:], uint32(footerLen))
	fix(footerAt, len(b))
	return b
}

func TestDeleteAll(t *testing.T) {
	for name, fs := range directories(t) {
		t.Run(name, func(t *testing.T) {
			both := newManager(t, fs)
			hold(t, both, testKey, testRegion("b", "d"), nil)
			send(t, both, both, testKey)
			require.NoError(t, both.DeleteAll())
			items, err := both.List()
			require.NoError(t, err)
			require.Empty(t, items)
			require.NoError(t, both.DeleteAll())
		})
	}
}

// What nobody came for goes when it is old; what is young stays.
func TestSweep(t *testing.T) {
	m := newManager(t, NewMemFS())
	hold(t, m, testKey, testRegion("b", "d"), nil)
	at := time.Unix(1000, 0)
	items := func(at time.Time) (received []bool) {
		require.NoError(t, m.Sweep(at, time.Hour))
		items, err := m.List()
		require.NoError(t, err)
		for _, i := range items {
			received = append(received, i.Received)
		}
		return received
	}
	require.Equal(t, []bool{false}, items(at))
	send(t, m, m, testKey)
	require.Equal(t, []bool{false, true}, items(at.Add(maxHold)))
	require.Equal(t, []bool{true}, items(at.Add(maxHold+1)))
	require.Equal(t, []bool{true}, items(at.Add(maxHold+time.Hour)))
	require.Empty(t, items(at.Add(maxHold+time.Hour+1)))
	_, err := m.OpenToInstall(testKey)
	require.ErrorIs(t, err, ErrNotFound)
}
