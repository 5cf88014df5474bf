package server_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

var (
	fraction = regexp.MustCompile(`"last_heartbeat": \d+`)
	instant  = regexp.MustCompile(`"last_heartbeat_ts": "[^"]*Z"`)
	uptime   = regexp.MustCompile(`"uptime": "[^"]*s"`)
	memberNo = regexp.MustCompile(`"member_id": \d+`)
)

// The shapes and names that tools of this family read.
func TestHTTPShapes(t *testing.T) {
	r := newRig(t)
	mask := func(body string) string {
		body = fraction.ReplaceAllString(body, `"last_heartbeat": 1`)
		body = instant.ReplaceAllString(body, `"last_heartbeat_ts": "T"`)
		body = uptime.ReplaceAllString(body, `"uptime": "U"`)
		body = memberNo.ReplaceAllString(body, `"member_id": 7`)
		return loopback.ReplaceAllString(strings.ReplaceAll(body, fmt.Sprint(r.s.ClusterID()), "42"), "URL")
	}
	shape := func(path string, code int, want string) {
		t.Helper()
		got, body := r.get(path)
		require.Equal(t, code, got, body)
		require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(mask(body)), path)
	}
	shape("/health", 200, `{"health":"true"}`)
	shape("/pd/api/v1/ping", 200, ``)
	shape("/pd/api/v1/version", 200, "{\n  \"version\": \"None\"\n}")
	shape("/pd/api/v1/cluster", 200, "{\n  \"id\": 42,\n  \"max_peer_count\": 3\n}")
	shape("/pd/api/v1/cluster/status", 200, "{\n  \"is_initialized\": false,\n  \"replication_status\": \"\"\n}")
	shape("/pd/api/v1/store/1", 500,
		`"[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first"`)

	r.bootstrap()
	r.storeHeartbeat(1)
	r.report(r.heartbeats(), firstRegion())
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	member := `{
    "name": "scheduler",
    "member_id": 7,
    "peer_urls": [
      "URL"
    ],
    "client_urls": [
      "URL"
    ]
  }`
	shape("/pd/api/v1/members", 200, `{
  "header": {
    "cluster_id": 42
  },
  "members": [
`+indent(member)+`
  ],
  "leader": `+member+`,
  "etcd_leader": `+member+`
}`)
	shape("/pd/api/v1/leader", 200, strings.ReplaceAll(member, "\n  ", "\n"))
	shape("/pd/api/v1/health", 200, `[
  {
    "name": "scheduler",
    "member_id": 7,
    "client_urls": [
      "URL"
    ],
    "health": true
  }
]`)
	store := `{
  "store": {
    "id": 1,
    "address": "127.0.0.1:20160",
    "version": "8.5.0",
    "status_address": "127.0.0.1:20180",
    "last_heartbeat": 1,
    "node_state": 1,
    "state_name": "Up"
  },
  "status": {
    "capacity": "1GiB",
    "available": "512MiB",
    "used_size": "0B",
    "leader_count": 1,
    "leader_weight": 1,
    "leader_score": 1,
    "leader_size": 1,
    "region_count": 1,
    "region_weight": 1,
    "region_score": 1,
    "region_size": 1,
    "start_ts": "1970-01-01T00:00:00Z",
    "last_heartbeat_ts": "T",
    "uptime": "U"
  }
}`
	shape("/pd/api/v1/store/1", 200, store)
	shape("/pd/api/v1/stores", 200, "{\n  \"count\": 1,\n  \"stores\": [\n    "+strings.ReplaceAll(store, "\n", "\n    ")+"\n  ]\n}")
	shape("/pd/api/v1/store/7", 404, `"[PD:core:ErrStoreNotFound]store 7 not found"`)
	shape("/pd/api/v1/store/x", 400, `"id \"x\" must be a number"`)
	shape("/pd/api/v1/config/cluster-version", 200, `"8.5.0"`)
	region := `{"id":2,"start_key":"","end_key":"","epoch":{"conf_ver":1,"version":1},` +
		`"peers":[{"role_name":"Voter","id":3,"store_id":1}],"leader":{"role_name":"Voter","id":3,"store_id":1},` +
		`"cpu_usage":0,"written_bytes":0,"read_bytes":0,"written_keys":0,"read_keys":0,"approximate_size":1,` +
		`"approximate_keys":100,"approximate_kv_size":0,"approximate_columnar_kv_size":0}`
	regions := `{"count":1,"regions":[` + region + `]}`
	for _, path := range []string{"/region/id/2", "/region/key/a", "/region/key/%00%2F+", "/region/key/FF?format=hex"} {
		shape("/pd/api/v1"+path, 200, region)
	}
	for _, path := range []string{"/regions", "/regions/key?key=&limit=1024", "/regions/store/1"} {
		shape("/pd/api/v1"+path, 200, regions)
	}
	shape("/pd/api/v1/regions/store/9", 200, `{"count":0,"regions":[]}`)
	shape("/pd/api/v1/region/id/9", 404, `"[PD:region:ErrRegionNotFound]region 9 not found"`)
	shape("/pd/api/v1/regions/key?limit=x", 400, `"limit \"x\" must be a number"`)
	shape("/pd/api/v1/region/key/x?format=hex", 400, `"key \"x\" must be hexadecimal digits: encoding/hex: invalid byte: U+0078 'x'"`)
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n  ") }

// Keys are upper-case hexadecimal digits, found again when they come back escaped.
func TestHTTPKeys(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	beats := r.heartbeats()
	r.report(beats, regionAt(7, "", "a /\xff", 2, 1, 1))
	r.report(beats, regionAt(2, "a /\xff", "", 2, 1, 1))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetStartKey()) > 0 })
	for path, want := range map[string]float64{
		"a+%2F%FF": 2, "a%20%2F%FE": 7, "61202FFF?format=hex": 2, "%FF": 2,
	} {
		_, body := r.get("/pd/api/v1/region/key/" + path)
		var got map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &got), body)
		require.InDelta(t, want, got["id"], 0, path)
	}
	_, body := r.get("/pd/api/v1/region/id/7")
	require.Contains(t, body, `"end_key":"61202FFF"`)
	_, body = r.get("/pd/api/v1/regions/key?key=z&limit=1")
	require.Contains(t, body, `"start_key":"61202FFF"`)
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	r.storeHeartbeat(1)
	r.report(r.heartbeats(), firstRegion())
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	_, err := r.tso(3)
	require.NoError(t, err)
	_, body := r.get("/metrics")
	for _, line := range []string{
		`pd_cluster_status{type="store_up_count"} 1`,
		`pd_cluster_status{type="region_count"} 1`,
		`pd_cluster_status{type="leader_count"} 1`,
		`pd_cluster_status{type="storage_capacity"} 1.073741824e+09`,
		`pd_scheduler_region_heartbeat{status="ok",store="store-1",type="report"} 1`,
		`pd_tso_events{type="save"} `,
		`pd_server_handle_tso_batch_size_count 1`,
	} {
		require.Contains(t, body, line)
	}
	r.restart() // the registry is free for the next scheduler
}
