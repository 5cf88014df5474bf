package server_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
)

var peerID = regexp.MustCompile(`peer \d+`)

const created = "The operator is created."

// Each kind of operator that may be asked for, with the steps that it comes to. Region 2 is on stores 1, 2 and 3, led by 1.
func TestOperatorsOfEveryKind(t *testing.T) {
	r, _ := newStill(t)
	for _, c := range []struct {
		body, desc string
		steps      []string
	}{
		{`{"name":"transfer-leader","region_id":2,"to_store_id":3}`, "admin-transfer-leader", []string{"transfer leader from store 1 to store 3"}},
		{`{"name":"add-peer","region_id":2,"store_id":4}`, "admin-add-peer", []string{"add learner peer ID on store 4", "promote learner peer ID on store 4 to voter"}},
		{`{"name":"add-learner","region_id":2,"store_id":4}`, "admin-add-learner", []string{"add learner peer ID on store 4"}},
		{`{"name":"remove-peer","region_id":2,"store_id":3}`, "admin-remove-peer", []string{"remove peer ID on store 3"}},
		{`{"name":"transfer-peer","region_id":2,"from_store_id":3,"to_store_id":4}`, "admin-move-peer", []string{
			"add learner peer ID on store 4",
			"use joint consensus, promote learner peer ID on store 4 to voter, demote voter peer ID on store 3 to learner",
			"leave joint state", "remove peer ID on store 3",
		}},
		{`{"name":"transfer-region","region_id":2,"to_store_ids":[1,2,4],"peer_roles":["voter","leader","learner"]}`, "admin-move-region", nil},
		{`{"name":"split-region","region_id":2,"policy":"approximate"}`, "admin-split-region", []string{"split region in the middle"}},
		{`{"name":"split-region","region_id":2,"policy":"usekey","keys":["62","63"]}`, "admin-split-region", []string{"split region at 2 keys, the first 62"}},
		{`{"name":"merge-region","source_region_id":9,"target_region_id":2}`, "merge-region", []string{"merge region 9 into region 2"}},
		{`{"name":"scatter-region","region_id":2,"group":"g"}`, "", nil},
	} {
		r.does("POST", "/operators", c.body, created)
		if c.desc != "" {
			op := shows[object](r, "/operators/2?object")
			require.Equal(t, c.desc, op["desc"], c.body)
			require.Equal(t, "STARTED", op["status"], c.body)
			require.Equal(t, "admin", op["kind"], c.body)
			if c.steps != nil {
				require.Equal(t, c.steps, withoutIDs(op["steps"]), c.body)
			}
		}
		r.does("DELETE", "/operators", "", "All pending operators are canceled.")
		require.Empty(t, shows[[]string](r, "/operators"))
	}
}

// withoutIDs are steps with the ids of new and old peers masked.
func withoutIDs(steps any) (list []string) {
	for _, s := range steps.([]any) {
		list = append(list, peerID.ReplaceAllString(s.(string), "peer ID"))
	}
	return list
}

func TestOperatorsAreShownAndCanceled(t *testing.T) {
	r, beats := newStill(t)
	require.Equal(t, []string{}, shows[[]string](r, "/operators"))
	r.does("POST", "/operators", `{"name":"transfer-leader","region_id":2,"to_store_id":3}`, created)
	const line = `^admin-transfer-leader {transfer leader: store 1 to 3} \(kind:admin, region:2\(2, 4\), createAt:\S+ \S+ \+0000 UTC, startAt:\S+ \S+ \+0000 UTC, currentStep:0, steps:\[0:{transfer leader from store 1 to store 3}\]\)`
	require.Regexp(t, line+"$", shows[[]string](r, "/operators")[0])
	require.Regexp(t, `^status: STARTED, operator: admin-transfer-leader {`, shows[string](r, "/operators/2"))
	require.Len(t, shows[[]string](r, "/operators?kind=admin"), 1)
	require.Empty(t, shows[[]string](r, "/operators?kind=merge"))
	r.does("DELETE", "/operators/2", "", "The pending operator is canceled.")
	r.declines("DELETE", "/operators/2", "", 404, "[PD:scheduler:ErrOperatorNotFound]")
	require.Regexp(t, line+` \(status:CANCEL, finishAt:\S+ \S+ \+0000 UTC, duration:\S+s\)$`, shows[[]string](r, "/operators/records")[0])
	record := shows[[]object](r, "/operators/records?object&from=0")[0]
	require.Equal(t, "by an operator of the cluster", record["why"])
	require.Empty(t, shows[[]object](r, "/operators/records?object&from=4102444800"))

	r.does("POST", "/operators", `{"name":"transfer-leader","region_id":2,"to_store_id":3}`, created)
	region := regionAt(2, "", "m", 2, 4, 1, 2, 3)
	r.report(beats, region, func(q *pdpb.RegionHeartbeatRequest) { q.Leader, q.Term = region.Peers[2], 6 })
	require.Eventually(t, func() bool { return shows[object](r, "/operators/2?object")["status"] == "SUCCESS" }, soon, poll)
}

