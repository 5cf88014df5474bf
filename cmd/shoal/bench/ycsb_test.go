package bench

import (
	"bytes"
	"context"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"
)

func ycsbOptions(workload string) YCSB {
	return YCSB{
		Options:  Options{PD: "127.0.0.1:1", Clients: 3, Duration: 50 * time.Millisecond, Prefix: "y/", Seed: 1},
		Workload: workload, Records: 1000, FieldCount: 4, FieldSize: 10, MaxScan: 20, Load: true, Run: true,
	}
}

// TestWorkloadsRun runs each on a store in memory, where nothing can be missing.
func TestWorkloadsRun(t *testing.T) {
	form := regexp.MustCompile(`^y/user\d{19}$`)
	for workload, kinds := range map[string][]string{
		"a": {"read", "update"}, "b": {"read", "update"}, "c": {"read"}, "d": {"read", "insert"}, "e": {"insert", "scan"}, "f": {"read", "rmw"},
	} {
		f := newFake()
		o := ycsbOptions(workload)
		if workload == "e" {
			o.Records = 100 // the fake sorts all of them for a scan
		}
		r, err := runYCSB(t.Context(), o, f, &servers{})
		require.NoError(t, err)
		require.Zero(t, r.Total.Errors, "%s: %s", workload, r.FirstError)
		var got []string
		for _, k := range r.Kinds {
			got = append(got, k.Kind)
			require.Positive(t, k.Operations)
		}
		require.Equal(t, kinds, got)
		require.Equal(t, o.Records, r.Load.Records)
		require.GreaterOrEqual(t, len(f.data), o.Records)
		require.Equal(t, slices.Contains(kinds, "insert"), len(f.data) > o.Records)
		for k, v := range f.data {
			require.True(t, form.MatchString(k), k)
			require.Len(t, v, 40)
		}
	}
}

// TestMixes draws many operations of each workload and counts.
func TestMixes(t *testing.T) {
	const draws = 50_000
	for workload, m := range mixes() {
		require.InDelta(t, 1, sum(m.share[:]), 1e-9)
		b := newYCSB(ycsbOptions(workload), newFake())
		c := b.client(0).(*ycsbClient)
		var counts [ycsbKinds]float64
		lengths := map[int]int{}
		for n := range uint64(draws) {
			if b.shown[c.draw(n)] != c.kind || (c.kind != ycsbInsert && c.record >= uint64(b.Records)) {
				t.Fatalf("%s: operation %d is %s of record %d", workload, n, ycsbNames[c.kind], c.record)
			}
			counts[c.kind]++
			if c.kind == ycsbScan {
				lengths[c.length]++
			}
		}
		for kind, p := range m.share {
			require.InDelta(t, p*draws, counts[kind], 5*math.Sqrt(draws*p*(1-p)), "%s: %s", workload, ycsbNames[kind])
		}
		if workload == "e" {
			require.Len(t, lengths, b.MaxScan)
			for length, n := range lengths {
				require.InDelta(t, 0.95*draws/20, n, 300, "length %d", length)
			}
		}
	}
}

// TestTheSeedDecides compares what clients of runs with different numbers of clients draw.
func TestTheSeedDecides(t *testing.T) {
	operations := func(seed uint64, clients int) (ops []string) {
		o := ycsbOptions("a")
		o.Seed, o.Clients = seed, clients
		b := newYCSB(o, newFake())
		var all []*ycsbClient
		for id := range clients {
			all = append(all, b.client(id).(*ycsbClient))
		}
		for n := range uint64(500) {
			c := all[int(n)%clients]
			c.draw(n)
			op := ycsbNames[c.kind] + " " + string(b.key(c.record))
			if c.kind == ycsbUpdate {
				op += " " + string(c.value)
			}
			ops = append(ops, op)
		}
		return ops
	}
	require.Equal(t, operations(1, 1), operations(1, 7))
	require.NotEqual(t, operations(1, 1), operations(2, 1))

	loaded := func(seed uint64, clients int) map[string][]byte {
		o := ycsbOptions("c")
		o.Seed, o.Clients, o.Run = seed, clients, false
		f := newFake()
		r, err := runYCSB(t.Context(), o, f, &servers{})
		require.NoError(t, err)
		require.Zero(t, r.Total.Operations)
		return f.data
	}
	require.Equal(t, loaded(1, 1), loaded(1, 5))
	require.NotEqual(t, loaded(1, 1), loaded(2, 1))
}

