package ctl

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/cmd/shoal/pdapi"
)

const (
	regionJSON = `{"id":2,"start_key":"","end_key":"6B00","epoch":{"conf_ver":3,"version":7},"peers":[{"role_name":"Voter","id":3,"store_id":1},` +
		`{"role_name":"Learner","id":5,"store_id":4}],"leader":{"role_name":"Voter","id":3,"store_id":1},"approximate_size":1,"approximate_keys":100}`
	storeJSON = `{"store":{"id":1,"address":"10.0.0.1:20160","status_address":"10.0.0.1:20180","state_name":"Up","labels":[{"key":"zone","value":"z"}]},` +
		`"status":{"capacity":"1GiB","available":"512MiB","used_size":"1MiB","leader_count":4,"region_count":5,"region_size":2048,"last_heartbeat_ts":"2026-01-01T00:00:00Z","uptime":"26h3m4.5s"}}`
	memberJSON = `{"name":"a","member_id":11,"peer_urls":["http://10.0.0.1:2380"],"client_urls":["http://10.0.0.1:2379"]}`
)

func scheduler(t *testing.T) string {
	t.Helper()
	answers := map[string]string{
		"/pd/api/v1/stores":            `{"count":1,"stores":[` + storeJSON + `]}`,
		"/pd/api/v1/store/1":           storeJSON,
		"/pd/api/v1/stores/limit":      `{"1":{"add-peer":15,"remove-peer":15}}`,
		"/pd/api/v1/regions/key":       `{"count":1,"regions":[` + regionJSON + `]}`,
		"/pd/api/v1/regions":           `{"count":1,"regions":[` + regionJSON + `]}`,
		"/pd/api/v1/region/id/2":       regionJSON,
		"/pd/api/v1/region/key/6B00":   regionJSON,
		"/pd/api/v1/region/key/6b00":   regionJSON,
		"/pd/api/v1/region/key/68656c": regionJSON,
		"/pd/api/v1/members":           `{"header":{"cluster_id":7},"members":[` + memberJSON + `,{"name":"","member_id":12}],"leader":` + memberJSON + `}`,
		"/pd/api/v1/leader":            memberJSON,
		"/pd/api/v1/health":            `[{"member_id":11,"health":true},{"member_id":12,"health":false}]`,
		"/pd/api/v1/leader/resign":     `"The resign command is submitted"`,
		"/pd/api/v1/leader/transfer/b": `"The transfer command is submitted"`,
		"/pd/api/v1/members/name/b":    `"removed, pd: b"`,
		"/pd/api/v1/members/id/12":     `"removed, pd: "`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			body = `"nothing here"`
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.Execute()
	return out.String(), err
}

func TestStores(t *testing.T) {
	pd := scheduler(t)
	for _, args := range [][]string{{"store"}, {"store", "list"}, {"store", "1"}, {"store", "show", "1"}} {
		out, err := run(t, append(args, "--pd", pd)...)
		require.NoError(t, err)
		for _, want := range []string{"10.0.0.1:20160", "Up", "zone=z", "512 MiB of 1 GiB", "2 GiB", "1d2h"} {
			require.Contains(t, out, want)
		}
	}
	out, err := run(t, "--pd", pd, "store", "-o", "json")
	require.NoError(t, err)
	var stores []pdapi.Store
	require.NoError(t, json.Unmarshal([]byte(out), &stores))
	require.EqualValues(t, 1, stores[0].Store.ID)
}

func TestRegions(t *testing.T) {
	pd := scheduler(t)
	for _, args := range [][]string{{"region"}, {"region", "2"}, {"region", "--key", "hel"}, {"region", "--key", "6b00", "--read-as", "hex", "--show-as", "hex"}} {
		out, err := run(t, append(args, "--pd", pd)...)
		require.NoError(t, err, args)
		require.Contains(t, out, "1, 4 (learner)")
		if len(args) < 4 {
			require.Contains(t, out, `k\x00`)
		} else {
			require.Contains(t, out, "6B00")
		}
	}
	out, err := run(t, "--pd", pd, "region", "2", "-o", "json")
	require.NoError(t, err)
	var region pdapi.Region
	require.NoError(t, json.Unmarshal([]byte(out), &region))
	require.Equal(t, pdapi.HexKey("k\x00"), region.EndKey)
}

func TestMembers(t *testing.T) {
	pd := scheduler(t)
	out, err := run(t, "--pd", pd, "member")
	require.NoError(t, err)
	require.Regexp(t, `│ a +│ 11 │ up +│ leader +│ 10.0.0.1:2379 │ 10.0.0.1:2380 │`, out)
	require.Regexp(t, `│ \(never ran\) │ 12 │ down +│`, out)
	out, err = run(t, "--pd", pd, "member", "-o", "json")
	require.NoError(t, err)
	var group pdapi.Members
	require.NoError(t, json.Unmarshal([]byte(out), &group))
	require.Equal(t, "a", group.Leader.Name)
	out, err = run(t, "--pd", pd, "member", "leader", "show")
	require.NoError(t, err)
	require.Contains(t, out, "10.0.0.1:2379")

	for _, tc := range []struct{ args, want string }{
		{"member leader resign", "The resign command is submitted\n"},
		{"member leader transfer b", "The transfer command is submitted\n"},
		{"member leader resign -o json", "\"The resign command is submitted\"\n"},
		{"member delete name b", "removed, pd: b\n"},
		{"member delete id 12", "removed, pd: \n"},
	} {
		out, err := run(t, append([]string{"--pd", pd}, strings.Fields(tc.args)...)...)
		require.NoError(t, err, tc.args)
		require.Equal(t, tc.want, out)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	pd := scheduler(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"store", "9", "--pd", pd}, "there is no store 9; `shoal ctl store` lists all"},
		{[]string{"region", "9", "--pd", pd}, "there is no region 9; `shoal ctl region` lists all"},
		{[]string{"region", "x", "--pd", pd}, `"x" is not an id`},
		{[]string{"member", "leader", "transfer", "x", "--pd", pd}, "there is no scheduler x in the group; `shoal ctl member` lists all"},
		{[]string{"member", "leader", "transfer", "--pd", pd}, "accepts 1 arg"},
		{[]string{"member", "delete", "id", "x", "--pd", pd}, `"x" is not an id`},
		{[]string{"member", "--pd", gone.URL}, "is it running"},
		{[]string{"store", "-o", "xml", "--pd", pd}, `"xml" for "-o, --output" flag: it must be table or json`},
		{[]string{"region", "--show-as", "base63", "--pd", pd}, `"--show-as" flag: it must be escaped, hex, base64 or text`},
		{[]string{"region", "--read-as", "hex", "--key", "xy", "--pd", pd}, `--key (--read-as is hex): "xy" is not hexadecimal`},
		{[]string{"region", "2", "--key", "k", "--pd", pd}, "both an ID and --key"},
		{[]string{"kv", "get", "--read-as", "hex", "abc", "--pd", pd}, `--read-as is hex: "abc" is not hexadecimal: every byte has two digits`},
		{[]string{"kv", "exprot", "k"}, `unknown command "exprot" for "ctl kv"; did you mean export? ` + "`ctl kv --help` lists all"},
		{[]string{"member", "leader", "resing"}, "did you mean resign?"},
		{[]string{"kv", "put", "k", "v", "--ttl", "1500ms"}, "--ttl is 1.5s; it must be whole seconds"},
		{[]string{"kv", "put", "k", "v", "--ttl", "0s"}, "at least one"},
		{[]string{"kv", "get", "k", "--pd", gone.URL}, "is it running"},
		{[]string{"store", "--pd", "here"}, "must be host:port"},
		{[]string{"kv", "scan", "--limit", "0"}, "--limit is 0"},
		{[]string{"kv", "scan", "--reverse"}, "--reverse needs START"},
		{[]string{"kv", "scan", "--prefix", "a", "b"}, "--prefix says both ends"},
		{[]string{"kv", "scan", "--end", `\q`}, `--end (--read-as is escaped): "\\q" has an unknown escape`},
		{[]string{"kv", "export", "f"}, "say --format csv or --format ndjson"},
		{[]string{"kv", "export", "-"}, "for standard input or output say --format"},
		{[]string{"kv", "export", "f.csv", "--prefix", "a", "--end", "b"}, "--prefix says both ends"},
		{[]string{"kv", "export", "/no/such/directory/f.csv", "--pd", pd}, "cannot write there"},
		{[]string{"kv", "export", os.DevNull, "--format", "csv"}, "is no regular file"},
		{[]string{"kv", "export", "f.csv", "--format", "xml"}, "it must be csv or ndjson"},
		{[]string{"kv", "import", "/no/such/file.csv"}, "no such file"},
		{[]string{"kv", "import", "/", "--format", "csv"}, "is a directory"},
		{[]string{"kv", "import", "f.csv", "--skip", "-1"}, "--skip is -1"},
		{[]string{"kv", "import", "f.csv", "--max-key-size", "big"}, `"big" is not a size`},
		{[]string{"kv", "put", "k"}, "accepts 2 arg"},
	} {
		_, err := run(t, tc.args...)
		require.ErrorContains(t, err, tc.want, tc.args)
	}
}

