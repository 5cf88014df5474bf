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
	damages     prometheus.Counter
	shellMetrics
}

// shellMetrics are about the goroutines' work and the talk with the scheduler.
type shellMetrics struct {
	process       *prometheus.HistogramVec
	ready, tick   prometheus.Observer // of process
	criticals     *prometheus.CounterVec
	beats, orders *prometheus.CounterVec
	asked         *prometheus.HistogramVec
	regionSize    prometheus.Histogram
	logLag        prometheus.Histogram
}

func newShellMetrics() shellMetrics {
	seconds := prometheus.ExponentialBuckets(0.00001, 2, 20)
	m := shellMetrics{
		process: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tikv_raftstore_raft_process_duration_secs", Help: "Time that a raft worker takes for one batch of mail (ready), with a tick in it (tick).", Buckets: seconds,
		}, []string{"type"}),
		beats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_pd_heartbeat_tick_total", Help: "Heartbeats of regions and of the store that were made for the scheduler.",
		}, []string{"type"}),
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_pd_heartbeat_message_total", Help: "Region heartbeats sent (send), and what the scheduler wanted in answer.",
		}, []string{"type"}),
		asked: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tikv_pd_request_duration_seconds", Help: "Time that the scheduler takes to answer.", Buckets: seconds,
		}, []string{"type"}),
		regionSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tikv_raftstore_region_size", Help: "Sizes in bytes of the regions that are led here, at each heartbeat.", Buckets: prometheus.ExponentialBuckets(1<<20, 2, 20),
		}),
		logLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tikv_raftstore_log_lag", Help: "Entries that the slowest replica of each region that is led here is behind, at each look at its log.",
			Buckets: prometheus.ExponentialBuckets(2, 2, 16),
		}),
	}
	m.criticals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tikv_critical_error_total", Help: "Errors after which a store must stop.",
	}, []string{"type"})
	m.ready, m.tick = m.process.WithLabelValues("ready"), m.process.WithLabelValues("tick")
	m.criticals.WithLabelValues("disk")
	return m
}

func (m *shellMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.process, m.criticals, m.beats, m.orders, m.asked, m.regionSize, m.logLag}
}

// handled counts one batch of mail of a raft worker.
func (m *Metrics) handled(began time.Time, ticked bool) {
	if ticked {
		m.tick.Observe(time.Since(began).Seconds())
	} else {
		m.ready.Observe(time.Since(began).Seconds())
	}
}

// lagged counts what a batch of mail let be seen of replicas that are behind.
func (m *Metrics) lagged(lags []uint64) {
	for _, n := range lags {
		m.logLag.Observe(float64(n))
	}
}

// askedFor counts an answer of the scheduler's.
func (m *Metrics) askedFor(what string, began time.Time) {
	m.asked.WithLabelValues(what).Observe(time.Since(began).Seconds())
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
	m.damages = prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_raftstore_damaged_replicas_total", Help: "Replicas here whose data the engine found damaged."})
	m.shellMetrics = newShellMetrics()
	reg.MustRegister(m.shellMetrics.collectors()...)
	reg.MustRegister(m.differences, m.damages, m.raftMail, m.logSyncs, m.logEntries, m.appendTime, m.applyTime, m.appliedCmds)
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