// TestWhatIsNotThereIsAnError runs on records that nobody has loaded, then on those of another size.
func TestWhatIsNotThereIsAnError(t *testing.T) {
	f := newFake()
	for _, workload := range []string{"c", "e", "f"} {
		o := ycsbOptions(workload)
		o.Records, o.Load = 10, false
		r, err := runYCSB(t.Context(), o, f, &servers{})
		require.NoError(t, err)
		require.Positive(t, r.Total.ErrorsByKind["missing"])
		require.Equal(t, r.Total.Errors, r.Total.ErrorsByKind["missing"])
		require.Equal(t, errMissing.Error(), r.FirstError)
		var out bytes.Buffer
		require.NoError(t, r.print(&out))
		require.Regexp(t, `errors: \d+ missing`, out.String())
		clear(f.data)
	}
	o := ycsbOptions("a")
	o.Run = false
	_, err := runYCSB(t.Context(), o, f, &servers{})
	require.NoError(t, err)
	for _, workload := range []string{"c", "e"} {
		o = ycsbOptions(workload)
		o.FieldSize, o.Load = 11, false
		r, err := runYCSB(t.Context(), o, f, &servers{})
		require.NoError(t, err)
		require.Equal(t, r.Total.Errors, r.Total.ErrorsByKind["wrong value"], "%v", r.Total.ErrorsByKind)
		require.Positive(t, r.Total.Errors)
	}
}

// TestAScanFindsNeighbours compares a scan's answer with the loaded records in order.
func TestAScanFindsNeighbours(t *testing.T) {
	f := newFake()
	b := newYCSB(ycsbOptions("e"), f)
	require.NoError(t, b.load(t.Context()))
	keys := slices.Sorted(maps.Keys(f.data))
	require.Len(t, keys, b.Records)
	c := b.client(0).(*ycsbClient)
	for n := range uint64(100) {
		if c.draw(n); c.kind != ycsbScan {
			continue
		}
		require.NoError(t, c.scan(context.Background()))
		require.Contains(t, keys, string(b.key(c.record)))
		got, _, _ := f.Scan(t.Context(), b.key(c.record), b.end, c.length)
		at := slices.Index(keys, string(b.key(c.record)))
		require.Len(t, got, min(c.length, len(keys)-at))
	}
}

// TestInsertsMakeNewRecordsPopular inserts two records, one of them without success: neither may hold up those that follow.
func TestInsertsMakeNewRecordsPopular(t *testing.T) {
	f := newFake()
	f.refuse = func(n int) error {
		if n == 1 {
			return errors.New("no")
		}
		return nil
	}
	b := newYCSB(ycsbOptions("d"), f)
	c := b.client(0).(*ycsbClient)
	require.Error(t, c.insert(t.Context()))
	require.NoError(t, c.insert(t.Context()))
	require.EqualValues(t, b.Records+2, b.inserted.below())
	newest := false
	for n := range uint64(1000) {
		c.draw(n)
		newest = newest || (c.kind == ycsbRead && c.record == uint64(b.Records)+1)
	}
	require.True(t, newest, "a thousand draws, and none of the newest record")
	c.record = uint64(b.Records) + 1
	require.NoError(t, c.read(t.Context()))
}

func TestYCSBOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*YCSB){
		`the workload is "g"; it must be one of a, b, c, d, e and f`: func(o *YCSB) { o.Workload = "g" },
		"--records is 0":                            func(o *YCSB) { o.Records = 0 },
		"--field-count is 0":                        func(o *YCSB) { o.FieldCount = 0 },
		"a record of them must have between 16 and": func(o *YCSB) { o.FieldCount, o.FieldSize = 1, 15 },
		"--field-size 5000000":                      func(o *YCSB) { o.FieldSize = 5_000_000 },
		"--max-scan is 10241":                       func(o *YCSB) { o.MaxScan = 10241 },
		"--rate is 2e+06; it must be between 0.01 and 1000000 operations per second": func(o *YCSB) { o.Rate = 2e6 },
		"--clients is 0": func(o *YCSB) { o.Clients = 0 },
	} {
		o := ycsbOptions("a")
		require.NoError(t, o.validate())
		change(&o)
		_, err := RunYCSB(t.Context(), o)
		require.ErrorContains(t, err, want)
	}
	require.True(t, strings.HasPrefix(string(newYCSB(ycsbOptions("a"), nil).key(1)), "y/user"))
}
