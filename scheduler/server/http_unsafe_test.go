package server_test

import (
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// Stores are given up only by name, or if nobody has heard of them, and never while they are heard of. How a removal goes on is in test/robustness.
func TestRemovalsThatAreRefused(t *testing.T) {
	const path = "/admin/unsafe/remove-failed-stores"
	r, _ := newStill(t)
	require.Equal(t, []object{{"info": "No on-going recovery."}}, shows[[]object](r, path+"/show"))
	for body, want := range map[string]string{
		`{}`:                                    "no store specified",
		`{"stores":[]}`:                         "no store specified",
		`{"stores":[1]}`:                        "store 1 is up and connected",
		`{"stores":[77]}`:                       "store 77 doesn't exist",
		`{"auto-detect":true}`:                  "every store is heard of",
		`{"auto-detect":true,"stores":[1]}`:     "store 1 is up and connected",
		`{"auto-detect":true,"stores":[1,1,2]}`: "is up and connected",
	} {
		r.declines("POST", path, body, 500, want)
	}
	for body, want := range map[string]string{
		`{"stores":"1"}`:             "is not the JSON that this request takes",
		`{"stores":[1],"timeout":0}`: "timeout is 0; it must be 1 to 86400 seconds",
		`{"stores":[-1]}`:            "is not the JSON that this request takes",
	} {
		r.declines("POST", path, body, 400, want)
	}
	r.declines("POST", path+"/abort", "", 500, "no unsafe recovery is running")
	for _, s := range shows[struct{ Stores []object }](r, "/stores").Stores {
		require.Equal(t, "Up", s["store"].(object)["state_name"])
	}
}

// Which stores a removal gives up: those that are named or, to be detected, those that live and are silent; but never all.
func TestStoresThatARemovalGivesUp(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	store := func(id uint64, silent time.Duration, state metapb.StoreState) *cluster.Store {
		return &cluster.Store{Meta: &metapb.Store{Id: id, State: state}, Heard: now.Add(-silent)}
	}
	const up, buried = metapb.StoreState_Up, metapb.StoreState_Tombstone
	long := 2 * cluster.DisconnectedAfter
	some := []*cluster.Store{store(1, 0, up), store(2, long, up), store(3, long, metapb.StoreState_Offline), store(4, long, buried)}
	none := []*cluster.Store{store(2, long, up), store(3, long, up), store(4, long, buried)}
	for name, c := range map[string]struct {
		stores []*cluster.Store
		named  []uint64
		detect bool
		want   []uint64
		why    string
	}{
		"detected":              {some, nil, true, []uint64{2, 3}, ""},
		"named":                 {some, []uint64{2}, false, []uint64{2}, ""},
		"a buried one is named": {some, []uint64{4}, false, []uint64{4}, ""},
		"all are silent":        {none, nil, true, nil, "no store is left to recover from"},
		"all are named":         {none, []uint64{3, 2}, false, nil, "no store is left to recover from"},
		"one is left, silent":   {none, []uint64{3}, false, []uint64{3}, ""},
		"one is heard of":       {some, []uint64{1, 2}, false, nil, "store 1 is up and connected"},
	} {
		lost, err := server.LostStores(c.stores, now, c.named, c.detect)
		require.Equal(t, c.want, lost, name)
		if c.why == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.why, name)
		}
	}
}
