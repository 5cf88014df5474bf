package server

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// operatorMetrics are about operators that ended. Those in flight are seen in the picture.
type operatorMetrics struct {
	ended        *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	stepSeconds  *prometheus.HistogramVec
	regionSizes  *prometheus.HistogramVec
	directions   *prometheus.CounterVec
	hotMoves     *prometheus.CounterVec
	checked      *prometheus.CounterVec
	scattered    *prometheus.CounterVec
	distribution *prometheus.CounterVec
}

func newOperatorMetrics() operatorMetrics {
	return operatorMetrics{
		ended:       counters("schedule", "operators_count", "Operators that ended, by who made them and how they ended.", "type", "event"),
		seconds:     slowDurations("finish_operators_duration_seconds", "Time that operators that succeeded took."),
		stepSeconds: slowDurations("finish_operator_steps_duration_seconds", "Time that the steps of operators that succeeded took."),
		regionSizes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "pd", Subsystem: "schedule", Name: "operator_region_size", Help: "Size in MiB of the regions of operators that ended.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 15),
		}, []string{"type"}),
		directions:   counters("scheduler", "balance_direction", "Peers and leaders that operators moved, from store to store.", "type", "source", "target"),
		hotMoves:     counters("scheduler", "hot_region_direction", "Hot peers and leaders that operators moved, by the store that they left or came to.", "type", "rw", "store", "direction", "dim"),
		checked:      counters("checker", "event_count", "Operators of checkers that ended.", "type", "name"),
		scattered:    counters("schedule", "scatter_operators_count", "Regions that were asked to be scattered.", "type", "event"),
		distribution: counters("schedule", "scatter_distribution", "Peers of scattered regions, by where they are.", "store", "is_leader"),
	}
}

// slowDurations are in seconds, from 10 ms to some hours.
func slowDurations(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "pd", Subsystem: "schedule", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.01, 2, 20),
	}, []string{"type"})
}

func (m *operatorMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.ended, m.seconds, m.stepSeconds, m.regionSizes, m.directions, m.hotMoves, m.checked, m.scattered, m.distribution,
	}
}

var endedAs = map[operator.Status]string{
	operator.Success: "finish", operator.Canceled: "cancel", operator.Timeout: "timeout", operator.Replaced: "replace",
}

// checkerOf names the checker that makes operators of a description; empty if it is none's.
func checkerOf(desc string) string {
	switch {
	case desc == "leave-joint-state":
		return "joint_state_checker"
	case desc == "rule-split-region":
		return "split_checker"
	case desc == "merge-region":
		return "merge_checker"
	case strings.Contains(desc, "rule") || strings.HasPrefix(desc, "fix-") || desc == "promote-peer" || desc == "remove-orphan-peer" || desc == "move-to-better-location":
		return "rule_checker"
	}
	return ""
}

// operatorEnded counts one with its region, or nil if that is gone.
func (m *operatorMetrics) operatorEnded(rec operator.Record, r *cluster.Region) {
	m.ended.WithLabelValues(rec.Desc, endedAs[rec.Status]).Inc()
	if checker := checkerOf(rec.Desc); checker != "" && rec.Kind != operator.Admin {
		m.checked.WithLabelValues(checker, endedAs[rec.Status]).Inc()
	}
	if r != nil {
		m.regionSizes.WithLabelValues(rec.Desc).Observe(float64(r.Weight()))
	}
	if rec.Status != operator.Success {
		return
	}
	m.seconds.WithLabelValues(rec.Desc).Observe(rec.Finished.Sub(rec.Started).Seconds())
	for _, took := range rec.Took {
		m.stepSeconds.WithLabelValues(rec.Desc).Observe(took.Seconds())
	}
	if rec.From != 0 && rec.To != 0 {
		m.directions.WithLabelValues(rec.Desc, label(rec.From), label(rec.To)).Inc()
		m.hotMoved(rec)
	}
	if rec.Kind == operator.Scatter && r != nil {
		m.scatteredTo(r)
	}
}

// hotMoves are the ways in which traffic is spread, as the descriptions of operators tell them.
var hotMoves = []struct{ desc, brief, how, rw string }{
	{"hot-read", "transfer", "transfer-leader", "read"},
	{"hot-read", "mv", "move-peer", "read"},
	{"hot-write", "mv", "move-peer", "write"},
}

// hotMoved counts an operator if it was for traffic, of which bytes alone are looked at.
func (m *operatorMetrics) hotMoved(rec operator.Record) {
	for _, way := range hotMoves {
		if rec.Desc == way.desc && strings.HasPrefix(rec.Brief, way.brief) {
			m.hotMoves.WithLabelValues(way.how, way.rw, label(rec.From), "out", "byte").Inc()
			m.hotMoves.WithLabelValues(way.how, way.rw, label(rec.To), "in", "byte").Inc()
		}
	}
}

// storeHeard shows that a store has had no part in what is counted by store, until it has.
func (m *operatorMetrics) storeHeard(store uint64) {
	for _, way := range hotMoves {
		m.hotMoves.WithLabelValues(way.how, way.rw, label(store), "out", "byte")
		m.hotMoves.WithLabelValues(way.how, way.rw, label(store), "in", "byte")
	}
}

func (m *operatorMetrics) scatteredTo(r *cluster.Region) {
	for _, p := range r.Meta.Peers {
		leads := map[bool]string{true: "true", false: "false"}[p.StoreId == r.LeaderStore()]
		m.distribution.WithLabelValues(label(p.StoreId), leads).Inc()
	}
}

func (m *operatorMetrics) scatterAsked(err error) {
	event := "success"
	if err != nil {
		event = "fail"
	}
	m.scattered.WithLabelValues("region", event).Inc()
}

// endedOperator is one that ended, with its region.
type endedOperator struct {
	operator.Record
	region *cluster.Region
}

// endedSince lists the operators that ended after the first n, as far as they are remembered, and says how many there are now. The caller is at the desk.
func endedSince(m *machine.Term, n uint64) (list []endedOperator, all uint64) {
	records, all := m.Schedule.Operators().EndedSince(n)
	for _, rec := range records {
		list = append(list, endedOperator{rec, m.Picture.Region(rec.Region)})
	}
	return list, all
}
