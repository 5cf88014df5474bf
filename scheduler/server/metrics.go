package server

import (
	"net/http"
	"strings"

	"github.com/pingcap/errors"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Metrics have the names that this family's dashboards and alerts ask for; docs/metrics.md lists them, and those that have no counterpart here. What
// happens is counted when it happens (metrics_calls.go, metrics_heartbeats.go, metrics_operators.go, metrics_lease.go); how things are is read off the
// picture when somebody asks (metrics_picture.go).

// metrics are the scheduler's figures.
type metrics struct {
	callMetrics
	heartbeatMetrics
	operatorMetrics
	leaseMetrics
	picture *pictureMetrics
}

func newMetrics(s *Server) *metrics {
	return &metrics{newCallMetrics(), newHeartbeatMetrics(), newOperatorMetrics(), newLeaseMetrics(), newPictureMetrics(s)}
}

func (m *metrics) collectors() []prometheus.Collector {
	list := append(m.callMetrics.collectors(), m.heartbeatMetrics.collectors()...)
	list = append(list, m.operatorMetrics.collectors()...)
	return append(append(list, m.leaseMetrics.collectors()...), m.picture)
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

// handler shows the scheduler's metrics and those of the etcd in its process.
func (m *metrics) handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(prometheus.Gatherers{r, prometheus.GathererFunc(etcdMetrics)}, promhttp.HandlerOpts{})
}

// etcdMetrics are those that etcd keeps in the default registry, whose other contents are nobody's here.
func etcdMetrics() ([]*dto.MetricFamily, error) {
	all, err := prometheus.DefaultGatherer.Gather()
	var own []*dto.MetricFamily
	for _, family := range all {
		if strings.HasPrefix(family.GetName(), "etcd_") {
			own = append(own, family)
		}
	}
	return own, err
}

func counters(subsystem, name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "pd", Subsystem: subsystem, Name: name, Help: help}, labels)
}

// durations are in seconds, from 5 µs to some seconds.
func durations(subsystem, name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "pd", Subsystem: subsystem, Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.000005, 2, 20),
	}, labels)
}
