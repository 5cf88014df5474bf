package raftstore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Metrics are a store's counters, under the family's names.
type Metrics struct {
	raftMail    prometheus.Counter
	logSyncs    prometheus.Counter
	logEntries  prometheus.Counter
	appendTime  prometheus.Histogram
	applyTime   prometheus.Histogram
	appliedCmds prometheus.Counter
	differences prometheus.Counter
}

// NewMetrics registers a store's counters with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	buckets := prometheus.ExponentialBuckets(0.00001, 2, 20)
	m := &Metrics{
		raftMail:    prometheus.NewCounter(prometheus.CounterOpts{Name: "tikv_server_raft_store_msg_total", Help: "Mail that raft workers took."}),
		logSyncs:    prometheus.NewCounter(prometheus.CounterOpts{Name: "tikv_raftstore_raft_log_sync_total", Help: "Batches that the log writer synced."}),
		logEntries:  prometheus.NewCounter(prometheus.CounterOpts{Name: "tikv_raftstore_raft_log_entries_total", Help: "Entries that the log writer wrote."}),
		appendTime:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tikv_raftstore_append_log_duration_seconds", Help: "Time to write one batch of the raft log.", Buckets: buckets}),
		applyTime:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tikv_raftstore_apply_log_duration_seconds", Help: "Time to apply one batch.", Buckets: buckets}),
		appliedCmds: prometheus.NewCounter(prometheus.CounterOpts{Name: "tikv_raftstore_apply_proposal_total", Help: "Proposals that were answered by apply."}),
	}
	m.differences = prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_raftstore_replica_differences_total", Help: "Comparisons in which a replica here was not like its leader's."})
	reg.MustRegister(m.differences, m.raftMail, m.logSyncs, m.logEntries, m.appendTime, m.applyTime, m.appliedCmds)
	return m
}

func (m *Metrics) logWritten(begin time.Time, tasks []machine.WriteTask) {
	m.appendTime.Observe(time.Since(begin).Seconds())
	synced := false
	for i := range tasks {
		synced = synced || tasks[i].Sync
		m.logEntries.Add(float64(len(tasks[i].Entries)))
	}
	if synced {
		m.logSyncs.Inc()
	}
}

func (m *Metrics) applied(begin time.Time, proposals int) {
	m.applyTime.Observe(time.Since(begin).Seconds())
	m.appliedCmds.Add(float64(proposals))
}
