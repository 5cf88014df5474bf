package server

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/docker/go-units"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

const mebibyte = 1 << 20

func httpCluster(t *term, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		ID           uint64 `json:"id"`
		MaxPeerCount int    `json:"max_peer_count"`
	}{t.clusterID, t.replicas()})
}

func httpClusterStatus(t *term, w http.ResponseWriter, r *http.Request) {
	res := struct {
		RaftBootstrapTime *time.Time `json:"raft_bootstrap_time,omitempty"`
		IsInitialized     bool       `json:"is_initialized"`
		ReplicationStatus string     `json:"replication_status"`
	}{IsInitialized: t.needsBootstrap() == nil}
	value, err := t.store.Load(r.Context(), machine.BootstrapTimeKey)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, err.Error())
		return
	}
	if len(value) == 8 {
		at := time.Unix(0, int64(binary.BigEndian.Uint64(value))).UTC()
		res.RaftBootstrapTime = &at
	}
	writeJSON(w, http.StatusOK, res)
}

func httpClusterVersion(t *term, w http.ResponseWriter, _ *http.Request) {
	t.desk.mu.RLock()
	version := t.machine.Picture.Version()
	t.desk.mu.RUnlock()
	writeJSON(w, http.StatusOK, version)
}

func httpReplicate(t *term, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		MaxReplicas          int    `json:"max-replicas"`
		LocationLabels       string `json:"location-labels"`
		StrictlyMatchLabel   string `json:"strictly-match-label"`
		EnablePlacementRules string `json:"enable-placement-rules"`
		IsolationLevel       string `json:"isolation-level"`
	}{MaxReplicas: t.replicas(), StrictlyMatchLabel: "false", EnablePlacementRules: "false"})
}

type storeJSON struct {
	Store  storeMetaJSON   `json:"store"`
	Status storeStatusJSON `json:"status"`
}

type storeMetaJSON struct {
	*metapb.Store
	LastHeartbeat int64  `json:"last_heartbeat,omitempty"`
	StateName     string `json:"state_name"`
}

type storeStatusJSON struct {
	Capacity        string     `json:"capacity"`
	Available       string     `json:"available"`
	UsedSize        string     `json:"used_size"`
	LeaderCount     int        `json:"leader_count"`
	LeaderWeight    float64    `json:"leader_weight"`
	LeaderScore     float64    `json:"leader_score"`
	LeaderSize      uint64     `json:"leader_size"`
	RegionCount     int        `json:"region_count"`
	RegionWeight    float64    `json:"region_weight"`
	RegionScore     float64    `json:"region_score"`
	RegionSize      uint64     `json:"region_size"`
	StartTS         *time.Time `json:"start_ts,omitempty"`
	LastHeartbeatTS *time.Time `json:"last_heartbeat_ts,omitempty"`
	Uptime          string     `json:"uptime,omitempty"`
}

// storeView shows one store; the caller holds the picture's lock.
func (t *term) storeView(s *cluster.Store) storeJSON {
	tally := t.machine.Picture.Tally(s.Meta.Id)
	view := storeJSON{
		Store: storeMetaJSON{Store: s.Meta, StateName: s.State(t.clocks.Monotonic()).String()},
		Status: storeStatusJSON{
			Capacity:    units.BytesSize(float64(s.Stats.Capacity)),
			Available:   units.BytesSize(float64(s.Stats.Available)),
			UsedSize:    units.BytesSize(float64(s.Stats.UsedSize)),
			LeaderCount: tally.Leaders, LeaderWeight: 1, LeaderScore: float64(tally.Leaders),
			LeaderSize:  mebibytes(tally.LeaderSize),
			RegionCount: tally.Regions, RegionWeight: 1, RegionScore: float64(mebibytes(tally.RegionSize)),
			RegionSize: mebibytes(tally.RegionSize),
		},
	}
	if !s.LastHeartbeat.IsZero() {
		view.Store.LastHeartbeat = s.LastHeartbeat.UnixNano()
		start, last := time.Unix(int64(s.Stats.StartTime), 0).UTC(), s.LastHeartbeat.UTC()
		view.Status.StartTS, view.Status.LastHeartbeatTS = &start, &last
		view.Status.Uptime = last.Sub(start).String()
	}
	return view
}

// mebibytes rounds up: what is there at all is shown as at least 1.
func mebibytes(bytes uint64) uint64 { return uint64(math.Ceil(float64(bytes) / mebibyte)) }

func httpStores(t *term, w http.ResponseWriter, _ *http.Request) {
	res := struct {
		Count  int         `json:"count"`
		Stores []storeJSON `json:"stores"`
	}{Stores: []storeJSON{}}
	t.desk.mu.RLock()
	for _, s := range t.machine.Picture.Stores() {
		if s.Meta.State != metapb.StoreState_Tombstone {
			res.Stores = append(res.Stores, t.storeView(s))
		}
	}
	t.desk.mu.RUnlock()
	res.Count = len(res.Stores)
	writeJSON(w, http.StatusOK, res)
}

func httpStore(t *term, w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	t.desk.mu.RLock()
	s := t.machine.Picture.Store(id)
	var view storeJSON
	if s != nil {
		view = t.storeView(s)
	}
	t.desk.mu.RUnlock()
	if s == nil {
		writeJSON(w, http.StatusNotFound, fmt.Sprintf("[PD:core:ErrStoreNotFound]store %d not found", id))
		return
	}
	writeJSON(w, http.StatusOK, view)
}

// pathID reads {id}; it has answered already if that is not a number.
func pathID(w http.ResponseWriter, r *http.Request) (uint64, bool) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, fmt.Sprintf("id %q must be a number", r.PathValue("id")))
	}
	return id, err == nil
}
