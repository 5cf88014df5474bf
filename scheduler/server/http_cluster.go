package server

import (
	"encoding/binary"
	"math"
	"net/http"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

const mebibyte = 1 << 20

// clusterRoutes are about the cluster as a whole.
func (s *Server) clusterRoutes() []route {
	return []route{
		{"GET", "/cluster", s.onTerm(httpCluster)},
		{"GET", "/cluster/status", s.onTerm(httpClusterStatus)},
		{"GET", "/replication_mode/status", s.onTerm(httpReplicationStatus)},
		{"GET", "/min-resolved-ts", s.onCluster(httpMinResolved)},
		{"GET", "/min-resolved-ts/{id}", s.onCluster(httpMinResolvedOf)},
		{"GET", "/gc/safepoint", s.onTerm(httpSafePoints)},
		{"DELETE", "/gc/safepoint/{service}", s.onTerm(httpDropClaim)},
	}
}

func httpCluster(t *term, _ *http.Request) (any, error) {
	return struct {
		ID           uint64 `json:"id"`
		MaxPeerCount int    `json:"max_peer_count"`
	}{t.clusterID, t.replicas()}, nil
}

func httpClusterStatus(t *term, r *http.Request) (any, error) {
	res := struct {
		RaftBootstrapTime *time.Time `json:"raft_bootstrap_time,omitempty"`
		IsInitialized     bool       `json:"is_initialized"`
		ReplicationStatus string     `json:"replication_status"`
	}{IsInitialized: t.needsBootstrap() == nil}
	value, err := t.store.Load(r.Context(), machine.BootstrapTimeKey)
	if err != nil {
		return nil, err
	}
	if len(value) == 8 {
		at := time.Unix(0, int64(binary.BigEndian.Uint64(value))).UTC()
		res.RaftBootstrapTime = &at
	}
	return res, nil
}

// httpReplicationStatus says that all replicas count alike; there is no other mode.
func httpReplicationStatus(*term, *http.Request) (any, error) {
	return map[string]string{"mode": "majority"}, nil
}

type minResolvedJSON struct {
	// IsRealTime says that every store that is up has reported to this leader.
	IsRealTime bool              `json:"is_real_time"`
	Min        uint64            `json:"min_resolved_ts"`
	Interval   string            `json:"persist_interval"`
	Stores     map[uint64]uint64 `json:"stores_min_resolved_ts"`
}

// httpMinResolved is the timestamp below which nothing changes any more on any store; the greatest there is while no store has said anything. With ?scope=cluster or a list of
// ids it names each store's.
func httpMinResolved(t *term, r *http.Request) (any, error) {
	res := t.minResolved()
	if r.URL.Query().Get("scope") == "" {
		res.Stores = nil
	}
	return res, nil
}

func httpMinResolvedOf(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	all := t.minResolved()
	at, ok := all.Stores[id]
	if !ok {
		return nil, notFound("store %d has reported no resolved timestamp", id)
	}
	return minResolvedJSON{IsRealTime: true, Min: at, Interval: all.Interval}, nil
}

func (t *term) minResolved() minResolvedJSON {
	now := t.clocks.Monotonic()
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	res := minResolvedJSON{IsRealTime: true, Min: math.MaxUint64, Interval: "0s", Stores: make(map[uint64]uint64)}
	for _, s := range t.machine.Picture.Stores() {
		at, ok := t.machine.Resolved(s.ID())
		if ok {
			res.Stores[s.ID()] = at
			res.Min = min(res.Min, at)
		} else if s.State(now) == cluster.Up {
			res.IsRealTime = false
		}
	}
	return res
}

type safePointsJSON struct {
	Claims []machine.Claim `json:"service_gc_safe_points"`
	Least  uint64          `json:"min_service_gc_safe_point"`
	GC     uint64          `json:"gc_safe_point"`
}

func httpSafePoints(t *term, _ *http.Request) (any, error) {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return safePointsJSON{Claims: t.machine.Claims(), Least: t.machine.LeastClaim().SafePoint, GC: t.machine.SafePoint()}, nil
}

// httpDropClaim gives a service's claim up for it.
func httpDropClaim(t *term, r *http.Request) (any, error) {
	service := r.PathValue("service")
	if service == machine.GCWorker {
		return nil, badRequest("the claim of %s cannot be given up", service)
	}
	err := t.change(http.StatusInternalServerError, func(at machine.Moment) (*machine.Save, error) {
		return t.machine.Claim(service, 0, 0, at), nil
	})
	return "Delete service GC safepoint successfully.", err
}
