package pebbledb_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
)

// disturbed returns a copy of the disk in which one file was changed.
func disturbed(t *testing.T, fs *vfs.MemFS, path string, change func([]byte) []byte) *vfs.MemFS {
	damaged := vfs.NewMem()
	_, err := vfs.Clone(fs, damaged, "/db", "/db")
	require.NoError(t, err)
	f, err := damaged.Open(path)
	require.NoError(t, err)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	f, err = damaged.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(change(data))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return damaged
}

func flip(at int) func([]byte) []byte {
	return func(data []byte) []byte {
		data[at] ^= 0x10
		return data
	}
}

// newest finds the last file whose name has the prefix and suffix, and its size.
func newest(t *testing.T, fs vfs.FS, prefix, suffix string) (string, int) {
	names, err := fs.List("/db")
	require.NoError(t, err)
	found := ""
	for _, name := range names {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, suffix) && name > found {
			found = name
		}
	}
	require.NotEmpty(t, found)
	path := fs.PathJoin("/db", found)
	info, err := fs.Stat(path)
	require.NoError(t, err)
	return path, int(info.Size())
}

// S22: one flipped byte anywhere in the synced part of the log is refused with an error that names the file: never
// taken for a torn tail, whatever the batches look like. (pebble alone drops acknowledged batches without a word when the
// byte lies in the log's last blocks; and in nearly all of the log when batches were large or written by many.)
func TestFlippedByteInTheLogIsRefused(t *testing.T) {
	for _, c := range []struct {
		name                   string
		writers, batches, size int
		places                 int // to damage; searching a large record for the flipped bit takes pebble long
	}{
		{"ShortLog", 1, 10, 100, 50},
		{"OneWriter", 1, 300, 1000, 50},
		{"ManyWriters", 64, 10, 1000, 50},
		{"LargeBatches", 1, 10, 100_000, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: fs})
			require.NoError(t, err)
			var wg sync.WaitGroup
			for w := range c.writers {
				wg.Go(func() {
					for i := range c.batches {
						if err := put(db, true, fmt.Sprintf("%d-%d-%s", w, i, strings.Repeat("k", c.size/2))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
			require.NoError(t, db.Close())
			for state, fs := range map[string]*vfs.MemFS{"killed": killed, "closed": fs} {
				path, size := newest(t, fs, "", ".log")
				end := size
				if state == "closed" {
					end -= 11 // the log's closing mark; damage to it loses nothing
				}
				for i := range c.places {
					at := min(end-1, end*i/(c.places-1))
					_, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: disturbed(t, fs, path, flip(at))})
					require.ErrorContains(t, err, path, "%s, byte %d of %d", state, at, size)
					require.ErrorContains(t, err, "damaged")
				}
				_, err := pebbledb.Open(pebbledb.Options{
					Dir: "/db",
					FS:  disturbed(t, fs, path, func(data []byte) []byte { return data[:size/2] }),
				})
				require.ErrorContains(t, err, path, "half of the log is missing")
			}
		})
	}
}

// S22: what was never synced may be torn at any byte: it is dropped, batch by batch, and the engine opens.
func TestTornTailIsDropped(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: fs})
	require.NoError(t, err)
	require.NoError(t, put(db, true, "synced"))
	path, synced := newest(t, fs, "", ".log")
	for i := range 20 {
		require.NoError(t, put(db, false, fmt.Sprintf("unsynced%02d", i), strings.Repeat("k", 4000)))
	}
	copied := vfs.NewMem() // as kill -9 would leave it: written, not synced
	require.Eventually(t, func() bool {
		_, err := vfs.Clone(fs, copied, "/db", "/db")
		require.NoError(t, err)
		_, size := newest(t, copied, "", ".log")
		return size > 40_000
	}, waitLimit, waitTick, "the log is written in the background")
	_, size := newest(t, copied, "", ".log")
	require.NoError(t, db.Close())

	for i := range 60 {
		at := synced + (size-synced)*i/60
		for name, change := range map[string]func([]byte) []byte{
			"cut":     func(data []byte) []byte { return data[:at] },
			"flipped": flip(at),
		} {
			db, err := pebbledb.Open(pebbledb.Options{Dir: "/db", FS: disturbed(t, copied, path, change)})
			require.NoError(t, err, "%s at %d of %d..%d", name, at, synced, size)
			require.True(t, has(t, db, "synced"))
			last := true
			for i := range 20 {
				now := has(t, db, fmt.Sprintf("unsynced%02d", i))
				require.False(t, now && !last, "batch %d is there, the one before is not", i)
				last = now
			}
			require.NoError(t, db.Close())
		}
	}
}

