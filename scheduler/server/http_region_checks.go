package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

const (
	// largestSize and largestKeys are the size from which on stores split a region unless they are configured otherwise.
	largestSize = 144 * mebibyte
	largestKeys = 1_440_000
	// emptySize is the size up to which a region counts as empty.
	emptySize = mebibyte
)

// regionCheckRoutes list the regions with something wrong.
func (s *Server) regionCheckRoutes() []route {
	return []route{
		{"GET", "/regions/check/{kind}", s.onCluster(httpCheck)},
		{"GET", "/regions/check/hist-size", s.onCluster(histogram(10, func(r *cluster.Region) uint64 { return mebibytes(r.Load.Size) }))},
		{"GET", "/regions/check/hist-keys", s.onCluster(histogram(10_000, func(r *cluster.Region) uint64 { return r.Load.Keys }))},
	}
}

// outlook is what regions are judged by.
type outlook struct {
	cfg   schedule.Config
	rules *placement.Set
	// drained are the stores that are being drained.
	drained map[uint64]bool
}

// regionChecks say by name whether a region belongs into a list.
var regionChecks = map[string]func(o *outlook, r *cluster.Region) bool{
	"miss-peer":    func(o *outlook, r *cluster.Region) bool { return len(r.Meta.Peers) < o.replicas(r) },
	"extra-peer":   func(o *outlook, r *cluster.Region) bool { return len(r.Meta.Peers) > o.replicas(r) },
	"pending-peer": func(_ *outlook, r *cluster.Region) bool { return len(r.Pending) > 0 },
	"down-peer":    func(_ *outlook, r *cluster.Region) bool { return len(r.Down) > 0 },
	"learner-peer": func(_ *outlook, r *cluster.Region) bool { return r.Voters() < len(r.Meta.Peers) },
	"offline-peer": func(o *outlook, r *cluster.Region) bool { return slices.ContainsFunc(r.Meta.Peers, o.isDrained) },
	"empty-region": func(_ *outlook, r *cluster.Region) bool { return r.Load.Size <= emptySize },
	"oversized-region": func(_ *outlook, r *cluster.Region) bool {
		return r.Load.Size >= largestSize || r.Load.Keys >= largestKeys
	},
	"undersized-region": func(o *outlook, r *cluster.Region) bool {
		return r.Load.Size <= uint64(o.cfg.MaxMergeRegionSize)*mebibyte && r.Load.Keys <= uint64(o.cfg.MaxMergeRegionKeys)
	},
}

func (o *outlook) isDrained(p *metapb.Peer) bool { return o.drained[p.StoreId] }

// replicas is how many peers the rules ask for.
func (o *outlook) replicas(r *cluster.Region) int {
	n := 0
	for _, rule := range o.rules.For(r.Meta.StartKey) {
		n += rule.Count
	}
	return n
}

// outlook takes out of the picture what regions are judged by.
func (t *term) outlook() *outlook {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	o := &outlook{cfg: t.machine.Schedule.Config(), rules: t.machine.Schedule.Rules(), drained: make(map[uint64]bool)}
	for _, s := range t.machine.Picture.Stores() {
		o.drained[s.ID()] = s.Meta.State == metapb.StoreState_Offline
	}
	return o
}

func httpCheck(t *term, r *http.Request) (any, error) {
	check := regionChecks[r.PathValue("kind")]
	if check == nil {
		return nil, notFound("there is no check %q; there are %s", r.PathValue("kind"),
			strings.Join(slices.Sorted(maps.Keys(regionChecks)), ", "))
	}
	o := t.outlook()
	return t.regionsThat(func(r *cluster.Region) bool { return check(o, r) }), nil
}

type histogramItem struct {
	Start uint64 `json:"start"`
	End   uint64 `json:"end"`
	Count int    `json:"count"`
}

// histogram counts regions by a figure, in steps of ?bound=.
func histogram(bound int, figure func(*cluster.Region) uint64) handler {
	return func(t *term, r *http.Request) (any, error) {
		step, err := queryNumber(r, "bound", bound)
		if err != nil {
			return nil, err
		}
		if step <= 0 {
			return nil, badRequest("bound %d must be above 0", step)
		}
		counts := make(map[uint64]int)
		t.each(nil, nil, func(r *cluster.Region) { counts[figure(r)/uint64(step)]++ })
		items := []histogramItem{}
		for _, i := range slices.Sorted(maps.Keys(counts)) {
			items = append(items, histogramItem{i * uint64(step), (i+1)*uint64(step) - 1, counts[i]})
		}
		return items, nil
	}
}
