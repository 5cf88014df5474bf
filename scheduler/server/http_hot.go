package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// hotRoutes are about traffic.
func (s *Server) hotRoutes() []route {
	return []route{
		{"GET", "/hotspot/regions/write", s.onCluster(hotRegions(hotWrites))},
		{"GET", "/hotspot/regions/read", s.onCluster(hotRegions(hotReads))},
		{"GET", "/hotspot/stores", s.onCluster(httpHotStores)},
		{"GET", "/hotspot/buckets", s.onCluster(httpHotBuckets)},
	}
}

type hotJSON struct {
	AsPeer   map[uint64]*hotStoreJSON `json:"as_peer"`
	AsLeader map[uint64]*hotStoreJSON `json:"as_leader"`
}

// hotStoreJSON is one store's traffic per second: all of it, that of its hot regions, and those. Queries and CPU are not told apart by region.
type hotStoreJSON struct {
	StoreBytes float64         `json:"store_bytes"`
	StoreKeys  float64         `json:"store_keys"`
	StoreQuery float64         `json:"store_query"`
	StoreCPU   float64         `json:"store_cpu"`
	FlowBytes  float64         `json:"total_flow_bytes"`
	FlowKeys   float64         `json:"total_flow_keys"`
	FlowQuery  float64         `json:"total_flow_query"`
	FlowCPU    float64         `json:"total_flow_cpu"`
	Count      int             `json:"regions_count"`
	Regions    []hotRegionJSON `json:"statistics"`
}

type hotRegionJSON struct {
	Store     uint64    `json:"store_id"`
	Region    uint64    `json:"region_id"`
	IsLeader  bool      `json:"is_leader"`
	IsLearner bool      `json:"is_learner"`
	Degree    uint8     `json:"hot_degree"`
	FlowBytes float64   `json:"flow_bytes"`
	FlowKeys  float64   `json:"flow_keys"`
	FlowQuery float64   `json:"flow_query"`
	FlowCPU   float64   `json:"flow_cpu"`
	Updated   time.Time `json:"last_update_time"`
}

// hotKind says which traffic is looked at.
type hotKind struct {
	role cluster.Role
	flow func(cluster.Flow) (cluster.Rate, uint8)
	// store is what a store serves as a leader, and in all.
	store func(cluster.Tally) (leader, peer cluster.Sum)
}

var (
	hotReads = hotKind{
		cluster.ReadHot,
		func(f cluster.Flow) (cluster.Rate, uint8) { return f.Read, f.ReadHeat },
		func(t cluster.Tally) (leader, peer cluster.Sum) { return t.Read, t.Read },
	}
	hotWrites = hotKind{
		cluster.WriteHot,
		func(f cluster.Flow) (cluster.Rate, uint8) { return f.Write, f.WriteHeat },
		func(t cluster.Tally) (leader, peer cluster.Sum) { return t.LeaderWrite, t.Write },
	}
)

// hotRegions lists the hot regions by store, of the stores that ?store_id= names if it does.
func hotRegions(kind hotKind) handler {
	return func(t *term, r *http.Request) (any, error) {
		wanted := map[uint64]bool{}
		for _, s := range r.URL.Query()["store_id"] {
			id, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				return nil, badRequest("store_id %q must be a number", s)
			}
			if read(t, func(p *cluster.Picture) bool { return p.Store(id) == nil }) {
				return nil, storeNotFound(id)
			}
			wanted[id] = true
		}
		return t.hot(kind, func(id uint64) bool { return len(wanted) == 0 || wanted[id] }), nil
	}
}

// hotPlace is what was taken out of the picture of one store.
type hotPlace struct {
	store        uint64
	leader, peer cluster.Sum
	regions      []*cluster.Region
}

func (t *term) hot(kind hotKind, want func(uint64) bool) hotJSON {
	var places []hotPlace
	t.desk.mu.RLock()
	pic := t.machine.Picture
	for _, s := range pic.Stores() {
		if s.Meta.State != metapb.StoreState_Tombstone && want(s.ID()) {
			leader, peer := kind.store(pic.Tally(s.ID()))
			places = append(places, hotPlace{s.ID(), leader, peer, pic.RegionsOn(s.ID(), kind.role)})
		}
	}
	t.desk.mu.RUnlock()
	now := t.clocks.Wall().UTC()
	res := hotJSON{AsPeer: make(map[uint64]*hotStoreJSON), AsLeader: make(map[uint64]*hotStoreJSON)}
	for _, p := range places {
		asLeader, asPeer := newHotStore(p.leader), newHotStore(p.peer)
		for _, r := range p.regions {
			view := hotRegionView(r, p.store, kind, now)
			asPeer.add(view)
			if view.IsLeader {
				asLeader.add(view)
			}
		}
		res.AsLeader[p.store], res.AsPeer[p.store] = asLeader, asPeer
	}
	return res
}

func newHotStore(sum cluster.Sum) *hotStoreJSON {
	return &hotStoreJSON{StoreBytes: float64(sum.Bytes), StoreKeys: float64(sum.Keys), Regions: []hotRegionJSON{}}
}

func (h *hotStoreJSON) add(r hotRegionJSON) {
	h.FlowBytes += r.FlowBytes
	h.FlowKeys += r.FlowKeys
	h.Count++
	h.Regions = append(h.Regions, r)
}

func hotRegionView(r *cluster.Region, store uint64, kind hotKind, now time.Time) hotRegionJSON {
	rate, heat := kind.flow(r.Flow)
	return hotRegionJSON{
		Store: store, Region: r.ID(), IsLeader: r.LeaderStore() == store, IsLearner: r.OnStore(store).GetRole() == metapb.PeerRole_Learner,
		Degree: heat, FlowBytes: float64(rate.Bytes), FlowKeys: float64(rate.Keys), Updated: now,
	}
}

type hotStoresJSON struct {
	BytesWrite map[uint64]float64 `json:"bytes-write-rate"`
	BytesRead  map[uint64]float64 `json:"bytes-read-rate"`
	KeysWrite  map[uint64]float64 `json:"keys-write-rate"`
	KeysRead   map[uint64]float64 `json:"keys-read-rate"`
}

// httpHotStores shows the traffic per second that the stores report of themselves.
func httpHotStores(t *term, _ *http.Request) (any, error) {
	res := hotStoresJSON{map[uint64]float64{}, map[uint64]float64{}, map[uint64]float64{}, map[uint64]float64{}}
	for _, s := range t.stores() {
		if s.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		id, write, read := s.ID(), s.Stats.Write, s.Stats.Read
		res.BytesWrite[id], res.KeysWrite[id] = float64(write.Bytes), float64(write.Keys)
		res.BytesRead[id], res.KeysRead[id] = float64(read.Bytes), float64(read.Keys)
	}
	return res, nil
}

// httpHotBuckets shows none: regions are not divided into buckets.
func httpHotBuckets(*term, *http.Request) (any, error) { return struct{}{}, nil }
