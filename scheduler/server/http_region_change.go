package server

import (
	"net/http"
	"slices"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// scatterPage is how many regions are scattered before others get a turn with the picture.
const scatterPage = 64

// scatterRequest names regions by id, or by the range they lie in.
type scatterRequest struct {
	Regions []uint64 `json:"regions_id"`
	Start   string   `json:"start_key"` // hexadecimal digits
	End     string   `json:"end_key"`
	Group   string   `json:"group"`
}

// mostFailures bounds the regions of which an answer says why they could not be scattered.
const mostFailures = 64

type percentageJSON struct {
	Percentage uint64 `json:"processed-percentage"`
}

func httpScatter(t *term, r *http.Request) (any, error) {
	var body scatterRequest
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	return t.scatterThese(body)
}

func (t *term) scatterThese(req scatterRequest) (any, error) {
	ids := req.Regions
	if len(ids) == 0 {
		start, err := fromHex("start_key", req.Start)
		if err != nil {
			return nil, err
		}
		end, err := fromHex("end_key", req.End)
		if err != nil {
			return nil, err
		}
		t.each(start, end, func(r *cluster.Region) { ids = append(ids, r.ID()) })
	}
	var failed []unmoved
	for page := range slices.Chunk(ids, scatterPage) { // heartbeats have their turn in between
		failed = append(failed, t.scatterAll(page, req.Group)...)
	}
	return struct {
		percentageJSON
		Failures []unmoved `json:"failures,omitempty"`
	}{percentageJSON{percentage(len(ids)-len(failed), len(ids))}, failed[:min(len(failed), mostFailures)]}, nil
}

// splitRequest names the keys at which regions shall begin.
type splitRequest struct {
	Keys    []string `json:"split_keys"` // hexadecimal digits
	Retries uint64   `json:"retry_limit"`
}

func httpSplit(t *term, r *http.Request) (any, error) {
	var body splitRequest
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	keys, err := fromHexes("split_keys", body.Keys)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, badRequest("split_keys must name at least one key")
	}
	ids, done := t.presplit(r.Context(), keys, body.Retries)
	return struct {
		percentageJSON
		Regions []uint64 `json:"new-region-ids"`
	}{percentageJSON{percentage(done, len(keys))}, ids}, nil
}

func fromHexes(name string, list []string) ([][]byte, error) {
	var keys [][]byte
	for _, digits := range list {
		key, err := fromHex(name, digits)
		if err != nil {
			return nil, err
		}
		if len(key) == 0 {
			return nil, badRequest("%s: an empty key is where the first region begins", name)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// httpForgetRegion takes a region out of the picture until it reports again.
func httpForgetRegion(t *term, r *http.Request) (any, error) {
	region, err := t.pathRegion(r)
	if err != nil {
		return nil, err
	}
	t.forget(region.ID())
	return "The region is removed from server cache.", nil
}

// httpForgetRegions takes all regions out of the picture until they report again.
func httpForgetRegions(t *term, _ *http.Request) (any, error) {
	t.each(nil, nil, func(r *cluster.Region) { t.forget(r.ID()) })
	return "All regions are removed from server cache.", nil
}

func (t *term) forget(region uint64) {
	_, _ = t.desk.ask(func(at machine.Moment) (*machine.Save, error) { // one that is gone already is forgotten
		t.machine.ForgetRegion(region, at)
		return nil, nil
	})
	t.regions.wakeUp()
}
