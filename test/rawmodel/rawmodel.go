// Package rawmodel drives the client library's whole raw surface at random, and holds every answer against plain maps.
//
// What faults happen meanwhile is the caller's business, between two steps: the model counts on the library to repeat what a fault
// has interrupted. It is one client, so every answer is certain, with two exceptions that the library leaves to its users: a
// compare-and-swap that was repeated because its answer was lost reports a failure, and one whose outcome the server does not know
// reports that. In both cases the model looks.
//
// In TTL mode it needs a clock, which it reads before and after each call: a ttl counts from some moment in between. With a clock of
// the test's own nothing happens in between, and every expiry is known to the second.
package rawmodel

import (
	"context"
	"fmt"
	"hash/crc64"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/rawkv"
)

// Clock tells seconds since 1970. Advance is nil for one that cannot be moved: then the ttls are too long to come to their end.
type Clock struct {
	Now     func() int64
	Advance func(seconds int64)
}

// Model is one client and what it knows.
type Model struct {
	t     testing.TB
	ctx   context.Context
	rng   *rand.Rand
	cli   *rawkv.Client
	clock *Clock
	cfs   map[string]map[string]entry
}

// entry is a value, and the earliest and latest second at which it can expire; 0 when it never does.
type entry struct {
	value            string
	earliest, latest int64
}

// New returns a model of an empty cluster. The client must be one for atomic operations; clock is nil without TTL mode.
func New(ctx context.Context, t testing.TB, cli *rawkv.Client, seed int64, clock *Clock) *Model {
	return &Model{
		t: t, ctx: ctx, rng: rand.New(rand.NewSource(seed)), cli: cli, clock: clock,
		cfs: map[string]map[string]entry{"default": {}, "lock": {}, "write": {}},
	}
}

// Step does one thing at random; i makes its value unique.
func (m *Model) Step(i int) {
	cf := []string{"default", "default", "lock", "write"}[m.rng.Intn(4)]
	data, in := m.cfs[cf], rawkv.SetColumnFamily(cf)
	value := fmt.Sprint("v", i)
	if m.rng.Intn(20) == 0 {
		value = ""
	}
	switch m.rng.Intn(11) {
	case 0, 1:
		m.put(cf, value)
	case 2:
		m.batchPut(cf, value)
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
	case 10:
		m.advance()
	}
}

// CheckAll reads everything.
func (m *Model) CheckAll() {
	for cf := range m.cfs {
		m.scan(cf, "", "z", 10240) // an open upper end the library's reverse scan takes for an empty range
		m.checksum(cf)
		m.ttl(cf, m.names(cf, "", "z"))
	}
}

// Live is how many keys there are.
func (m *Model) Live() (n int) {
	for cf := range m.cfs {
		n += len(m.names(cf, "", "z"))
	}
	return n
}

func (m *Model) key() string { return fmt.Sprintf("k%02d", m.rng.Intn(60)) }

