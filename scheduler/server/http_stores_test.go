package server_test

import (
	"math"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

func statusOf(r *rig, store string) object {
	return shows[object](r, "/store/"+store)["status"].(object)
}

func metaOfStore(r *rig, id string) object { return shows[object](r, "/store/"+id)["store"].(object) }

// What is set of stores lasts over a restart of the scheduler (P10).
func TestStoresAreSteered(t *testing.T) {
	r, _ := newStill(t)
	r.does("POST", "/store/1/label", `{"zone":"z1","host":"h"}`, "The store's label is updated.")
	r.does("POST", "/store/2/label?force", `{"zone":"z2"}`, "The store's label is updated.")
	r.does("DELETE", "/store/1/label", `"host"`, "The label host is deleted for store 1.")
	r.does("POST", "/store/1/weight", `{"leader":2,"region":4}`, "The store's weight is updated.")
	r.does("POST", "/store/1/limit", `{"rate":5,"type":"add-peer"}`, "The store's limit is updated.")
	r.does("POST", "/stores/limit", `{"rate":30,"type":"remove-peer"}`, "Set store limit successfully.")
	r.does("DELETE", "/store/4", "", "The store is set as Offline.")
	for range 2 {
		require.Equal(t, []any{object{"key": "zone", "value": "z1"}}, metaOfStore(r, "1")["labels"])
		require.Equal(t, []any{object{"key": "zone", "value": "z1"}, object{"key": "zone", "value": "z2"}}, shows[any](r, "/labels"))
		require.InDelta(t, 1, shows[object](r, "/labels/stores?name=zone&value=z2")["count"], 0)
		require.InDelta(t, 2, statusOf(r, "1")["leader_weight"], 0)
		require.InDelta(t, 4, statusOf(r, "1")["region_weight"], 0)
		limits := shows[map[string]map[string]float64](r, "/stores/limit")
		require.Equal(t, map[string]float64{"add-peer": 5, "remove-peer": 30}, limits["1"])
		require.Equal(t, map[string]float64{"add-peer": 15, "remove-peer": 30}, limits["3"])
		require.Equal(t, "Offline", metaOfStore(r, "4")["state_name"])
		require.InDelta(t, 1, shows[object](r, "/stores?state=1")["count"], 0)
		require.InDelta(t, 1, shows[object](r, "/stores/check?state=Offline")["count"], 0)
		r.restart()
	}
	r.does("POST", "/store/4/state?state=Up", "", "The store's state is updated.")
	require.NotEqual(t, "Offline", metaOfStore(r, "4")["state_name"])
}

// A store that registers again names only its own labels: those that operators gave it stay.
func TestLabelsOutliveTheStoresOwn(t *testing.T) {
	r, _ := newStill(t)
	r.does("POST", "/store/1/label", `{"rack":"r1","zone":"z1"}`, "The store's label is updated.")
	store := firstStore()
	store.Labels = []*metapb.StoreLabel{{Key: "zone", Value: "z9"}}
	res, err := r.pd.PutStore(r.ctx, &pdpb.PutStoreRequest{Header: r.header(), Store: store})
	require.NoError(t, err)
	require.Nil(t, res.GetHeader().GetError())
	require.ElementsMatch(t, []any{object{"key": "zone", "value": "z9"}, object{"key": "rack", "value": "r1"}}, metaOfStore(r, "1")["labels"])
}

// How far a store is with being drained shows over HTTP and in the metrics.
func TestDrainingShows(t *testing.T) {
	r, _ := newStill(t)
	r.declines("GET", "/stores/progress", "", 400, "id or action must be given")
	r.declines("GET", "/stores/progress?id=x", "", 400, "must be a number")
	r.declines("GET", "/stores/progress?id=3", "", 404, "no progress found for the given store ID: 3")
	r.declines("GET", "/stores/progress?action=removing", "", 404, "no progress found for the action: removing")
	r.does("DELETE", "/store/3", "", "The store is set as Offline.")
	stays := object{"action": "removing", "progress": 0.0, "current_speed": 0.0, "left_seconds": math.MaxFloat64}
	require.Eventually(t, func() bool {
		code, _ := r.ask("GET", "/stores/progress?action=removing", "")
		return code == 200
	}, soon, poll)
	require.Equal(t, stays, shows[object](r, "/stores/progress?action=removing"))
	stays["store_id"] = 3.0
	require.Equal(t, stays, shows[object](r, "/stores/progress?id=3"))
	r.declines("GET", "/stores/progress?action=preparing", "", 404, "no progress found for the action: preparing")
	_, page := r.get("/metrics")
	for _, line := range []string{
		`pd_cluster_progress{action="removing",address="` + metaOfStore(r, "3")["address"].(string) + `",store="store-3"} 0`,
		`pd_cluster_speed{action="removing",`, `pd_cluster_eta{action="removing",`,
		`pd_scheduler_tolerant_resource{scheduler="balance-region-scheduler",source="store-1"} 1`,
		`pd_schedule_operator_exceeded_store_limit{desc="balance-region"} 0`,
		`pd_schedule_source_filter{action="filter-source",scope="balance-region-scheduler",source="store-1",type="store-state-exceed-remove-limit-filter"} 0`,
		`pd_schedule_target_filter{action="filter-target",scope="balance-region-scheduler",target="store-1",type="store-state-exceed-add-limit-filter"} 0`,
		`pd_scheduler_hot_region{store="store-4",type="src-store-succ-write-peer"} 0`,
	} {
		require.Contains(t, page, line)
	}
}

func TestATombstoneIsForgotten(t *testing.T) {
	r, _ := newStill(t)
	r.does("DELETE", "/store/4", "", "The store is set as Offline.")
	require.Eventually(t, func() bool { return metaOfStore(r, "4")["state_name"] == "Tombstone" }, soon, poll)
	r.declines("DELETE", "/store/4", "", 410, "ErrStoreRemoved")
	r.declines("POST", "/store/4/state?state=Up", "", 410, "ErrStoreRemoved")
	require.InDelta(t, 3, shows[object](r, "/stores")["count"], 0)
	r.does("DELETE", "/stores/remove-tombstone", "", "Remove tombstone successfully.")
	r.declines("GET", "/store/4", "", 404, "[PD:core:ErrStoreNotFound]store 4 not found")
}

func TestStoresAreNotMissteered(t *testing.T) {
	r, _ := newStill(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		part               string
	}{
		{"DELETE", "/store/77", "", 404, "[PD:core:ErrStoreNotFound]store 77 not found"},
		{"DELETE", "/store/x", "", 400, `id "x" must be a number`},
		{"DELETE", "/store/4?force", "", 400, "is up; only a store whose machine is gone"},
		{"POST", "/store/1/state?state=Sleeping", "", 400, `"Sleeping"; it must be Up or Offline`},
		{"POST", "/store/1/label", `{"a b":"c"}`, 400, "only letters"},
		{"POST", "/store/1/label", `{"":"c"}`, 400, "must not be empty"},
		{"POST", "/store/1/label", `[]`, 400, "not the JSON"},
		{"DELETE", "/store/1/label", `"nope"`, 400, "has no label"},
		{"POST", "/store/1/weight", `{"leader":1}`, 400, "both weights"},
		{"POST", "/store/1/weight", `{"leader":-1,"region":1}`, 400, "must not be negative"},
		{"POST", "/store/77/weight", `{"leader":1,"region":1}`, 404, "store 77 not found"},
		{"POST", "/store/1/limit", `{"rate":0}`, 400, "above 0"},
		{"POST", "/store/1/limit", `{"rate":1,"type":"peers"}`, 400, "add-peer or remove-peer"},
		{"POST", "/stores/limit", `{"rate":-1}`, 400, "above 0"},
		{"GET", "/stores?state=9", "", 400, "it must be 0 (Up), 1 (Offline) or 2 (Tombstone)"},
		{"GET", "/stores/check?state=Asleep", "", 400, "unknown store state"},
		{"GET", "/labels/stores", "", 400, "name must be given"},
	} {
		r.declines(c.method, c.path, c.body, c.code, c.part)
	}
	r.does("DELETE", "/store/4", "", "The store is set as Offline.")
	r.declines("DELETE", "/store/1", "", 400,
		"[PD:core:ErrStoresNotEnough]can not remove store 1 since the number of up stores would be 2 while need 3")
}
