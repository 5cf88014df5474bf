package raftkv

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/kv/storage"
)

// Metrics are about what is asked of the regions: snapshots to read from, and writes, under the family's names.
type Metrics struct {
	seconds *prometheus.HistogramVec
	total   *prometheus.CounterVec
	// Resolved once, for every request passes here.
	snapshot, write observers
}

type observers struct {
	took       prometheus.Observer
	ok, failed prometheus.Counter
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tikv_storage_engine_async_request_duration_seconds", Help: "Time until a region gave a snapshot, or had applied a write.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 2, 20),
		}, []string{"type"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_storage_engine_async_request_total", Help: "Snapshots and writes that regions were asked for.",
		}, []string{"type", "status"}),
	}
	reg.MustRegister(m.seconds, m.total)
	of := func(kind string) observers {
		return observers{m.seconds.WithLabelValues(kind), m.total.WithLabelValues(kind, "success"), m.total.WithLabelValues(kind, "error")}
	}
	m.snapshot, m.write = of("snapshot"), of("write")
	return m
}

func (o *observers) ended(began time.Time, err error) {
	if err != nil {
		o.failed.Inc()
		return
	}
	o.ok.Inc()
	o.took.Observe(time.Since(began).Seconds())
}

// Measure has requests counted; it must be called before the first of them.
func (s *Storage) Measure(m *Metrics) { s.metrics = m }

// measuredRead is done, counted.
func (s *Storage) measuredRead(done func(storage.Snapshot, error)) func(storage.Snapshot, error) {
	if s.metrics == nil {
		return done
	}
	began := time.Now()
	return func(snap storage.Snapshot, err error) {
		s.metrics.snapshot.ended(began, err)
		done(snap, err)
	}
}

// measuredWrite is done, counted.
func (s *Storage) measuredWrite(done func(error)) func(error) {
	if s.metrics == nil {
		return done
	}
	began := time.Now()
	return func(err error) {
		s.metrics.write.ended(began, err)
		done(err)
	}
}
