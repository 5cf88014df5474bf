package server

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

// leaseMetrics are about the leader's lease.
type leaseMetrics struct {
	renewals    *prometheus.HistogramVec
	intervals   *prometheus.HistogramVec
	ticks       *prometheus.HistogramVec
	lost        *prometheus.CounterVec
	lastRenewed *lastTime
	lastTried   *lastTime
}

// lastTime is when something happened last in this leadership.
type lastTime struct{ at atomic.Pointer[time.Time] }

// since says how long ago it was, and that it is now; false the first time.
func (l *lastTime) since(now time.Time) (time.Duration, bool) {
	old := l.at.Swap(&now)
	if old == nil {
		return 0, false
	}
	return now.Sub(*old), true
}

func newLeaseMetrics() leaseMetrics {
	m := leaseMetrics{
		renewals:    durations("lease", "keepalive_request_duration_seconds", "Time to renew the leader's lease.", "result"),
		intervals:   durations("lease", "keepalive_response_interval_seconds", "Time between renewals of the leader's lease."),
		ticks:       durations("lease", "keepalive_tick_interval_seconds", "Time between tries to renew the leader's lease."),
		lost:        counters("lease", "renewal_termination_total", "Leaderships that ended, by reason.", "reason"),
		lastRenewed: &lastTime{}, lastTried: &lastTime{},
	}
	m.lost.WithLabelValues("resigned")
	return m
}

func (m *leaseMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.renewals, m.intervals, m.ticks, m.lost}
}

// watch is what the leadership reports to.
func (m *leaseMetrics) watch() meta.LeaseWatch {
	return meta.LeaseWatch{
		Renewed: func(took time.Duration, err error) {
			now, result := time.Now(), "success"
			if gap, ok := m.lastTried.since(now); ok {
				m.ticks.WithLabelValues().Observe(gap.Seconds())
			}
			if err != nil {
				result = "failed"
			} else if gap, ok := m.lastRenewed.since(now); ok {
				m.intervals.WithLabelValues().Observe(gap.Seconds())
			}
			m.renewals.WithLabelValues(result).Observe(took.Seconds())
		},
		Lost: func(why string) {
			reason, _, _ := strings.Cut(why, ":") // what follows is never the same twice
			m.lost.WithLabelValues(reason).Inc()
			m.lastRenewed.at.Store(nil)
			m.lastTried.at.Store(nil)
		},
	}
}
