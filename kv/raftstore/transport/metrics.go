package transport

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Reasons in the labels of metrics.
const (
	reasonQueueFull   = "queue_full"
	reasonUnreachable = "unreachable"
	reasonCluster     = "cluster"
	reasonStore       = "store"
	reasonMalformed   = "malformed"
	reasonCorrupt     = "corrupt"
	reasonBusy        = "busy"
)

type metrics struct {
	sent, received   prometheus.Counter
	dropped, refused *prometheus.CounterVec
	snapshots        *prometheus.CounterVec
	failures         *prometheus.CounterVec
}

func newMetrics() *metrics {
	name := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "tikv", Subsystem: "server", Name: name, Help: help}
	}
	return &metrics{
		sent:     prometheus.NewCounter(name("raft_message_sent_total", "Raft messages handed to a stream.")),
		received: prometheus.NewCounter(name("raft_message_recv_total", "Raft messages received and delivered.")),
		dropped: prometheus.NewCounterVec(name("raft_message_dropped_total", "Raft messages lost before they were sent."),
			[]string{"reason"}),
		refused: prometheus.NewCounterVec(name("raft_stream_refused_total", "Incoming streams that were ended because of what they carried."),
			[]string{"reason"}),
		snapshots: prometheus.NewCounterVec(name("snapshot_transfer_total", "Region snapshots that were sent or received."),
			[]string{"type", "result"}),
		failures: prometheus.NewCounterVec(name("report_failure_msg_total", "How often raft was told that messages to a store were lost."),
			[]string{"type", "store_id"}),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.sent, m.received, m.dropped, m.refused, m.snapshots, m.failures} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) countUnreachable(store uint64) {
	m.failures.WithLabelValues(reasonUnreachable, strconv.FormatUint(store, 10)).Inc()
}

func (m *metrics) countSnapshot(kind string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.snapshots.WithLabelValues(kind, result).Inc()
}
