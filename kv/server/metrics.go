package server

import (
	"sort"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the server does, under the names that the family's dashboards query. It is a prometheus.Collector of its own because
// the hot path answers commands by the dozen: a whole batch is counted with two or three atomic additions.
type metrics struct {
	durations [numMethods]histogram
	failures  [numMethods]atomic.Uint64
	commands  [numMethods]atomic.Uint64 // answered ones

	// latchWait is for how long commands wait for the latches of their keys, running how many hold them.
	latchWait histogram
	running   atomic.Int64

	durationDesc, failureDesc, commandDesc *prometheus.Desc
	writingDescs
}

// writingDescs are about commands that write: what the family calls its scheduler.
type writingDescs struct{ writeDesc, stageDesc, latchDesc, runningDesc *prometheus.Desc }

// writes are the methods that change data.
var writes = map[method]bool{
	rawPut: true, rawBatchPut: true, rawDelete: true, rawBatchDelete: true, rawDeleteRange: true, rawCompareAndSwap: true,
}

func newMetrics() *metrics {
	label := []string{"type"}
	return &metrics{
		durationDesc: prometheus.NewDesc("tikv_grpc_msg_duration_seconds", "Time from a request's arrival to its answer.", label, nil),
		failureDesc:  prometheus.NewDesc("tikv_grpc_msg_fail_total", "Requests that were answered with an error that is not a region error.", label, nil),
		commandDesc:  prometheus.NewDesc("tikv_storage_command_total", "Commands that the storage received.", label, nil),
		writingDescs: writingDescs{
			writeDesc:   prometheus.NewDesc("tikv_scheduler_command_duration_seconds", "Time from the arrival of a command that writes to its answer.", label, nil),
			stageDesc:   prometheus.NewDesc("tikv_scheduler_stage_total", "Commands that write, by what became of them.", []string{"type", "stage"}, nil),
			latchDesc:   prometheus.NewDesc("tikv_scheduler_latch_wait_duration_seconds", "Time that atomic commands wait for others that change the same keys.", label, nil),
			runningDesc: prometheus.NewDesc("tikv_scheduler_contex_total", "Atomic commands that hold latches.", nil, nil),
		},
	}
}

// done counts n requests that were answered after d, with or without an error.
func (m *metrics) done(of method, n int, d time.Duration) {
	m.durations[of].observe(d, uint64(n))
	m.commands[of].Add(uint64(n))
}

// failed counts n requests among the done ones that failed.
func (m *metrics) failed(of method, n int) { m.failures[of].Add(uint64(n)) }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.durationDesc
	ch <- m.failureDesc
	ch <- m.commandDesc
	ch <- m.writeDesc
	ch <- m.stageDesc
	ch <- m.latchDesc
	ch <- m.runningDesc
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for i, name := range methodNames {
		ch <- m.durations[i].collect(m.durationDesc, name)
		ch <- prometheus.MustNewConstMetric(m.failureDesc, prometheus.CounterValue, float64(m.failures[i].Load()), name)
		all, failed := m.commands[i].Load(), m.failures[i].Load()
		ch <- prometheus.MustNewConstMetric(m.commandDesc, prometheus.CounterValue, float64(all), name)
		if writes[method(i)] {
			ch <- m.durations[i].collect(m.writeDesc, name)
			ch <- prometheus.MustNewConstMetric(m.stageDesc, prometheus.CounterValue, float64(all), name, "finish")
			ch <- prometheus.MustNewConstMetric(m.stageDesc, prometheus.CounterValue, float64(failed), name, "error")
		}
	}
	ch <- m.latchWait.collect(m.latchDesc, "raw_atomic")
	ch <- prometheus.MustNewConstMetric(m.runningDesc, prometheus.GaugeValue, float64(m.running.Load()))
}

const numBuckets = 20

// bucketBounds are upper bounds that double from 50 µs to 26 s, the shape that the family's dashboards expect.
var bucketBounds = func() (bounds [numBuckets]time.Duration) {
	for i := range bounds {
		bounds[i] = 50 * time.Microsecond << i
	}
	return bounds
}()

// histogram counts durations; the last count is for those beyond all bounds.
type histogram struct {
	counts [numBuckets + 1]atomic.Uint64
	sum    atomic.Uint64 // nanoseconds
}

func (h *histogram) observe(d time.Duration, n uint64) {
	i := sort.Search(numBuckets, func(i int) bool { return d <= bucketBounds[i] })
	h.counts[i].Add(n)
	h.sum.Add(uint64(max(d, 0)) * n)
}

func (h *histogram) collect(desc *prometheus.Desc, name string) prometheus.Metric {
	cumulative := make(map[float64]uint64, numBuckets)
	total := uint64(0)
	for i, bound := range bucketBounds {
		total += h.counts[i].Load()
		cumulative[bound.Seconds()] = total
	}
	total += h.counts[numBuckets].Load()
	return prometheus.MustNewConstHistogram(desc, total, time.Duration(h.sum.Load()).Seconds(), cumulative, name)
}
