package server_test

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

type regionsShown struct {
	Count   int `json:"count"`
	Regions []struct {
		ID uint64 `json:"id"`
	} `json:"regions"`
}

func (r *rig) lists(path string) (ids []uint64) {
	r.t.Helper()
	list := shows[regionsShown](r, path)
	require.Len(r.t, list.Regions, list.Count, path)
	for _, region := range list.Regions {
		ids = append(ids, region.ID)
	}
	return ids
}

// newZoo is newStill with more regions, each with something of its own: 20 to 24 in the order of their keys, before 9.
func newZoo(t *testing.T) *rig {
	r, beats := newStill(t)
	r.report(beats, regionAt(2, "", "b", 3, 4, 1, 2, 3)) // 1 MiB, 100 keys
	r.report(beats, regionAt(20, "b", "c", 3, 4, 1, 2), func(q *pdpb.RegionHeartbeatRequest) {
		q.ApproximateSize, q.ApproximateKeys, q.BytesWritten = 200<<20, 5000, 10<<20
	})
	r.report(beats, regionAt(21, "c", "d", 5, 4, 1, 2, 3, 4), func(q *pdpb.RegionHeartbeatRequest) {
		q.ApproximateSize, q.ApproximateKeys, q.BytesRead = 50<<20, 9000, 20<<20
		q.DownPeers = []*pdpb.PeerStats{{Peer: q.Region.Peers[2], DownSeconds: 60}}
	})
	learning := regionAt(22, "d", "e", 3, 8, 2, 1, 4)
	learning.Peers[2].Role = metapb.PeerRole_Learner
	r.report(beats, learning, func(q *pdpb.RegionHeartbeatRequest) {
		q.ApproximateSize, q.ApproximateKeys = 30<<20, 3000
		q.PendingPeers = []*metapb.Peer{q.Region.Peers[2]}
	})
	r.report(beats, regionAt(23, "f", "m", 3, 4, 3, 2, 1), func(q *pdpb.RegionHeartbeatRequest) { // behind a hole
		q.ApproximateSize, q.ApproximateKeys = 60<<20, 1_500_000
	})
	r.eventually(23, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	r.does("DELETE", "/store/4", "", "The store is set as Offline.")
	return r
}

func TestRegionsAreListed(t *testing.T) {
	r := newZoo(t)
	for path, want := range map[string][]uint64{
		"/regions":                               {2, 20, 21, 22, 23, 9},
		"/regions/key?key=b&limit=2":             {20, 21},
		"/regions/key?key=b&end_key=d":           {20, 21},
		"/regions/key?key=62&limit=1&format=hex": {20},
		"/regions/store/4":                       {21, 22},
		"/regions/store/3?type=leader":           {23},
		"/regions/store/4?type=learner":          {22},
		"/regions/store/4?type=pending":          {22},
		"/regions/sibling/20":                    {2, 21},
		"/regions/sibling/23":                    {9},
		"/regions/writeflow?limit=1":             {20},
		"/regions/readflow?limit=1":              {21},
		"/regions/size?limit=3":                  {20, 23, 21},
		"/regions/keys?limit=2":                  {23, 21},
		"/regions/confver?limit=1":               {22},
		"/regions/version?limit=1":               {21},
		"/regions/check/miss-peer":               {20},
		"/regions/check/extra-peer":              {21},
		"/regions/check/down-peer":               {21},
		"/regions/check/pending-peer":            {22},
		"/regions/check/learner-peer":            {22},
		"/regions/check/offline-peer":            {21, 22},
		"/regions/check/empty-region":            {2, 9},
		"/regions/check/oversized-region":        {20, 23},
		"/regions/check/undersized-region":       {2, 9},
	} {
		require.Equal(t, want, r.lists(path), path)
	}
	require.Equal(t, object{"count": 6.0}, shows[object](r, "/regions/count"))
	require.Equal(t, [][]string{{"65", "66"}}, shows[[][]string](r, "/regions/range-holes"))
	require.Equal(t, []object{
		{"start": 0.0, "end": 49.0, "count": 3.0}, {"start": 50.0, "end": 99.0, "count": 2.0}, {"start": 200.0, "end": 249.0, "count": 1.0},
	}, shows[[]object](r, "/regions/check/hist-size?bound=50"))
	require.Len(t, shows[[]object](r, "/regions/check/hist-keys"), 2)
	require.Equal(t, "REPLICATED", shows[string](r, "/regions/replicated?startKey=&endKey=62"))
	require.Equal(t, "INPROGRESS", shows[string](r, "/regions/replicated?startKey=62&endKey=63"))
	require.Equal(t, "PENDING", shows[string](r, "/regions/replicated?startKey=&endKey="))
	stats := shows[object](r, "/stats/region?start_key=b&end_key=d")
	require.InDelta(t, 2, stats["count"], 0)
	require.InDelta(t, 250, stats["storage_size"], 0)
	require.Equal(t, object{"1": 2.0, "2": 2.0, "3": 1.0, "4": 1.0}, stats["store_peer_count"])
}

func TestRegionsAreAskedForAmiss(t *testing.T) {
	r, _ := newStill(t)
	for path, want := range map[string]struct {
		code int
		part string
	}{
		"/regions/store/x":                 {400, "must be a number"},
		"/regions/store/1?type=lazy":       {400, "all, leader, learner or pending"},
		"/regions/sibling/77":              {404, "[PD:region:ErrRegionNotFound]region 77 not found"},
		"/regions/size?limit=x":            {400, "must be a number"},
		"/regions/size?limit=-1":           {400, "must be above 0"},
		"/regions/check/lazy-peer":         {404, "there are down-peer, empty-region"},
		"/regions/check/hist-size?bound=0": {400, "must be above 0"},
		"/regions/key?key=zz&format=hex":   {400, "hexadecimal digits"},
		"/regions/replicated?startKey=zz":  {400, "hexadecimal digits"},
		"/region/key/a?x=1&format=hex":     {400, "hexadecimal digits"},
	} {
		r.declines("GET", path, "", want.code, want.part)
	}
	r.declines("POST", "/regions/split", `{}`, 400, "at least one key")
	r.declines("POST", "/regions/split", `{"split_keys":["q"]}`, 400, "hexadecimal digits")
	r.declines("POST", "/regions/scatter", `{"start_key":"q"}`, 400, "hexadecimal digits")
}

func TestRegionsAreScatteredAndSplit(t *testing.T) {
	r, beats := newStill(t)
	code, answer := r.ask("POST", "/regions/scatter", `{"regions_id":[2,9,77],"group":"g"}`)
	require.Equal(t, 200, code, answer)
	require.JSONEq(t, `{"processed-percentage":66,"failures":[{"region-id":77,"why":"region 77 not found"}]}`, answer)
	r.does("DELETE", "/operators", "", "All pending operators are canceled.")

	answers := make(chan string, 1)
	go func() {
		_, answer := r.ask("POST", "/regions/split", `{"split_keys":["64"],"retry_limit":3}`)
		answers <- answer
	}()
	require.Eventually(t, func() bool { return len(shows[[]string](r, "/operators")) == 1 }, soon, poll)
	r.report(beats, regionAt(30, "d", "m", 3, 4, 1, 2, 3))
	r.report(beats, regionAt(2, "", "d", 3, 4, 1, 2, 3))
	require.JSONEq(t, `{"processed-percentage":100,"new-region-ids":[30]}`, <-answers)
}

// A region that is taken out of the picture comes back with its next report, and not with an older one (P3).
func TestRegionsAreForgotten(t *testing.T) {
	r, beats := newStill(t)
	r.does("DELETE", "/admin/cache/region/2", "", "The region is removed from server cache.")
	require.Equal(t, []uint64{9}, r.lists("/regions"))
	r.declines("DELETE", "/admin/cache/region/2", "", 404, "region 2 not found")
	r.report(beats, regionAt(2, "", "m", 1, 4, 1, 2, 3)) // stale
	r.report(beats, regionAt(9, "m", "", 2, 5, 1, 2, 3))
	r.eventually(9, func(g *pdpb.GetRegionResponse) bool { return g.GetRegion().GetRegionEpoch().GetConfVer() == 5 })
	require.Equal(t, []uint64{9}, r.lists("/regions"))
	r.report(beats, regionAt(2, "", "m", 2, 4, 1, 2, 3))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	r.does("DELETE", "/admin/cache/regions", "", "All regions are removed from server cache.")
	require.Empty(t, r.lists("/regions"))
}
