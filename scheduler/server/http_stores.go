package server

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// storeRoutes are about stores.
func (s *Server) storeRoutes() []route {
	return []route{
		{"GET", "/stores", s.onCluster(httpStores)},
		{"GET", "/stores/check", s.onCluster(httpStoresCheck)},
		{"GET", "/stores/progress", s.onCluster(httpStoresProgress)},
		{"GET", "/stores/limit", s.onCluster(httpStoreLimits)},
		{"POST", "/stores/limit", s.onCluster(httpLimitStores)},
		{"DELETE", "/stores/remove-tombstone", s.onCluster(httpRemoveTombstones)},
		{"GET", "/store/{id}", s.onCluster(httpStore)},
		{"DELETE", "/store/{id}", s.onCluster(httpDeleteStore)},
		{"POST", "/store/{id}/state", s.onCluster(httpStoreState)},
		{"POST", "/store/{id}/label", s.onCluster(httpLabelStore)},
		{"DELETE", "/store/{id}/label", s.onCluster(httpDropLabel)},
		{"POST", "/store/{id}/weight", s.onCluster(httpWeighStore)},
		{"POST", "/store/{id}/limit", s.onCluster(httpLimitStore)},
		{"GET", "/labels", s.onCluster(httpLabels)},
		{"GET", "/labels/stores", s.onCluster(httpStoresByLabel)},
	}
}

type storesJSON struct {
	Count  int         `json:"count"`
	Stores []storeJSON `json:"stores"`
}

type storeJSON struct {
	Store  storeMetaJSON   `json:"store"`
	Status storeStatusJSON `json:"status"`
}

type storeMetaJSON struct {
	*metapb.Store
	StateName string `json:"state_name"`
}

type storeStatusJSON struct {
	Capacity  string `json:"capacity"`
	Available string `json:"available"`
	UsedSize  string `json:"used_size"`
	leadersJSON
	replicasJSON
	healthJSON
	StartTS         *time.Time `json:"start_ts,omitempty"`
	LastHeartbeatTS *time.Time `json:"last_heartbeat_ts,omitempty"`
	Uptime          string     `json:"uptime,omitempty"`
}

type leadersJSON struct {
	LeaderCount  int     `json:"leader_count"`
	LeaderWeight float64 `json:"leader_weight"`
	LeaderScore  float64 `json:"leader_score"`
	LeaderSize   uint64  `json:"leader_size"`
}

type replicasJSON struct {
	RegionCount  int     `json:"region_count"`
	RegionWeight float64 `json:"region_weight"`
	RegionScore  float64 `json:"region_score"`
	RegionSize   uint64  `json:"region_size"`
	LearnerCount int     `json:"learner_count,omitempty"`
	PendingCount int     `json:"pending_peer_count,omitempty"`
}

type healthJSON struct {
	SlowScore          uint64 `json:"slow_score,omitempty"`
	SendingSnapshots   uint32 `json:"sending_snap_count,omitempty"`
	ReceivingSnapshots uint32 `json:"receiving_snap_count,omitempty"`
	ApplyingSnapshots  uint32 `json:"applying_snap_count,omitempty"`
	IsBusy             bool   `json:"is_busy,omitempty"`
}

// leastWeight stands in for a weight of zero where something is divided by it.
const leastWeight = 1e-6

func storeView(s *cluster.Store, tally cluster.Tally, now time.Time) storeJSON {
	leaderWeight, regionWeight := max(s.Tuning.LeaderWeight, leastWeight), max(s.Tuning.RegionWeight, leastWeight)
	meta := *s.Meta
	if meta.State == metapb.StoreState_Up {
		meta.NodeState = metapb.NodeState_Serving // a store that has registered serves at once: there is no preparing
	}
	view := storeJSON{
		Store: storeMetaJSON{Store: &meta, StateName: s.State(now).String()},
		Status: storeStatusJSON{
			Capacity:  units.BytesSize(float64(s.Stats.Capacity)),
			Available: units.BytesSize(float64(s.Stats.Available)),
			UsedSize:  units.BytesSize(float64(s.Stats.UsedSize)),
			leadersJSON: leadersJSON{
				LeaderCount: tally.Leaders, LeaderWeight: s.Tuning.LeaderWeight, LeaderScore: float64(tally.Leaders) / leaderWeight,
				LeaderSize: mebibytes(tally.LeaderSize),
			},
			replicasJSON: replicasJSON{
				RegionCount: tally.Regions, RegionWeight: s.Tuning.RegionWeight, RegionScore: float64(tally.RegionWeight) / regionWeight,
				RegionSize: mebibytes(tally.RegionSize), LearnerCount: tally.Learners, PendingCount: tally.Pending,
			},
			healthJSON: healthJSON{
				SlowScore: s.Stats.SlowScore, SendingSnapshots: s.Stats.SendingSnapshots, ReceivingSnapshots: s.Stats.ReceivingSnapshots,
				ApplyingSnapshots: s.Stats.ApplyingSnapshots, IsBusy: s.Stats.IsBusy,
			},
		},
	}
	if !s.LastHeartbeat.IsZero() {
		meta.LastHeartbeat = s.LastHeartbeat.UnixNano()
		start, last := time.Unix(int64(s.Stats.StartTime), 0).UTC(), s.LastHeartbeat.UTC()
		view.Status.StartTS, view.Status.LastHeartbeatTS = &start, &last
		view.Status.Uptime = last.Sub(start).String()
	}
	return view
}

