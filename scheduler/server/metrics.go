package server

import (
	"net/http"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// metrics are the scheduler's figures under the names that this family's dashboards ask for. Those of the cluster are
// computed from the picture when they are collected.
type metrics struct {
	server           *Server
	tsoEvents        *prometheus.CounterVec
	tsoBatch         prometheus.Histogram
	heartbeats       *prometheus.CounterVec
	heartbeatSeconds prometheus.Histogram
	clusterStatus    *prometheus.Desc
}

func newMetrics(s *Server) *metrics {
	return &metrics{
		server: s,
		tsoEvents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "pd", Subsystem: "tso", Name: "events", Help: "What happened to the oracle, by type.",
		}, []string{"type"}),
		tsoBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "pd", Subsystem: "server", Name: "handle_tso_batch_size",
			Help: "Timestamps asked for in one request.", Buckets: prometheus.ExponentialBuckets(1, 2, 13),
		}),
		heartbeats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "pd", Subsystem: "scheduler", Name: "region_heartbeat",
			Help: "Region heartbeats received and commands pushed, by store and outcome.",
		}, []string{"store", "type", "status"}),
		heartbeatSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "pd", Subsystem: "scheduler", Name: "handle_region_heartbeat_duration_seconds",
			Help: "Time to take one region heartbeat in.", Buckets: prometheus.ExponentialBuckets(0.000005, 2, 20),
		}),
		clusterStatus: prometheus.NewDesc("pd_cluster_status", "The cluster as the leader sees it, by type.",
			[]string{"type"}, nil),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.tsoEvents, m.tsoBatch, m.heartbeats, m.heartbeatSeconds, m}
}

func (m *metrics) register(r *prometheus.Registry) error {
	for _, c := range m.collectors() {
		if err := r.Register(c); err != nil {
			m.unregister(r)
			return errors.Annotate(err, "register metrics: does another scheduler use this registry?")
		}
	}
	return nil
}

func (m *metrics) unregister(r *prometheus.Registry) {
	for _, c := range m.collectors() {
		r.Unregister(c)
	}
}

func (m *metrics) handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

func (m *metrics) tsoEvent(kind string) { m.tsoEvents.WithLabelValues(kind).Inc() }

// savedBound counts the writes of the oracle's bound.
func (m *metrics) savedBound(err error) {
	if err != nil {
		m.tsoEvent("err_save_tso")
	} else {
		m.tsoEvent("save")
	}
}

func (m *metrics) heartbeat(store uint64, kind, outcome string) {
	m.heartbeats.WithLabelValues(label(store), kind, outcome).Inc()
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) { to <- m.clusterStatus }

// Collect implements prometheus.Collector. A member that does not lead has no picture and reports nothing of it.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	t := m.server.term.Load()
	if t == nil {
		return
	}
	for kind, value := range t.clusterStatus() {
		to <- prometheus.MustNewConstMetric(m.clusterStatus, prometheus.GaugeValue, value, kind)
	}
}

func (t *term) clusterStatus() map[string]float64 {
	now := t.clocks.Monotonic()
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	status := map[string]float64{
		"store_up_count": 0, "store_disconnected_count": 0, "store_down_count": 0, "store_offline_count": 0,
		"store_tombstone_count": 0, "leader_count": 0, "storage_size": 0, "storage_capacity": 0,
		"region_count": float64(t.machine.Picture.RegionCount()),
	}
	name := map[cluster.State]string{
		cluster.Up: "store_up_count", cluster.Disconnected: "store_disconnected_count", cluster.Down: "store_down_count",
		cluster.Offline: "store_offline_count", cluster.Tombstone: "store_tombstone_count",
	}
	for _, s := range t.machine.Picture.Stores() {
		state := s.State(now)
		status[name[state]]++
		if state == cluster.Tombstone {
			continue
		}
		status["leader_count"] += float64(t.machine.Picture.Tally(s.Meta.Id).Leaders)
		status["storage_size"] += float64(s.Stats.UsedSize)
		status["storage_capacity"] += float64(s.Stats.Capacity)
	}
	return status
}
