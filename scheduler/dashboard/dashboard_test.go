package dashboard_test

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
)

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

func shows[T any](t *testing.T, url string) (v T) {
	t.Helper()
	res, body := get(t, url)
	require.Equal(t, 200, res.StatusCode, body)
	require.NoError(t, json.Unmarshal([]byte(body), &v), body)
	return v
}

type strip struct {
	Regions int
	Buckets []struct {
		Start                     string
		N, Size, Keys             int
		Region                    uint64
		Read, Write               int
		ReadMost                  int `json:"read_most"`
		WriteMost                 int `json:"write_most"`
		BothMost                  int `json:"both_most"`
		Leaderless, Pending, Down int
		Holes                     int
	}
	Hottest []struct {
		ID   uint64
		Read struct{ Bytes int }
	}
}

// The page needs nothing but itself, and may not ask anybody else.
func TestPageIsSelfContained(t *testing.T) {
	s := serve(t, func() dashboard.Source { return nil })
	for _, path := range []string{"/dashboard", "/dashboard/"} {
		res, body := get(t, s.URL+path)
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.NotRegexp(t, regexp.MustCompile(`(src|href)="[^d]`), body)
		require.Equal(t, 1, strings.Count(body, "http"), "the name space of the icon's SVG alone")
		require.Contains(t, body, "http://www.w3.org/2000/svg")
	}
	res, _ := get(t, s.URL+"/dashboard/other")
	require.Equal(t, 404, res.StatusCode)
	res, err := http.Post(s.URL+"/dashboard", "", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 405, res.StatusCode)
}

func TestNobodyLeads(t *testing.T) {
	s := serve(t, func() dashboard.Source { return nil })
	for _, path := range []string{"overview", "strip", "events", "region/1"} {
		res, body := get(t, s.URL+dashboard.API+path)
		require.Equal(t, 503, res.StatusCode)
		require.Equal(t, "\"not leader\"\n", body)
	}
}

func TestOverview(t *testing.T) {
	f := newFake(60)
	s := serve(t, func() dashboard.Source { return f })
	o := shows[object](t, s.URL+dashboard.API+"overview")
	require.Equal(t, "7000000000000000001", o["cluster_id"], "a number would lose its last digits in a browser")
	require.Equal(t, "scheduler-2", o["leader"])
	require.Len(t, o["members"], 2)
	stores := o["stores"].([]any)
	require.Len(t, stores, 4)
	require.Equal(t, object{
		"id": 3.0, "address": "10.0.0.3:20160", "labels": "zone=z3", "state": "Up", "silent": 4000.0, "leaders": 20.0, "regions": 60.0, "pending": 2.0,
		"capacity": float64(100 << 30), "available": float64(60 << 30), "used": float64(30 << 30),
		"read": object{"bytes": float64(3 << 20), "keys": 700.0}, "write": object{"bytes": 0.0, "keys": 0.0}, "trouble": []any{"slow"},
	}, stores[2])
	down := stores[3].(object)
	require.Equal(t, "Down", down["state"])
	require.Equal(t, object{"bytes": 0.0, "keys": 0.0}, down["read"], "what it said an hour ago is not so any more")
	require.Equal(t, object{
		"region": 3.0, "desc": "balance-region", "brief": "mv peer: store [1] to [2]", "kind": "region", "status": "STARTED", "steps": []any{"add learner", "promote"},
		"step": 1.0, "from": 1.0, "to": 2.0, "began": float64(wall.UnixMilli() - 3000),
	}, o["running"].([]any)[0])
	require.Len(t, o["ended"], 50)
	require.InDelta(t, float64(wall.UnixMilli()-50_000), o["ended"].([]any)[0].(object)["ended"], 0)
}

// However many regions there are, the strip has room for them, and its pieces together are all of them.
func TestStripFoldsRegions(t *testing.T) {
	for _, n := range []int{4, 100, 101, 5000} {
		f := newFake(n)
		s := serve(t, func() dashboard.Source { return f })
		got := shows[strip](t, s.URL+dashboard.API+"strip?buckets=100")
		require.Equal(t, n, got.Regions)
		require.LessOrEqual(t, len(got.Buckets), 100)
		require.GreaterOrEqual(t, len(got.Buckets), min(n, 50))
		next, read, leaderless, pending := 0, 0, 0, 0
		for _, b := range got.Buckets {
			first := f.regions[next]
			require.Equal(t, first.ID(), b.Region)
			require.Equal(t, hex.EncodeToString(first.Meta.StartKey), b.Start)
			most := 0
			for _, r := range f.regions[next : next+b.N] {
				most = max(most, int(r.Flow.Read.Bytes))
			}
			require.Equal(t, most, b.ReadMost)
			require.Equal(t, b.N*90<<20, b.Size)
			require.Zero(t, b.Holes)
			next, read, leaderless, pending = next+b.N, read+b.Read, leaderless+b.Leaderless, pending+b.Pending
		}
		require.Equal(t, n, next)
		all := 0
		for _, r := range f.regions {
			all += int(r.Flow.Read.Bytes)
		}
		require.Equal(t, all, read)
		require.Equal(t, 1, leaderless)
		require.Equal(t, 1, pending)
	}
}

