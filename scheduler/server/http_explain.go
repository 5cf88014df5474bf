package server

import (
	"net/http"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// ownPrefix is where requests are that the family's API does not have.
const ownPrefix = "/shoal/api/v1"

// ownAPI routes ownPrefix.
func (s *Server) ownAPI() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.explainRoutes() {
		mux.HandleFunc(r.method+" "+ownPrefix+r.path, r.serve)
	}
	return mux
}

// explainRoutes say in words why something is as it is.
func (s *Server) explainRoutes() []route {
	return []route{
		{"GET", "/explain/region/{id}", s.onCluster(httpExplainRegion)},
		{"GET", "/explain/key", s.onCluster(httpExplainKey)},
		{"GET", "/explain/balance", s.onCluster(httpExplainBalance)},
	}
}

type explainedRegionJSON struct {
	Region any       `json:"region"`
	Now    time.Time `json:"now"`
	schedule.RegionExplanation
}

func httpExplainRegion(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	return t.explainRegion(func(p *cluster.Picture) (*cluster.Region, error) {
		found := p.Region(id)
		if found != nil {
			return found, nil
		}
		last := p.Displaced(id)
		if last == nil {
			return nil, notFound("region %d is not known: no store has reported it, or it was merged long ago", id)
		}
		heir := p.RegionOf(last.Meta.StartKey)
		if heir == nil {
			return nil, notFound("region %d is gone, and nobody has reported its keys since: a split or merge is being reported; ask again", id)
		}
		return nil, notFound("region %d is gone: its keys are now those of region %d, by a merge or a newer split", id, heir.ID())
	})
}

// httpExplainKey explains the region that holds the key ?hex=.
func httpExplainKey(t *term, r *http.Request) (any, error) {
	key, err := fromHex("hex", r.URL.Query().Get("hex"))
	if err != nil {
		return nil, err
	}
	return t.explainRegion(func(p *cluster.Picture) (*cluster.Region, error) {
		if found := p.RegionOf(key); found != nil {
			return found, nil
		}
		return nil, notFound("no region is known to hold key %s at the moment: a split or merge is being reported; ask again", hexKey(key))
	})
}

func (t *term) explainRegion(find func(*cluster.Picture) (*cluster.Region, error)) (any, error) {
	var res explainedRegionJSON
	err := t.byHand(func(at machine.Moment) error {
		region, err := find(t.machine.Picture)
		if err != nil {
			return err
		}
		res.Region = regionView(region)
		res.RegionExplanation = t.machine.Schedule.ExplainRegion(region, at.Now)
		return nil
	})
	for i := range res.Peers {
		res.Peers[i].Heard = t.wallTime(res.Peers[i].Heard)
	}
	t.datedFindings(res.Findings)
	res.Now = t.clocks.Wall().UTC()
	return res, err
}

type explainedBalanceJSON struct {
	Now time.Time `json:"now"`
	schedule.BalanceExplanation
}

func httpExplainBalance(t *term, _ *http.Request) (any, error) {
	var res explainedBalanceJSON
	err := t.byHand(func(at machine.Moment) error {
		res.BalanceExplanation = t.machine.Schedule.ExplainBalance(at.Now)
		return nil
	})
	t.datedFindings(res.Findings)
	res.Now = t.clocks.Wall().UTC()
	return res, err
}

// datedFindings turns instants into times of day.
func (t *term) datedFindings(list []schedule.Finding) {
	for i := range list {
		list[i].Since, list[i].Until = t.wallTime(list[i].Since), t.wallTime(list[i].Until)
	}
}
