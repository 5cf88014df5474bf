package integration

import (
	"context"
	"fmt"
	"hash/crc64"
	"math/rand"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/rawkv"

	"github.com/shoal-kv/shoal/shoaltest"
)

type rawOption = rawkv.RawOption

// The client library's whole raw surface against plain maps, on one replica and on three, while a store stops and starts.
func TestRawSurfaceAgainstModel(t *testing.T) {
	for _, stores := range []int{1, 3} {
		t.Run(fmt.Sprint(stores), func(t *testing.T) {
			c := shoaltest.Start(t, shoaltest.Stores(stores), shoaltest.OnDisk())
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			const seed, steps = 20261121, 1200
			m := &rawModel{
				t: t, ctx: ctx, rng: rand.New(rand.NewSource(seed)),
				cli: connect(t, c).SetAtomicForCAS(true),
				cfs: map[string]map[string]string{"default": {}, "lock": {}, "write": {}},
			}
			for i := range steps {
				victim := i / 200 % stores
				if i%200 == 50 {
					c.StopStore(victim)
				}
				if i%200 == 100 || (stores == 1 && i%200 == 50) { // a lone store is back before anybody can miss it
					c.StartStore(victim)
				}
				m.step(i)
				if t.Failed() {
					return
				}
			}
			for cf := range m.cfs {
				m.scan(cf, "", "z", 10240) // an open upper end the library's reverse scan takes for an empty range
				m.checksum(cf)
			}
		})
	}
}

type rawModel struct {
	t   *testing.T
	ctx context.Context
	rng *rand.Rand
	cli *rawkv.Client
	cfs map[string]map[string]string
}

func (m *rawModel) key() string { return fmt.Sprintf("k%02d", m.rng.Intn(60)) }

