package server_test

import (
	"encoding/json"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// newStill is a scheduler that does nothing unasked, with four stores that are up and, on stores 1, 2 and 3, led by 1, the regions 2 up to key m and 9 from there on.
func newStill(t *testing.T) (*rig, pdpb.PD_RegionHeartbeatClient) {
	r := newRig(t, func(c *server.Config) {
		c.Schedule = schedule.DefaultConfig()
		c.Schedule.HaltScheduling = true
	})
	r.bootstrap()
	for id := uint64(1); id <= 4; id++ {
		if id > 1 {
			r.putStore(id)
		}
		r.storeHeartbeat(id)
	}
	beats := r.heartbeats()
	for _, region := range []*metapb.Region{regionAt(2, "", "m", 2, 4, 1, 2, 3), regionAt(9, "m", "", 2, 4, 1, 2, 3)} {
		r.report(beats, region)
	}
	r.eventually(9, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	return r, beats
}

func (r *rig) ask(method, path, body string) (int, string) {
	r.t.Helper()
	return send(r.t.(*testing.T), method, r.s.ClientURL()+"/pd/api/v1"+path, body)
}

// does wants a request to be granted with an answer.
func (r *rig) does(method, path, body, want string) {
	r.t.Helper()
	code, got := r.ask(method, path, body)
	require.Equal(r.t, 200, code, "%s %s: %s", method, path, got)
	require.Equal(r.t, `"`+want+`"`, got, path)
}

// declines wants a request to be refused with a JSON string of which a part is given.
func (r *rig) declines(method, path, body string, code int, part string) {
	r.t.Helper()
	got, answer := r.ask(method, path, body)
	require.Equal(r.t, code, got, "%s %s: %s", method, path, answer)
	var text string
	require.NoError(r.t, json.Unmarshal([]byte(answer), &text), "%s %s: %s", method, path, answer)
	require.Contains(r.t, text, part, "%s %s", method, path)
}

// shows decodes what a request shows.
func shows[T any](r *rig, path string) (v T) {
	r.t.Helper()
	code, got := r.ask("GET", path, "")
	require.Equal(r.t, 200, code, "%s: %s", path, got)
	require.NoError(r.t, json.Unmarshal([]byte(got), &v), "%s: %s", path, got)
	return v
}

type object = map[string]any
