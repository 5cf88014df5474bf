package dashboard_test

import (
	"net/http/httptest"
	"testing"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
)

// pictured is a fake whose regions are in a picture, as a scheduler has them.
type pictured struct {
	*fake
	pic *cluster.Picture
}

func (p pictured) Regions(start, end []byte) []*cluster.Region { return p.pic.Scan(start, end, 4096) }

// BenchmarkStrip is one strip of 100,000 regions, which nobody has asked for lately.
func BenchmarkStrip(b *testing.B) {
	p := pictured{newFake(100_000), cluster.NewPicture()}
	for _, r := range p.regions {
		p.pic.PutRegion(r, cluster.Change{Meta: true})
	}
	for b.Loop() {
		w := httptest.NewRecorder()
		dashboard.New(func() dashboard.Source { return p }).ServeHTTP(w, httptest.NewRequest("GET", dashboard.API+"strip?buckets=400", nil))
		b.ReportMetric(float64(w.Body.Len()), "bytes/strip")
	}
}