func (m *rawModel) keys() []string {
	keys := make([]string, 1+m.rng.Intn(8))
	for i := range keys {
		keys[i] = m.key()
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func raw(keys []string) [][]byte {
	out := make([][]byte, len(keys))
	for i, key := range keys {
		out[i] = []byte(key)
	}
	return out
}

func (m *rawModel) step(i int) {
	cf := []string{"default", "default", "lock", "write"}[m.rng.Intn(4)]
	data, in := m.cfs[cf], rawkv.SetColumnFamily(cf)
	value := fmt.Sprint("v", i)
	if m.rng.Intn(20) == 0 {
		value = ""
	}
	switch m.rng.Intn(10) {
	case 0, 1:
		key := m.key()
		if value != "" { // the library itself refuses an empty value here
			require.NoError(m.t, m.cli.Put(m.ctx, []byte(key), []byte(value), in))
			data[key] = value
		}
	case 2:
		keys := m.keys()
		values := make([][]byte, len(keys))
		for j, key := range keys {
			values[j] = fmt.Append(nil, value, j)
			data[key] = string(values[j])
		}
		require.NoError(m.t, m.cli.BatchPut(m.ctx, raw(keys), values, in))
	case 3:
		key := m.key()
		require.NoError(m.t, m.cli.Delete(m.ctx, []byte(key), in))
		delete(data, key)
	case 4:
		keys := m.keys()
		require.NoError(m.t, m.cli.BatchDelete(m.ctx, raw(keys), in))
		for _, key := range keys {
			delete(data, key)
		}
	case 5:
		m.deleteRange(cf)
	case 6:
		m.swap(cf, value)
	case 7:
		m.get(cf)
	case 8:
		m.scan(cf, m.key(), m.key(), 1+m.rng.Intn(20))
	case 9:
		m.checksum(cf)
	}
}

func (m *rawModel) deleteRange(cf string) {
	start := m.key()
	end := start + "\xff" // one key
	if m.rng.Intn(4) == 0 {
		end = "k" + fmt.Sprintf("%02d", m.rng.Intn(60))
	}
	if end < start {
		start, end = end, start
	}
	require.NoError(m.t, m.cli.DeleteRange(m.ctx, []byte(start), []byte(end), rawkv.SetColumnFamily(cf)))
	for key := range m.cfs[cf] {
		if key >= start && key < end {
			delete(m.cfs[cf], key)
		}
	}
}

// swap tries with the right previous value, or with a wrong one.
func (m *rawModel) swap(cf, value string) {
	key := m.key()
	was, exists := m.cfs[cf][key]
	var expected, previous []byte
	if exists {
		previous = []byte(was)
		expected = previous
	}
	right := m.rng.Intn(3) > 0
	if !right {
		expected = []byte("wrong")
	}
	found, swapped, err := m.cli.CompareAndSwap(m.ctx, []byte(key), expected, []byte(value), rawkv.SetColumnFamily(cf))
	require.NoError(m.t, err)
	if right && !swapped { // its answer may have been lost with a store, and the library has repeated it
		require.Equal(m.t, value, string(found))
		swapped = true
	} else {
		require.Equal(m.t, previous, found)
	}
	require.Equal(m.t, right, swapped)
	if right {
		m.cfs[cf][key] = value
	}
}

func (m *rawModel) get(cf string) {
	keys := append(m.keys(), "absent")
	got, err := m.cli.BatchGet(m.ctx, raw(keys), rawkv.SetColumnFamily(cf))
	require.NoError(m.t, err)
	require.Len(m.t, got, len(keys))
	for i, key := range keys {
		one, err := m.cli.Get(m.ctx, []byte(key), rawkv.SetColumnFamily(cf))
		require.NoError(m.t, err)
		want, ok := m.cfs[cf][key]
		require.Equal(m.t, ok, one != nil, key)
		require.Equal(m.t, want, string(one))
		require.Equal(m.t, want, string(got[i]))
	}
}

// scan asks in both directions, with and without values.
func (m *rawModel) scan(cf, start, end string, limit int) {
	if end < start {
		start, end = end, start
	}
	var want []string
	for key := range m.cfs[cf] {
		if key >= start && key < end {
			want = append(want, key)
		}
	}
	slices.Sort(want)
	check := func(keys, values [][]byte, err error, want []string, keyOnly bool) {
		require.NoError(m.t, err)
		want = want[:min(limit, len(want))]
		require.Len(m.t, keys, len(want))
		for i, key := range want {
			require.Equal(m.t, key, string(keys[i]))
			if keyOnly {
				require.Empty(m.t, values[i])
			} else {
				require.Equal(m.t, m.cfs[cf][key], string(values[i]))
			}
		}
	}
	in := rawkv.SetColumnFamily(cf)
	keys, values, err := m.cli.Scan(m.ctx, []byte(start), []byte(end), limit, in)
	check(keys, values, err, want, false)
	keys, values, err = m.cli.Scan(m.ctx, []byte(start), []byte(end), limit, in, rawkv.ScanKeyOnly())
	check(keys, values, err, want, true)
	slices.Reverse(want)
	keys, values, err = m.cli.ReverseScan(m.ctx, []byte(end), []byte(start), limit, in)
	check(keys, values, err, want, false)
	keys, values, err = m.cli.ReverseScan(m.ctx, []byte(end), []byte(start), limit, in, rawkv.ScanKeyOnly())
	check(keys, values, err, want, true)
}

// checksum is over the default family whatever the client names: the request has no field for it.
func (m *rawModel) checksum(cf string) {
	got, err := m.cli.Checksum(m.ctx, nil, nil, rawkv.SetColumnFamily(cf))
	require.NoError(m.t, err)
	want, table := rawkv.RawChecksum{}, crc64.MakeTable(crc64.ECMA)
	for key, value := range m.cfs["default"] {
		want.Crc64Xor ^= crc64.Checksum([]byte(key+value), table)
		want.TotalKvs++
		want.TotalBytes += uint64(len(key) + len(value))
	}
	require.Equal(m.t, want, got)
}
