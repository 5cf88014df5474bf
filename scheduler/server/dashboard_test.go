package server_test

import (
	"encoding/json"
	"testing"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

// board decodes what the page is told.
func board(r *rig, path string) (v object) {
	r.t.Helper()
	code, body := r.get("/dashboard/api/" + path)
	require.Equal(r.t, 200, code, body)
	require.NoError(r.t, json.Unmarshal([]byte(body), &v), body)
	return v
}

// The page shows what was reported, under whichever path the parts of it come.
func TestDashboardShowsTheCluster(t *testing.T) {
	t.Parallel()
	r, beats := newStill(t)
	r.report(beats, regionAt(9, "m", "", 2, 4, 1, 2, 3), func(req *pdpb.RegionHeartbeatRequest) {
		req.BytesWritten, req.KeysWritten, req.Interval = 600<<10, 600, &pdpb.TimeInterval{StartTimestamp: 100, EndTimestamp: 700}
	})
	require.Eventually(t, func() bool { return len(board(r, "strip?buckets=50")["hottest"].([]any)) == 1 }, soon, poll)

	o := board(r, "overview")
	require.InDelta(t, 2, o["regions"], 0)
	require.InDelta(t, 2, o["heard"], 0)
	require.Equal(t, true, o["halted"])
	require.Len(t, o["stores"], 4)
	first := o["stores"].([]any)[0].(object)
	require.Equal(t, "Up", first["state"])
	require.InDelta(t, 2, first["leaders"], 0)
	require.InDelta(t, 1<<29, first["available"], 0)

	strip := board(r, "strip?buckets=50")
	require.InDelta(t, 2, strip["regions"], 0)
	second := strip["buckets"].([]any)[1].(object)
	require.Equal(t, "6d", second["start"])
	require.InDelta(t, 1<<10, second["write"], 100)
	require.InDelta(t, 9, strip["hottest"].([]any)[0].(object)["id"], 0)

	region := board(r, "region/9")
	require.Len(t, region["peers"], 3)
	require.InDelta(t, 1, region["leader"], 0)
	code, _ := r.get("/dashboard/api/region/77")
	require.Equal(t, 404, code)

	var kinds []string
	require.Eventually(t, func() bool {
		kinds = nil
		for _, e := range board(r, "events")["events"].([]any) {
			kinds = append(kinds, e.(object)["kind"].(string))
		}
		return len(kinds) >= 6
	}, soon, poll)
	require.Contains(t, kinds, "regions-split")
	require.Contains(t, kinds, "store-joined")
	require.Equal(t, "term-began", kinds[len(kinds)-1])
	last := board(r, "events?limit=100")["events"].([]any)
	require.Equal(t, r.cfg.Name, last[len(last)-1].(object)["detail"])
}

// An operator by hand is in flight, then ended, and its end is an event.
func TestDashboardShowsOperators(t *testing.T) {
	t.Parallel()
	r, _ := newStill(t)
	code, body := r.ask("POST", "/operators", `{"name":"transfer-leader","region_id":2,"to_store_id":2}`)
	require.Equal(t, 200, code, body)
	running := board(r, "overview")["running"].([]any)
	require.Len(t, running, 1)
	require.InDelta(t, 2, running[0].(object)["region"], 0)
	require.Equal(t, "admin-transfer-leader", running[0].(object)["desc"])
	require.NotNil(t, board(r, "region/2")["operator"])
	code, body = r.ask("DELETE", "/operators/2", "")
	require.Equal(t, 200, code, body)
	require.Empty(t, board(r, "overview")["running"])
	require.Equal(t, "CANCEL", board(r, "overview")["ended"].([]any)[0].(object)["status"])
	require.Eventually(t, func() bool {
		newest := board(r, "events?limit=1")["events"].([]any)[0].(object)
		return newest["kind"] == "operator-failed" && newest["region"] == 2.0
	}, soon, poll)
}

// A page that is open before there is a cluster is not told that something is wrong.
func TestDashboardOfAnEmptyCluster(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := board(r, "overview")
	require.Empty(t, o["stores"])
	require.InDelta(t, 0, o["regions"], 0)
	strip := board(r, "strip")
	require.Equal(t, []any{}, strip["buckets"])
	require.Len(t, board(r, "events")["events"], 1)
}