func TestPatienceEnds(t *testing.T) {
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	_, err := run(t, "store", "--pd", slow.URL, "--timeout", "10ms")
	require.ErrorContains(t, err, "no answer within 10ms")
	require.ErrorContains(t, err, "--timeout waits longer")
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.Equal(t, "5s ago", ago("2026-01-02T03:04:00Z", now))
	require.Equal(t, "1h4m ago", ago("2026-01-02T02:00:00Z", now))
	for size, want := range map[float64]string{0: "0 B", 1000: "1 KiB", 1536: "1.5 KiB", 15.4 * (1 << 30): "15 GiB", 1 << 62: "4 EiB"} {
		require.Equal(t, want, bytesSize(size))
	}
	require.Equal(t, []string{strings.Repeat("x", longestFact), "xx", "y"}, broken(strings.Repeat("x", longestFact+2)+" y"))
	require.Equal(t, []string{"two  blanks"}, broken("two  blanks"))
	require.Equal(t, "1h10m", brief(70*time.Minute))
	require.Equal(t, "1m10s", brief(70*time.Second))
	require.Equal(t, "2h", brief(2*time.Hour+59*time.Second))
	require.Equal(t, "12ms", brief(12*time.Millisecond))
	require.Equal(t, "1m5s ago", ago("2026-01-02T03:03:00Z", now))
	require.Equal(t, "31d3h ago", ago("2025-12-02T00:00:00Z", now))
	require.Equal(t, "never", ago("", now))
	require.Equal(t, "garbage", ago("garbage", now))
}
