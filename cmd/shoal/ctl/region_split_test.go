package ctl

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// split divides the first region at two keys, then what is left of it at none of its own.
func (c kvCluster) split(t *testing.T) {
	type part struct {
		ID       uint64 `json:"id"`
		StartKey string `json:"start_key"`
		EndKey   string `json:"end_key"`
	}
	var before struct {
		ID uint64 `json:"id"`
	}
	require.NoError(t, json.Unmarshal([]byte(ctl(t, "region", "--key", "split-m", "-o", "json")), &before))
	id := fmt.Sprint(before.ID)
	var parts []part
	require.NoError(t, json.Unmarshal([]byte(ctl(t, "region", "split", id, "split-b", "split-a", "-o", "json")), &parts))
	require.Len(t, parts, 3)
	require.Equal(t, "73706C69742D61", parts[0].EndKey)
	require.Equal(t, parts[0].EndKey, parts[1].StartKey)
	require.Equal(t, "73706C69742D62", parts[2].StartKey)
	require.Equal(t, before.ID, parts[2].ID, "the region keeps its id and its last part")

	for i := range 8 {
		ctl(t, "kv", "put", fmt.Sprintf("split-b%d", i), "v")
	}
	require.NotEmpty(t, ctl(t, "region", "split", id), "the scheduler hears of the new epoch with the next heartbeat")
	_, err := runWith("", "region", "split", id, "a")
	require.ErrorContains(t, err, "not in region")
	_, err = runWith("", "region", "split", "999999")
	require.ErrorContains(t, err, "999999")
}