// S22: a damaged manifest would be read up to the damage, and the store would open as it was long ago.
func TestFlippedByteInTheManifestIsRefused(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, put(db, true, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 4000))))
	}
	require.NoError(t, db.Close())
	path, size := newest(t, fs, "MANIFEST-", "")
	for i := range 50 {
		at := min(size-1, size*i/49)
		_, err := pebbledb.Open(small(disturbed(t, fs, path, flip(at))))
		require.ErrorContains(t, err, path, "byte %d of %d", at, size)
	}
}

// A damaged note is as good as none, and none is no reason to refuse.
func TestNotesMayBeMissing(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	require.NoError(t, put(db, true, "k"))
	require.NoError(t, db.Close())
	_, size := newest(t, fs, "SYNCED", "")
	for name, change := range map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"short": func(data []byte) []byte { return data[:size/2+5] },
		"zeros": func(data []byte) []byte { clear(data); return data },
		"noise": func(data []byte) []byte {
			for i := range data {
				data[i] ^= byte(i * 7)
			}
			return data
		},
	} {
		db, err := pebbledb.Open(small(disturbed(t, fs, "/db/SYNCED", change)))
		require.NoError(t, err, name)
		require.True(t, has(t, db, "k"))
		require.NoError(t, db.Close())
	}
}

// A damaged table is found when it is read, and poisons the engine: it must not be compacted into something that looks sound.
func TestDamagedTable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	for i := range 40 {
		require.NoError(t, put(db, true, fmt.Sprintf("%d-%s", i, strings.Repeat("k", 4000))))
	}
	require.NoError(t, db.Close())
	path, size := newest(t, fs, "", ".sst")
	fatal := make(chan error, 1)
	opts := small(disturbed(t, fs, path, flip(size/4)))
	opts.OnFatal = func(err error) { fatal <- err }
	db, err = pebbledb.Open(opts)
	if err != nil { // recovery may read the table already
		require.ErrorContains(t, err, "checksum")
		return
	}
	s := db.NewSnapshot()
	it, err := s.NewIterator(engine.Default, engine.IterOptions{})
	require.NoError(t, err)
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		_ = it.Value()
	}
	require.ErrorContains(t, it.Close(), "checksum")
	require.NoError(t, s.Close())
	require.ErrorContains(t, <-fatal, path[len("/db/"):])
	require.Error(t, put(db, true, "later"))
	require.Error(t, db.Close())
}

// damagedDB is an engine of 40 keys in one table, in which a byte of the default family is flipped, and the keys that cannot be read.
type damagedDB struct {
	*pebbledb.DB
	t      *testing.T
	disk   *vfs.MemFS
	lo, hi int
	told   atomic.Int64
}

func (*damagedDB) key(i int) []byte   { return fmt.Appendf(nil, "key%02d", i) }
func (*damagedDB) value(i int) []byte { return []byte(strings.Repeat(string(rune('a'+i%26)), 4000)) }

func (d *damagedDB) open() {
	opts := small(d.disk)
	opts.SurviveDamage = true
	opts.OnFatal = func(err error) { d.t.Errorf("the engine gave up: %v", err) }
	opts.OnDamage = func(spans map[engine.CF]engine.Range) {
		r, ok := spans[engine.Default]
		if !ok || string(r.Start) > "key00" || len(r.End) > 0 && string(r.End) <= "key39" {
			d.t.Errorf("the damage is not in %q", spans)
		}
		d.told.Add(1)
	}
	db, err := pebbledb.Open(opts)
	require.NoError(d.t, err)
	d.DB = db
}

func (d *damagedDB) get(i int) ([]byte, error) {
	s := d.NewSnapshot()
	defer func() { require.NoError(d.t, s.Close()) }()
	return s.Get(engine.Default, d.key(i))
}

func openDamaged(t *testing.T) *damagedDB {
	fs := vfs.NewCrashableMem()
	db, err := pebbledb.Open(small(fs))
	require.NoError(t, err)
	d := &damagedDB{t: t, lo: -1}
	b := db.NewBatch()
	for i := range 40 {
		b.Put(engine.Default, d.key(i), d.value(i))
	}
	b.Put(engine.Lock, []byte("lock"), []byte("other families lie in the same table"))
	require.NoError(t, b.Commit(true))
	require.NoError(t, b.Close())
	require.NoError(t, db.Close())
	db, err = pebbledb.Open(small(fs)) // moves what was in the log into a table
	require.NoError(t, err)
	require.NoError(t, db.Close())
	path, size := newest(t, fs, "", ".sst")

	d.disk = disturbed(t, fs, path, flip(size/4))
	d.open()
	for i := range 40 {
		switch got, err := d.get(i); {
		case engine.IsCorruption(err):
			d.hi = i
			if d.lo < 0 {
				d.lo = i
			}
		default:
			require.NoError(t, err)
			require.Equal(t, d.value(i), got)
		}
	}
	require.GreaterOrEqual(t, d.lo, 4)
	require.Less(t, d.hi-d.lo, 5)
	require.Positive(t, d.told.Load())
	return d
}

