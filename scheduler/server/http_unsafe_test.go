package server_test

import (
	"testing"

	"github.com/stretchr/testify/require"
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