func TestStripNamesTheHottest(t *testing.T) {
	f := newFake(500)
	f.regions[123].Flow.Read.Bytes = 1 << 30
	f.regions[321].Flow.Write.Bytes = 1 << 29
	s := serve(t, func() dashboard.Source { return f })
	got := shows[strip](t, s.URL+dashboard.API+"strip")
	require.Len(t, got.Hottest, 8)
	require.Equal(t, uint64(124), got.Hottest[0].ID)
	require.Equal(t, uint64(322), got.Hottest[1].ID)
	require.Equal(t, 49<<10, got.Hottest[2].Read.Bytes)
}

func TestStripOfARange(t *testing.T) {
	f := newFake(500)
	f.regions = append(f.regions[:30:30], f.regions[31:]...) // a hole
	s := serve(t, func() dashboard.Source { return f })
	key := func(i int) string { return hex.EncodeToString(f.regions[i].Meta.StartKey) }
	got := shows[strip](t, s.URL+dashboard.API+"strip?buckets=100&start="+key(20)+"&end="+key(40))
	require.Equal(t, 20, got.Regions)
	require.Equal(t, key(20), got.Buckets[0].Start)
	require.Equal(t, 1, got.Buckets[10].Holes, "before the region after the hole")
	got = shows[strip](t, s.URL+dashboard.API+"strip?buckets=100&start="+key(450))
	require.Equal(t, 49, got.Regions)
}

// Many who look at the same strip cost as much as one.
func TestStripsAreKeptForAWhile(t *testing.T) {
	f := newFake(500)
	s := serve(t, func() dashboard.Source { return f })
	for range 20 {
		shows[strip](t, s.URL+dashboard.API+"strip")
	}
	require.Less(t, f.scans.Load(), int64(10*(500/page+2)))
	other := newFake(10)
	var source dashboard.Source = f
	s = serve(t, func() dashboard.Source { return source })
	require.Equal(t, 500, shows[strip](t, s.URL+dashboard.API+"strip").Regions)
	source = other
	require.Equal(t, 10, shows[strip](t, s.URL+dashboard.API+"strip").Regions, "another leader's view is another")
}

func TestRegionAndEvents(t *testing.T) {
	f := newFake(10)
	f.regions[2].Down = []cluster.DownPeer{{Peer: f.regions[2].Meta.Peers[1], Seconds: 77}}
	s := serve(t, func() dashboard.Source { return f })
	r := shows[object](t, s.URL+dashboard.API+"region/3")
	require.Equal(t, hex.EncodeToString([]byte("k0000002")), r["start"])
	require.InDelta(t, 3.0, r["leader"], 0)
	require.Equal(t, []any{
		object{"id": 301.0, "store": 1.0, "role": "Voter", "pending": true},
		object{"id": 302.0, "store": 2.0, "role": "Voter", "down": 77.0},
		object{"id": 303.0, "store": 3.0, "role": "Voter"},
	}, r["peers"])
	require.Equal(t, "balance-region", r["operator"].(object)["desc"])
	require.Equal(t, "rule-checker: no store may take a replica", r["reason"])
	require.InDelta(t, float64(wall.UnixMilli()-60_000), r["since"], 0)

	events := shows[object](t, s.URL+dashboard.API+"events?limit=2")
	require.InDelta(t, float64(wall.UnixMilli()-3_600_000), events["term"], 0)
	require.Equal(t, []any{
		object{"id": 3.0, "kind": "regions-split", "count": 12.0, "first": float64(wall.UnixMilli()), "last": float64(wall.UnixMilli()), "region": 44.0, "text": "split off"},
		object{"id": 2.0, "kind": "store-down", "count": 1.0, "first": float64(wall.UnixMilli()), "last": float64(wall.UnixMilli()), "store": 4.0, "text": "is down"},
	}, events["events"])
}

func TestWrongQuestions(t *testing.T) {
	f := newFake(10)
	s := serve(t, func() dashboard.Source { return f })
	for path, want := range map[string]string{
		"strip?buckets=1":    `400 "buckets \"1\" must be a number from 2 to 1000"`,
		"strip?buckets=1001": `400 "buckets \"1001\" must be a number from 2 to 1000"`,
		"strip?start=xy":     `400 "start \"xy\" must be hexadecimal digits"`,
		"strip?end=abc":      `400 "end \"abc\" must be hexadecimal digits"`,
		"events?limit=0":     `400 "limit \"0\" must be a number from 1 to 1000"`,
		"region/x":           `400 "region \"x\" must be a number"`,
		"region/99":          `404 "region 99 is not known: it was merged into another, or never was"`,
	} {
		res, body := get(t, s.URL+dashboard.API+path)
		require.Equal(t, want, res.Status[:4]+strings.TrimSpace(body), path)
	}
}
