package reclaim

import "github.com/prometheus/client_golang/prometheus"

// metrics has the names that the family's dashboards query.
type metrics struct {
	expired, expiredBytes prometheus.Counter
	actions               *prometheus.CounterVec
	regions, interval     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tikv_ttl_expire_kv_count_total", Help: "Expired pairs that were met and, unless written anew meanwhile, deleted.",
		}),
		expiredBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tikv_ttl_expire_kv_size_total", Help: "Bytes of those pairs.",
		}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tikv_ttl_checker_actions", Help: "Deletions of expired pairs (delete), and regions that were left for the next pass (error).",
		}, []string{"type"}),
		regions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tikv_ttl_checker_processed_regions", Help: "Regions that the current or latest pass has looked through.",
		}),
		interval: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tikv_ttl_checker_poll_interval", Help: "Milliseconds between passes.",
		}),
	}
	reg.MustRegister(m.expired, m.expiredBytes, m.actions, m.regions, m.interval)
	return m
}
