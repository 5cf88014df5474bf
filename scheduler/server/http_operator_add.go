package server

import (
	stderrors "errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// operatorRequest is what may be asked for: each name takes some of the fields.
type operatorRequest struct {
	Name      string   `json:"name"`
	Region    uint64   `json:"region_id"`
	Store     uint64   `json:"store_id"`
	From      uint64   `json:"from_store_id"`
	To        uint64   `json:"to_store_id"`
	ToStores  []uint64 `json:"to_store_ids"`
	PeerRoles []string `json:"peer_roles"` // of ToStores: voter, leader, follower or learner
	Source    uint64   `json:"source_region_id"`
	Target    uint64   `json:"target_region_id"`
	splitting
	scattering
}

type splitting struct {
	Policy string   `json:"policy"` // scan, approximate or usekey
	Keys   []string `json:"keys"`   // hexadecimal digits
}

type scattering struct {
	Regions []uint64 `json:"region_ids"`
	Start   string   `json:"start_key"` // hexadecimal digits
	End     string   `json:"end_key"`
	Group   string   `json:"group"`
}

// addOperator is how operators of a name are made: what must be given, and the call.
type addOperator struct {
	missing func(*operatorRequest) string
	add     func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error
}

var addOperators = map[string]addOperator{
	"transfer-leader": {needs(theRegion, theTarget), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.TransferLeaderTo(q.Region, q.To, now)
	}},
	"transfer-region": {needs(theRegion), placeRegion},
	"transfer-peer": {needs(theRegion, theSource, theTarget), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.PlacePeer("admin-move-peer", q.Region, q.From, q.To, metapb.PeerRole_Voter, now)
	}},
	"add-peer": {needs(theRegion, theStore), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.PlacePeer("admin-add-peer", q.Region, 0, q.Store, metapb.PeerRole_Voter, now)
	}},
	"add-learner": {needs(theRegion, theStore), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.PlacePeer("admin-add-learner", q.Region, 0, q.Store, metapb.PeerRole_Learner, now)
	}},
	"remove-peer": {needs(theRegion, theStore), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.RemovePeer(q.Region, q.Store, now)
	}},
	"merge-region": {needs(theMerged, theMergeTarget), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.MergeRegions(q.Source, q.Target, now)
	}},
	"split-region": {needs(theRegion), splitRegion},
	"scatter-region": {needs(theRegion), func(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
		return c.Scatter(q.Region, q.Group, now)
	}},
}

// What an operator may need, and what it is called when it is missing.
func theRegion(q *operatorRequest) (uint64, string)      { return q.Region, "region id" }
func theStore(q *operatorRequest) (uint64, string)       { return q.Store, "store id" }
func theSource(q *operatorRequest) (uint64, string)      { return q.From, "store id to transfer peer from" }
func theTarget(q *operatorRequest) (uint64, string)      { return q.To, "store id to transfer to" }
func theMerged(q *operatorRequest) (uint64, string)      { return q.Source, "source region id" }
func theMergeTarget(q *operatorRequest) (uint64, string) { return q.Target, "target region id" }

func needs(what ...func(*operatorRequest) (uint64, string)) func(*operatorRequest) string {
	return func(q *operatorRequest) string {
		for _, w := range what {
			if id, name := w(q); id == 0 {
				return name
			}
		}
		return ""
	}
}

// httpAddOperator has something done to a region.
func httpAddOperator(t *term, r *http.Request) (any, error) {
	var q operatorRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	switch q.Name {
	case "":
		return nil, badRequest("missing operator name")
	case "scatter-regions":
		if len(q.Regions) == 0 && q.Start == "" && q.End == "" {
			return nil, badRequest("missing region ids, or start_key and end_key")
		}
		return t.scatterThese(scatterRequest{Regions: q.Regions, Start: q.Start, End: q.End, Group: q.Group})
	}
	how, ok := addOperators[q.Name]
	if !ok {
		return nil, badRequest("unknown operator %q; there are %s, scatter-regions", q.Name, strings.Join(slices.Sorted(maps.Keys(addOperators)), ", "))
	}
	if what := how.missing(&q); what != "" {
		return nil, badRequest("missing %s", what)
	}
	err := t.byHand(func(at machine.Moment) error {
		return t.machine.ByHand(at, func(c *schedule.Coordinator, now time.Time) error {
			err := how.add(c, &q, now)
			var unfit *schedule.StoreUnfitError
			if stderrors.As(err, &unfit) && unfit.Unknown {
				return &apiError{http.StatusInternalServerError, "[PD:core:ErrStoreNotFound]" + err.Error()}
			}
			return err
		})
	})
	return "The operator is created.", err
}

func placeRegion(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
	if len(q.ToStores) == 0 {
		return badRequest("missing store ids to transfer region to")
	}
	if len(q.PeerRoles) != 0 && len(q.PeerRoles) != len(q.ToStores) {
		return badRequest("peer_roles must name one role for each of to_store_ids, or not be given")
	}
	targets, lead := make([]operator.Target, len(q.ToStores)), uint64(0)
	for i, id := range q.ToStores {
		targets[i] = operator.Target{Store: id, Role: metapb.PeerRole_Voter}
		if len(q.PeerRoles) == 0 {
			continue
		}
		switch role := strings.ToLower(q.PeerRoles[i]); role {
		case "voter", "follower":
		case "leader":
			lead = id
		case "learner":
			targets[i].Role = metapb.PeerRole_Learner
		default:
			return badRequest("peer role %q must be voter, leader, follower or learner", role)
		}
	}
	return c.PlaceRegion("admin-move-region", q.Region, targets, lead, now)
}

func splitRegion(c *schedule.Coordinator, q *operatorRequest, now time.Time) error {
	switch strings.ToLower(q.Policy) {
	case "scan", "approximate", "":
		if len(q.Keys) > 0 && q.Policy != "" {
			return badRequest("keys are for the policy usekey, not for %s", q.Policy)
		}
	case "usekey":
		if len(q.Keys) == 0 {
			return badRequest("the policy usekey takes keys, as hexadecimal digits")
		}
	default:
		return badRequest("policy %q must be scan, approximate or usekey", q.Policy)
	}
	keys, err := fromHexes("keys", q.Keys)
	if err != nil {
		return err
	}
	return c.SplitRegion(q.Region, keys, now)
}
