package server_test

import (
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/server"
)

func TestHotRegionsAreShown(t *testing.T) {
	r, beats := newStill(t)
	for i := range uint64(4) {
		r.report(beats, regionAt(2, "", "m", 2, 4, 1, 2, 3), func(q *pdpb.RegionHeartbeatRequest) {
			q.BytesWritten, q.KeysWritten, q.BytesRead, q.KeysRead = 600<<20, 6e6, 60<<20, 6e5
			q.Interval = &pdpb.TimeInterval{StartTimestamp: 60 * i, EndTimestamp: 60 * (i + 1)}
		})
	}
	require.Eventually(t, func() bool {
		return shows[map[string]map[string]object](r, "/hotspot/regions/write")["as_leader"]["1"]["regions_count"] == 1.0
	}, soon, poll)
	write := shows[map[string]map[string]object](r, "/hotspot/regions/write")
	require.InDelta(t, 1, write["as_peer"]["3"]["regions_count"], 0)
	require.InDelta(t, 0, write["as_leader"]["3"]["regions_count"], 0)
	one := write["as_peer"]["3"]["statistics"].([]any)[0].(object)
	require.InDelta(t, 2, one["region_id"], 0)
	require.Equal(t, false, one["is_leader"])
	require.Greater(t, one["flow_bytes"], 1e6)
	require.Equal(t, one["flow_bytes"], write["as_peer"]["3"]["store_bytes"])
	read := shows[map[string]map[string]object](r, "/hotspot/regions/read?store_id=1")
	require.Len(t, read["as_leader"], 1)
	require.InDelta(t, 1, read["as_leader"]["1"]["regions_count"], 0)
	_, page := r.get("/metrics")
	for kind, value := range map[string]any{
		`store="store-3",type="byte-rate-write-region"`: one["flow_bytes"], `store="store-1",type="byte-rate-write-leader"`: one["flow_bytes"],
		`store="store-3",type="byte-rate-write-leader"`: 0, `store="store-3",type="key-rate-read-region"`: 0,
		`store="store-1",type="key-rate-read-region"`: read["as_leader"]["1"]["total_flow_keys"],
	} {
		require.Contains(t, page, fmt.Sprintf("pd_scheduler_hot_peers_summary{%s} %v\n", kind, value))
	}
	r.declines("GET", "/hotspot/regions/read?store_id=77", "", 404, "store 77 not found")
	r.declines("GET", "/hotspot/regions/read?store_id=x", "", 400, "must be a number")

	_, err := r.pd.StoreHeartbeat(r.ctx, &pdpb.StoreHeartbeatRequest{Header: r.header(), Stats: &pdpb.StoreStats{
		StoreId: 2, BytesWritten: 1000, KeysRead: 500, Interval: &pdpb.TimeInterval{StartTimestamp: 10, EndTimestamp: 20},
	}})
	require.NoError(t, err)
	stores := shows[map[string]map[string]float64](r, "/hotspot/stores")
	require.InDelta(t, 100, stores["bytes-write-rate"]["2"], 0)
	require.InDelta(t, 50, stores["keys-read-rate"]["2"], 0)
	require.Equal(t, object{}, shows[object](r, "/hotspot/buckets"))
}

func TestResolvedTimestampsAndClaims(t *testing.T) {
	r, _ := newStill(t)
	require.False(t, shows[object](r, "/min-resolved-ts")["is_real_time"].(bool))
	for id := range uint64(4) {
		_, err := r.pd.ReportMinResolvedTS(r.ctx, &pdpb.ReportMinResolvedTsRequest{Header: r.header(), StoreId: id + 1, MinResolvedTs: 100 * (id + 1)})
		require.NoError(t, err)
	}
	all := shows[object](r, "/min-resolved-ts?scope=cluster")
	require.Equal(t, true, all["is_real_time"])
	require.InDelta(t, 100, all["min_resolved_ts"], 0)
	require.Equal(t, object{"1": 100.0, "2": 200.0, "3": 300.0, "4": 400.0}, all["stores_min_resolved_ts"])
	require.InDelta(t, 300, shows[object](r, "/min-resolved-ts/3")["min_resolved_ts"], 0)
	r.declines("GET", "/min-resolved-ts/7", "", 404, "store 7 has reported no resolved timestamp")

	_, err := r.pd.UpdateServiceGCSafePoint(r.ctx, &pdpb.UpdateServiceGCSafePointRequest{Header: r.header(), ServiceId: []byte("svc"), TTL: 100, SafePoint: 7})
	require.NoError(t, err)
	require.Len(t, shows[object](r, "/gc/safepoint")["service_gc_safe_points"], 2)
	r.does("DELETE", "/gc/safepoint/svc", "", "Delete service GC safepoint successfully.")
	require.Len(t, shows[object](r, "/gc/safepoint")["service_gc_safe_points"], 1)
	r.declines("DELETE", "/gc/safepoint/gc_worker", "", 400, "cannot be given up")
}

// The stores that hot peers and leaders left and came to are counted when the operators have succeeded.
func TestHotMovesAreCountedByStore(t *testing.T) {
	page := server.CountEnded(t, []uint64{1, 2},
		operator.Record{Desc: "hot-read", Brief: "transfer hot read leader: store 1 to 2", Status: operator.Success, From: 1, To: 2},
		operator.Record{Desc: "hot-write", Brief: "mv peer: store [2] to [1]", Status: operator.Success, From: 2, To: 1},
		operator.Record{Desc: "hot-write", Brief: "mv peer: store [2] to [1]", Status: operator.Timeout, From: 2, To: 1},
		operator.Record{Desc: "balance-region", Brief: "mv peer: store [2] to [1]", Status: operator.Success, From: 2, To: 1},
	)
	moves := map[string]float64{}
	for labels, n := range page["pd_scheduler_hot_region_direction"] {
		if n > 0 {
			moves[labels] = n
		}
	}
	require.Len(t, page["pd_scheduler_hot_region_direction"], 12, "for each store what it has had no part in, too")
	require.Equal(t, map[string]float64{
		"dim=byte direction=out rw=read store=store-1 type=transfer-leader": 1, "dim=byte direction=in rw=read store=store-2 type=transfer-leader": 1,
		"dim=byte direction=out rw=write store=store-2 type=move-peer": 1, "dim=byte direction=in rw=write store=store-1 type=move-peer": 1,
	}, moves)
}