// An engine that is to survive damage answers for it where it is, and nowhere else.
func TestDamageIsSurvived(t *testing.T) {
	d := openDamaged(t)
	s := d.NewSnapshot()
	it, err := s.NewIterator(engine.Default, engine.IterOptions{})
	require.NoError(t, err)
	seen := 0
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		require.Equal(t, d.value(seen), it.Value())
		seen++
	}
	require.True(t, engine.IsCorruption(it.Close()))
	require.LessOrEqual(t, seen, d.lo)
	_, err = s.(engine.Packer).Pack(engine.Default, engine.Range{}, pebbledb.Lanes(func(_ int, _ []byte, end bool) error {
		require.False(t, end, "what was read is not all: a table of it must not end")
		return nil
	}))
	require.True(t, engine.IsCorruption(err))
	require.NoError(t, s.Close())
	require.NoError(t, put(d.DB, true, "later"))
	require.NoError(t, d.Close())
}

// A range that is ingested anew is whole again, whether the damage lies inside of it or at its border, where pebble would look to cut it out. The damage
// is never met again, by compactions neither. A snapshot that was taken before answers no holes.
func TestDamageIsHealed(t *testing.T) {
	for _, c := range []struct {
		name   string
		margin int
	}{{"Inside", 3}, {"AtTheBorder", 0}} {
		t.Run(c.name, func(t *testing.T) {
			d := openDamaged(t)
			before := d.NewSnapshot()
			old, err := before.NewIterator(engine.Default, engine.IterOptions{})
			require.NoError(t, err)
			lo, hi := d.lo-c.margin, d.hi+1+c.margin
			require.NoError(t, d.Ingest(engine.Ingestion{
				Replace: map[engine.CF]engine.Range{engine.Default: {Start: d.key(lo), End: d.key(hi)}},
				Open: func(engine.CF) (engine.Source, error) {
					return &pairs{at: lo - 1, end: hi, key: d.key, value: d.value}, nil
				},
			}))
			for i := range 40 {
				got, err := d.get(i)
				require.NoError(t, err, i)
				require.Equal(t, d.value(i), got)
				switch got, err := before.Get(engine.Default, d.key(i)); {
				case i >= lo && i < hi && c.margin > 0:
					require.ErrorIs(t, err, engine.ErrHealed)
				case i < d.lo || i > d.hi:
					require.NoError(t, err, i)
					require.Equal(t, d.value(i), got)
				}
			}
			for ok := old.SeekGE(nil); ok; ok = old.Next() {
			}
			require.ErrorIs(t, old.Close(), engine.ErrHealed, "the damage that it meets is there no more")
			if c.margin > 0 {
				_, err := before.NewIterator(engine.Default, engine.IterOptions{})
				require.ErrorIs(t, err, engine.ErrHealed)
			}
			require.NoError(t, before.Close())
			if c.margin == 0 {
				require.NoError(t, d.Close())
				return
			}
			d.told.Store(0)
			for i := range 6 { // each moves a table into level 0, which is compacted then
				require.NoError(t, put(d.DB, true, "key00+", fmt.Sprintf("key38+%d", i)))
				require.NoError(t, d.Close())
				d.open()
			}
			require.Eventually(t, func() bool { return d.Metrics().Level0Tables < 4 }, 30*time.Second, 10*time.Millisecond)
			require.Zero(t, d.told.Load())
			for i := range 40 {
				got, err := d.get(i)
				require.NoError(t, err, i)
				require.Equal(t, d.value(i), got)
			}
			require.NoError(t, d.Close())
		})
	}
}

// pairs is a Source of the keys after at, before end.
type pairs struct {
	at, end    int
	key, value func(int) []byte
}

func (p *pairs) Next() bool    { p.at++; return p.at < p.end }
func (p *pairs) Key() []byte   { return p.key(p.at) }
func (p *pairs) Value() []byte { return p.value(p.at) }
func (p *pairs) Close() error  { return nil }
