package server

import (
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"
)

// heartbeatMetrics are about what stores report and are told.
type heartbeatMetrics struct {
	heartbeats            *prometheus.CounterVec
	heartbeatSeconds      prometheus.Histogram
	storeHeartbeatSeconds *prometheus.HistogramVec
	messages              *prometheus.CounterVec
	regionEvents          *prometheus.CounterVec
	deskWait              *prometheus.HistogramVec
}

func newHeartbeatMetrics() heartbeatMetrics {
	return heartbeatMetrics{
		heartbeats: counters("scheduler", "region_heartbeat", "Region heartbeats received and commands pushed, by store and outcome.", "store", "type", "status"),
		heartbeatSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "pd", Subsystem: "scheduler", Name: "handle_region_heartbeat_duration_seconds",
			Help: "Time to take one region heartbeat in.", Buckets: prometheus.ExponentialBuckets(0.000005, 2, 20),
		}),
		storeHeartbeatSeconds: durations("scheduler", "handle_store_heartbeat_duration_seconds", "Time to take one store heartbeat in.", "store"),
		messages:              counters("hbstream", "region_message", "Commands sent to stores, by what they order.", "store", "type", "status"),
		regionEvents:          counters("cluster", "region_event", "Regions taken into the picture (update_cache), and saved in etcd (update_kv).", "event"),
		deskWait:              durations("core", "acquire_regions_lock_wait_duration_seconds", "Time that a question waits for its turn at the picture or the oracle.", "type"),
	}
}

func (m *heartbeatMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.heartbeats, m.heartbeatSeconds, m.storeHeartbeatSeconds, m.messages, m.regionEvents, m.deskWait}
}

func (m *heartbeatMetrics) heartbeat(store uint64, kind, outcome string) {
	m.heartbeats.WithLabelValues(label(store), kind, outcome).Inc()
}

// heard counts a report that was taken in.
func (m *heartbeatMetrics) heard(store uint64, began time.Time) {
	m.heartbeat(store, "report", "ok")
	m.heartbeatSeconds.Observe(time.Since(began).Seconds())
	m.regionEvents.WithLabelValues("update_cache").Inc()
}

// sent counts a command on its way to a store, or one that could not go.
func (m *heartbeatMetrics) sent(store uint64, res *pdpb.RegionHeartbeatResponse, ok bool) {
	outcome := "ok"
	if !ok {
		m.heartbeat(store, "push", "full") // the store does not read; its next heartbeat is answered again
		outcome = "err"
	}
	m.messages.WithLabelValues(label(store), messageKind(res), outcome).Inc()
}

func messageKind(res *pdpb.RegionHeartbeatResponse) string {
	switch {
	case res.GetHeader().GetError() != nil:
		return "error"
	case res.ChangePeer != nil || res.ChangePeerV2 != nil:
		return "change-peer"
	case res.TransferLeader != nil:
		return "transfer-leader"
	case res.Merge != nil:
		return "merge"
	case res.SplitRegion != nil:
		return "split"
	}
	return "other"
}