func (m *Model) keys() []string {
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

// drawTTL is 0 without TTL mode, and now and then with it.
func (m *Model) drawTTL() uint64 {
	switch {
	case m.clock == nil || m.rng.Intn(4) == 0:
		return 0
	case m.clock.Advance == nil:
		return 86400 + uint64(m.rng.Intn(100))
	}
	return 1 + uint64(m.rng.Intn(10))
}

// advance lets time go by, and forgets what has expired.
func (m *Model) advance() {
	if m.clock == nil || m.clock.Advance == nil {
		return
	}
	m.clock.Advance(1 + m.rng.Int63n(3))
	for _, data := range m.cfs {
		for key, e := range data {
			if e.latest != 0 && e.latest <= m.clock.Now() {
				delete(data, key)
			}
		}
	}
}

// timed calls fn and returns the seconds between which it happened.
func (m *Model) timed(fn func()) (from, to int64) {
	if m.clock == nil {
		fn()
		return 0, 0
	}
	from = m.clock.Now()
	fn()
	return from, m.clock.Now()
}

func written(value string, ttl uint64, from, to int64) entry {
	e := entry{value: value}
	if ttl > 0 {
		e.earliest, e.latest = from+int64(ttl), to+int64(ttl)
	}
	return e
}

func (m *Model) put(cf, value string) {
	key, ttl := m.key(), m.drawTTL()
	if value == "" {
		return // the library itself refuses an empty value here
	}
	from, to := m.timed(func() {
		require.NoError(m.t, m.cli.PutWithTTL(m.ctx, []byte(key), []byte(value), ttl, rawkv.SetColumnFamily(cf)))
	})
	m.cfs[cf][key] = written(value, ttl, from, to)
}

func (m *Model) batchPut(cf, value string) {
	keys := m.keys()
	values, ttls := make([][]byte, len(keys)), make([]uint64, len(keys))
	for i := range keys {
		values[i], ttls[i] = fmt.Append(nil, value, i), m.drawTTL()
	}
	from, to := m.timed(func() {
		require.NoError(m.t, m.cli.BatchPutWithTTL(m.ctx, raw(keys), values, ttls, rawkv.SetColumnFamily(cf)))
	})
	for i, key := range keys {
		m.cfs[cf][key] = written(string(values[i]), ttls[i], from, to)
	}
}

func (m *Model) deleteRange(cf string) {
	start := m.key()
	end := start + "\xff" // one key
	if m.rng.Intn(4) == 0 {
		end = m.key()
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

// swap tries with the right previous value, or with a wrong one. What it writes never expires: the library has no ttl for it.
func (m *Model) swap(cf, value string) {
	key := m.key()
	was, exists := m.cfs[cf][key]
	var expected, previous []byte
	if exists {
		previous = []byte(was.value)
		expected = previous
	}
	right := m.rng.Intn(3) > 0
	if !right {
		expected = []byte("wrong")
	}
	found, swapped, err := m.cli.CompareAndSwap(m.ctx, []byte(key), expected, []byte(value), rawkv.SetColumnFamily(cf))
	switch {
	case err != nil && strings.Contains(err.Error(), "undetermined"):
		got, err := m.cli.Get(m.ctx, []byte(key), rawkv.SetColumnFamily(cf))
		require.NoError(m.t, err)
		if right && got != nil && string(got) == value {
			m.cfs[cf][key] = entry{value: value}
			return
		}
		require.Equal(m.t, previous, got)
		return
	case right && !swapped: // its answer was lost with a store, and the library has repeated it
		require.NoError(m.t, err)
		require.Equal(m.t, value, string(found))
	default:
		require.NoError(m.t, err)
		require.Equal(m.t, right, swapped)
		require.Equal(m.t, previous, found)
	}
	if right {
		m.cfs[cf][key] = entry{value: value}
	}
}

func (m *Model) get(cf string) {
	keys := append(m.keys(), "absent")
	got, err := m.cli.BatchGet(m.ctx, raw(keys), rawkv.SetColumnFamily(cf))
	require.NoError(m.t, err)
	require.Len(m.t, got, len(keys))
	for i, key := range keys {
		one, err := m.cli.Get(m.ctx, []byte(key), rawkv.SetColumnFamily(cf))
		require.NoError(m.t, err)
		want, ok := m.cfs[cf][key]
		require.Equal(m.t, ok, one != nil, key)
		require.Equal(m.t, want.value, string(one))
		require.Equal(m.t, want.value, string(got[i]))
	}
	m.ttl(cf, keys)
}

// ttl asks what the keys have left.
func (m *Model) ttl(cf string, keys []string) {
	if m.clock == nil {
		return
	}
	for _, key := range keys {
		var left *uint64
		from, to := m.timed(func() {
			var err error
			left, err = m.cli.GetKeyTTL(m.ctx, []byte(key), rawkv.SetColumnFamily(cf))
			require.NoError(m.t, err)
		})
		switch e, ok := m.cfs[cf][key]; {
		case !ok:
			require.Nil(m.t, left, key)
		case e.latest == 0:
			require.Zero(m.t, *left, key)
		default:
			require.GreaterOrEqual(m.t, int64(*left), e.earliest-to, key)
			require.LessOrEqual(m.t, int64(*left), e.latest-from, key)
		}
	}
}

// names are the keys in [start, end), in order.
func (m *Model) names(cf, start, end string) (names []string) {
	for key := range m.cfs[cf] {
		if key >= start && key < end {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names
}

// scan asks in both directions, with and without values.
func (m *Model) scan(cf, start, end string, limit int) {
	if end < start {
		start, end = end, start
	}
	want := m.names(cf, start, end)
	check := func(keys, values [][]byte, err error, want []string, keyOnly bool) {
		require.NoError(m.t, err)
		want = want[:min(limit, len(want))]
		require.Len(m.t, keys, len(want))
		for i, key := range want {
			require.Equal(m.t, key, string(keys[i]))
			if keyOnly {
				require.Empty(m.t, values[i])
			} else {
				require.Equal(m.t, m.cfs[cf][key].value, string(values[i]))
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
func (m *Model) checksum(cf string) {
	got, err := m.cli.Checksum(m.ctx, nil, nil, rawkv.SetColumnFamily(cf))
	require.NoError(m.t, err)
	want, table := rawkv.RawChecksum{}, crc64.MakeTable(crc64.ECMA)
	for key, e := range m.cfs["default"] {
		want.Crc64Xor ^= crc64.Checksum([]byte(key+e.value), table)
		want.TotalKvs++
		want.TotalBytes += uint64(len(key) + len(e.value))
	}
	require.Equal(m.t, want, got)
}
