package server

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// callMetrics are about what is asked of the scheduler, and what it asks of etcd.
type callMetrics struct {
	tsoEvents     *prometheus.CounterVec
	tsoBatch      prometheus.Histogram
	tsoSeconds    *prometheus.HistogramVec
	calls         *prometheus.HistogramVec
	regionCalls   *prometheus.CounterVec
	lookups       *prometheus.CounterVec
	lookupSeconds *prometheus.HistogramVec
	querySeconds  *prometheus.HistogramVec
	writes        *prometheus.HistogramVec
	forwarded     prometheus.Counter
}

func newCallMetrics() callMetrics {
	return callMetrics{
		tsoEvents: counters("tso", "events", "What happened to the oracle, by type.", "type"),
		tsoBatch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "pd", Subsystem: "server", Name: "handle_tso_batch_size",
			Help: "Timestamps asked for in one request.", Buckets: prometheus.ExponentialBuckets(1, 2, 13),
		}),
		tsoSeconds:    durations("server", "handle_tso_duration_seconds", "Time to hand out the timestamps of one request.", "group"),
		calls:         durations("service", "audit_handling_seconds", "Time to answer a call, by service and method.", "service", "method"),
		regionCalls:   counters("server", "region_request_cnt", "Calls that ask for regions.", "request"),
		lookups:       counters("core", "query_region_count", "Regions that were looked up over the stream for it.", "type"),
		lookupSeconds: durations("core", "query_region_duration_seconds", "Time that one batch of lookups takes in the picture.", "type"),
		querySeconds:  durations("server", "query_region_duration_seconds", "Time to answer one batch of lookups.", "event"),
		writes:        durations("txn", "handle_txns_duration_seconds", "Time to make something durable in etcd.", "result"),
		forwarded: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "pd", Subsystem: "server", Name: "tso_forward_stream_total", Help: "Streams for timestamps that this member passed on to another.",
		}),
	}
}

func (m *callMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.tsoEvents, m.tsoBatch, m.tsoSeconds, m.calls, m.regionCalls, m.lookups, m.lookupSeconds, m.querySeconds, m.writes, m.forwarded,
	}
}

func (m *callMetrics) tsoEvent(kind string) { m.tsoEvents.WithLabelValues(kind).Inc() }

// savedBound counts the writes of the oracle's bound.
func (m *callMetrics) savedBound(err error) {
	if err != nil {
		m.tsoEvent("err_save_tso")
	} else {
		m.tsoEvent("save")
	}
}

func (m *callMetrics) wrote(began time.Time, err error) {
	result := "success"
	if err != nil {
		result = "failed"
	}
	m.writes.WithLabelValues(result).Observe(time.Since(began).Seconds())
}

// looked counts one batch of lookups.
func (m *callMetrics) looked(req *pdpb.QueryRegionRequest, took time.Duration) {
	m.lookups.WithLabelValues("key").Add(float64(len(req.Keys)))
	m.lookups.WithLabelValues("prev_key").Add(float64(len(req.PrevKeys)))
	m.lookups.WithLabelValues("id").Add(float64(len(req.Ids)))
	m.lookupSeconds.WithLabelValues("batch").Observe(took.Seconds())
}

// timeCall is the interceptor that measures unary calls of the scheduler's own service.
func (m *callMetrics) timeCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, serve grpc.UnaryHandler) (any, error) {
	if !strings.HasPrefix(info.FullMethod, "/pdpb.") {
		return serve(ctx, req)
	}
	began := time.Now()
	res, err := serve(ctx, req)
	method := path.Base(info.FullMethod)
	m.calls.WithLabelValues("grpc", method).Observe(time.Since(began).Seconds())
	if strings.Contains(method, "Region") && (strings.HasPrefix(method, "Get") || strings.Contains(method, "Scan")) {
		m.regionCalls.WithLabelValues(method).Inc()
	}
	return res, err
}
