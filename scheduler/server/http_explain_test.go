package server_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

// What is explained is asked of the scheduler at paths of our own, and refused in words that say what to do.
func TestExplanationsAreServed(t *testing.T) {
	r, beats := newStill(t)
	own := func(path string) (int, []byte) {
		code, answer := send(t, http.MethodGet, r.s.ClientURL()+"/shoal/api/v1/explain"+path, "")
		return code, []byte(answer)
	}
	type finding = struct{ Level, Text, Since, Until, Do string }
	var region struct {
		Region   struct{ ID uint64 }
		Now      string
		Leader   uint64 `json:"leader_store"`
		Peers    []struct{ Store uint64 }
		Findings []finding
	}
	code, answer := own("/region/9")
	require.Equal(t, http.StatusOK, code, "%s", answer)
	require.NoError(t, json.Unmarshal(answer, &region))
	require.Equal(t, uint64(9), region.Region.ID)
	require.Equal(t, uint64(1), region.Leader)
	require.Len(t, region.Peers, 3)
	require.NotEmpty(t, region.Now)
	require.Contains(t, string(answer), "halt-scheduling is true")

	code, answer = own("/key?hex=61")
	require.Equal(t, http.StatusOK, code, "%s", answer)
	require.NoError(t, json.Unmarshal(answer, &region))
	require.Equal(t, uint64(2), region.Region.ID)

	code, answer = own("/balance")
	require.Equal(t, http.StatusOK, code, "%s", answer)
	var balance struct {
		Even   bool `json:"regions_even"`
		Stores []struct{ Leaders int }
	}
	require.NoError(t, json.Unmarshal(answer, &balance))
	require.Len(t, balance.Stores, 4)
	require.Equal(t, 2, balance.Stores[0].Leaders)

	r.report(beats, regionAt(2, "", "", 3, 4, 1, 2, 3)) // it has taken region 9 in
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetEndKey()) == 0 })
	for path, want := range map[string]struct {
		code int
		part string
	}{
		"/region/9":    {http.StatusNotFound, "region 9 is gone: its keys are now those of region 2"},
		"/region/77":   {http.StatusNotFound, "region 77 is not known"},
		"/region/x":    {http.StatusBadRequest, "must be a number"},
		"/key?hex=xyz": {http.StatusBadRequest, "hexadecimal"},
	} {
		code, answer := own(path)
		require.Equal(t, want.code, code, "%s: %s", path, answer)
		require.Contains(t, string(answer), want.part, path)
	}
}