func TestOperatorsThatCannotBe(t *testing.T) {
	r, _ := newStill(t)
	r.declines("GET", "/operators/2", "", 404, "[PD:scheduler:ErrOperatorNotFound]")
	r.declines("GET", "/operators/x", "", 400, "must be a number")
	r.declines("GET", "/operators?kind=magic", "", 400, `unknown operator kind "magic"; there are admin, leader`)
	r.declines("GET", "/operators/records?from=yesterday", "", 400, "unix seconds")
	for body, want := range map[string]string{
		`{}`:                                       "400 missing operator name",
		`{"name":"dance","region_id":2}`:           `400 unknown operator "dance"; there are add-learner, add-peer`,
		`{"name":"transfer-leader"}`:               "400 missing region id",
		`{"name":"add-peer","region_id":2}`:        "400 missing store id",
		`{"name":"merge-region"}`:                  "400 missing source region id",
		`{"name":"transfer-region","region_id":2}`: "400 missing store ids",
		`{"name":"transfer-region","region_id":2,"to_store_ids":[1],"peer_roles":["king"]}`:          `400 peer role "king"`,
		`{"name":"transfer-region","region_id":2,"to_store_ids":[1],"peer_roles":["voter","voter"]}`: "400 one role for each",
		`{"name":"transfer-region","region_id":2,"to_store_ids":[1],"peer_roles":["learner"]}`:       "500 target peers have no voter",
		`{"name":"split-region","region_id":2,"policy":"halves"}`:                                    "400 must be scan, approximate or usekey",
		`{"name":"split-region","region_id":2,"policy":"usekey"}`:                                    "400 takes keys",
		`{"name":"split-region","region_id":2,"policy":"usekey","keys":["zz"]}`:                      "400 hexadecimal digits",
		`{"name":"split-region","region_id":2,"policy":"usekey","keys":["7A"]}`:                      "500 it must lie inside the region",
		`{"name":"scatter-regions"}`:                                               "400 missing region ids",
		`{"name":"transfer-leader","region_id":77,"to_store_id":1}`:                "500 region 77 not found",
		`{"name":"transfer-leader","region_id":2,"to_store_id":1}`:                 "500 no operator step is built",
		`{"name":"transfer-leader","region_id":2,"to_store_id":4}`:                 "500 has no peer on store 4",
		`{"name":"add-peer","region_id":2,"store_id":7}`:                           "500 [PD:core:ErrStoreNotFound]store 7 not found",
		`{"name":"add-peer","region_id":2,"store_id":3}`:                           "500 already has a peer on store 3",
		`{"name":"remove-peer","region_id":2,"store_id":4}`:                        "500 has no peer on store 4",
		`{"name":"transfer-peer","region_id":2,"from_store_id":4,"to_store_id":1}`: "500 already has a peer on store 1",
		`{"name":"merge-region","source_region_id":2,"target_region_id":2}`:        "500 not adjacent",
	} {
		var code int
		_, err := fmt.Sscan(want, &code)
		require.NoError(t, err)
		r.declines("POST", "/operators", body, code, want[4:])
	}
	require.Empty(t, shows[[]string](r, "/operators"))
}

// An only peer cannot be removed, in the words that tools know.
func TestTheLastPeerStays(t *testing.T) {
	r, beats := newStill(t)
	r.report(beats, regionAt(2, "", "m", 2, 5, 1))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetPeers()) == 1 })
	r.declines("POST", "/operators", `{"name":"remove-peer","region_id":2,"store_id":1}`, 500, "cannot create operator: target peers have no voter")
}

// A learner is promoted by asking for a peer where it is.
func TestALearnerIsPromotedByHand(t *testing.T) {
	r, beats := newStill(t)
	region := regionAt(2, "", "m", 2, 5, 1, 2, 3)
	region.Peers[2].Role = metapb.PeerRole_Learner
	r.report(beats, region)
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetRegion().GetRegionEpoch().GetConfVer() == 5 })
	r.does("POST", "/operators", `{"name":"add-peer","region_id":2,"store_id":3}`, created)
	require.Equal(t, []string{"promote learner peer ID on store 3 to voter"}, withoutIDs(shows[object](r, "/operators/2?object")["steps"]))
	r.declines("POST", "/operators", `{"name":"add-learner","region_id":2,"store_id":3}`, 500, "already has a peer")
}

// What is asked for by hand is told to the region's leader.
func TestOperatorsReachTheLeader(t *testing.T) {
	r, beats := newStill(t)
	r.does("POST", "/operators", `{"name":"add-learner","region_id":2,"store_id":4}`, created)
	told := make(chan *pdpb.RegionHeartbeatResponse, 1)
	go func() {
		res, err := beats.Recv()
		if err == nil {
			told <- res
		}
	}()
	r.report(beats, regionAt(2, "", "m", 2, 4, 1, 2, 3))
	res := <-told
	require.EqualValues(t, 2, res.GetRegionId())
	require.NotNil(t, res.GetChangePeer())
}
