package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// LostStores are those that a removal of failed stores would give up.
func LostStores(stores []*cluster.Store, now time.Time, named []uint64, detect bool) ([]uint64, error) {
	return lostStores(stores, now, named, detect)
}

// Serves says whether the HTTP API has a handler for a request.
func (s *Server) Serves(method, path string) bool {
	req, err := http.NewRequest(method, "http://scheduler"+path, nil)
	if err != nil {
		return false
	}
	_, pattern := s.api().(*http.ServeMux).Handler(req)
	return pattern != ""
}

// CountEnded is what the metrics of operators show, by name and labels, when these stores were heard and these operators have ended.
func CountEnded(t *testing.T, stores []uint64, ended ...operator.Record) map[string]map[string]float64 {
	m, reg := newOperatorMetrics(), prometheus.NewRegistry()
	for _, s := range stores {
		m.storeHeard(s)
	}
	for _, rec := range ended {
		m.operatorEnded(rec, nil)
	}
	reg.MustRegister(m.collectors()...)
	families, err := reg.Gather()
	require.NoError(t, err)
	page := make(map[string]map[string]float64)
	for _, f := range families {
		page[f.GetName()] = make(map[string]float64)
		for _, one := range f.Metric {
			var labels []string
			for _, l := range one.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			page[f.GetName()][strings.Join(labels, " ")] = one.GetCounter().GetValue()
		}
	}
	return page
}
