package server

import (
	"container/heap"
	"net/http"
	"slices"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// topFigures are what regions can be ranked by. Traffic is that of the latest report.
var topFigures = map[string]func(*cluster.Region) uint64{
	"writeflow": func(r *cluster.Region) uint64 { return r.Load.BytesWritten },
	"readflow":  func(r *cluster.Region) uint64 { return r.Load.BytesRead },
	"size":      func(r *cluster.Region) uint64 { return r.Load.Size },
	"keys":      func(r *cluster.Region) uint64 { return r.Load.Keys },
	"confver":   func(r *cluster.Region) uint64 { return r.Meta.RegionEpoch.GetConfVer() },
	"version":   func(r *cluster.Region) uint64 { return r.Meta.RegionEpoch.GetVersion() },
}

// httpTop lists the ?limit= regions with the most of a figure, the greatest first.
func httpTop(figure func(*cluster.Region) uint64) handler {
	return func(t *term, r *http.Request) (any, error) {
		limit, err := queryNumber(r, "limit", defaultRegionLimit)
		if err != nil {
			return nil, err
		}
		if limit <= 0 {
			return nil, badRequest("limit %d must be above 0", limit)
		}
		limit = min(limit, maxRegionLimit)
		best := &ranking{}
		t.each(nil, nil, func(r *cluster.Region) { best.offer(ranked{figure(r), r}, limit) })
		slices.SortFunc(*best, func(a, b ranked) int {
			if a.before(b) {
				return 1
			}
			return -1
		})
		list := make(regionList, len(*best))
		for i, one := range *best {
			list[i] = one.region
		}
		return list, nil
	}
}

type ranked struct {
	figure uint64
	region *cluster.Region
}

// before says that a ranks below b; of equals the greater id does.
func (r ranked) before(b ranked) bool {
	if r.figure != b.figure {
		return r.figure < b.figure
	}
	return r.region.ID() > b.region.ID()
}

// ranking is a heap with the least of the best on top.
type ranking []ranked

func (h *ranking) offer(one ranked, limit int) {
	if len(*h) < limit {
		heap.Push(h, one)
	} else if (*h)[0].before(one) {
		(*h)[0] = one
		heap.Fix(h, 0)
	}
}

// Len implements heap.Interface.
func (h *ranking) Len() int { return len(*h) }

// Less implements heap.Interface.
func (h *ranking) Less(i, j int) bool { return (*h)[i].before((*h)[j]) }

// Swap implements heap.Interface.
func (h *ranking) Swap(i, j int) { (*h)[i], (*h)[j] = (*h)[j], (*h)[i] }

// Push implements heap.Interface.
func (h *ranking) Push(one any) { *h = append(*h, one.(ranked)) }

// Pop implements heap.Interface.
func (h *ranking) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