// mebibytes rounds up: what is there at all is shown as at least 1.
func mebibytes(bytes uint64) uint64 { return uint64(math.Ceil(float64(bytes) / mebibyte)) }

// storeViews shows the stores that are wanted.
func (t *term) storeViews(want func(s *cluster.Store, state cluster.State) bool) storesJSON {
	now := t.clocks.Monotonic()
	res := storesJSON{Stores: []storeJSON{}}
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	for _, s := range t.machine.Picture.Stores() {
		if want(s, s.State(now)) {
			res.Stores = append(res.Stores, storeView(s, t.machine.Picture.Tally(s.ID()), now))
		}
	}
	res.Count = len(res.Stores)
	return res
}

// httpStores lists the stores whose meta is in one of the states that ?state= names by number; without it all but the buried ones.
func httpStores(t *term, r *http.Request) (any, error) {
	states := map[metapb.StoreState]bool{}
	for _, s := range r.URL.Query()["state"] {
		n, err := strconv.Atoi(s)
		if _, ok := metapb.StoreState_name[int32(n)]; err != nil || !ok {
			return nil, badRequest("unknown StoreState: %s; it must be 0 (Up), 1 (Offline) or 2 (Tombstone)", s)
		}
		states[metapb.StoreState(n)] = true
	}
	if len(states) == 0 {
		states = map[metapb.StoreState]bool{metapb.StoreState_Up: true, metapb.StoreState_Offline: true}
	}
	return t.storeViews(func(s *cluster.Store, _ cluster.State) bool { return states[s.Meta.State] }), nil
}

// httpStoresCheck lists the stores in one of the states that ?state= names, as they are shown.
func httpStoresCheck(t *term, r *http.Request) (any, error) {
	names := r.URL.Query()["state"]
	if len(names) == 0 {
		return nil, badRequest("state must be given: Up, Disconnected, Down, Offline or Tombstone")
	}
	for _, name := range names {
		if _, ok := stateOf(name); !ok {
			return nil, badRequest("unknown store state: %s; it must be Up, Disconnected, Down, Offline or Tombstone", name)
		}
	}
	return t.storeViews(func(_ *cluster.Store, state cluster.State) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			want, _ := stateOf(name)
			return want == state
		})
	}), nil
}

// stateOf knows the states by their names, and by those of the newer form.
func stateOf(name string) (cluster.State, bool) {
	switch strings.ToLower(name) {
	case "serving":
		return cluster.Up, true
	case "removing":
		return cluster.Offline, true
	case "removed":
		return cluster.Tombstone, true
	}
	for s := cluster.Up; s <= cluster.Tombstone; s++ {
		if strings.EqualFold(s.String(), name) {
			return s, true
		}
	}
	return 0, false
}

func httpStore(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	res := t.storeViews(func(s *cluster.Store, _ cluster.State) bool { return s.ID() == id })
	if res.Count == 0 {
		return nil, storeNotFound(id)
	}
	return res.Stores[0], nil
}

func storeNotFound(id uint64) error {
	return notFound("[PD:core:ErrStoreNotFound]store %d not found", id)
}

// httpLabels lists the labels of all stores, each once; null if there are none.
func httpLabels(t *term, _ *http.Request) (any, error) {
	var list []*metapb.StoreLabel
	seen := map[[2]string]bool{}
	for _, s := range t.stores() {
		for _, l := range s.Meta.Labels {
			if one := [2]string{l.Key, l.Value}; !seen[one] {
				seen[one] = true
				list = append(list, l)
			}
		}
	}
	slices.SortFunc(list, func(a, b *metapb.StoreLabel) int {
		return strings.Compare(a.Key+"\x00"+a.Value, b.Key+"\x00"+b.Value)
	})
	return list, nil
}

// httpStoresByLabel lists the stores whose label of ?name= matches ?value= as a part of it.
func httpStoresByLabel(t *term, r *http.Request) (any, error) {
	name, value := r.URL.Query().Get("name"), r.URL.Query().Get("value")
	if name == "" {
		return nil, badRequest("name must be given: that of a label")
	}
	return t.storeViews(func(s *cluster.Store, state cluster.State) bool {
		label := s.Label(name)
		return state != cluster.Tombstone && label != "" && strings.Contains(label, value)
	}), nil
}

type limitJSON struct {
	AddPeer    float64 `json:"add-peer"`
	RemovePeer float64 `json:"remove-peer"`
}

// httpStoreLimits says how many peers a minute may come to and go from each store.
func httpStoreLimits(t *term, _ *http.Request) (any, error) {
	cfg := t.config()
	limits := make(map[string]limitJSON)
	for _, s := range t.stores() {
		if s.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		l := limitJSON{s.Tuning.AddPeer, s.Tuning.RemovePeer}
		if l.AddPeer == 0 {
			l.AddPeer = cfg.StoreLimitAddPeer
		}
		if l.RemovePeer == 0 {
			l.RemovePeer = cfg.StoreLimitRemovePeer
		}
		limits[fmt.Sprint(s.ID())] = l
	}
	return limits, nil
}
