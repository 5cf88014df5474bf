package server

import (
	"net/http"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

type keyRangeJSON struct {
	Start string `json:"start-key"`
	End   string `json:"end-key"`
}

type schedulerConfigJSON struct {
	Batch  int                       `json:"batch"`
	Ranges []keyRangeJSON            `json:"ranges,omitempty"`
	Stores map[uint64][]keyRangeJSON `json:"store-id-ranges,omitempty"`
}

// schedulerConfigView shows a scheduler's own settings. A scheduler works on all keys: there is one range, without bounds.
func schedulerConfigView(cfg schedule.SchedulerConfig) schedulerConfigJSON {
	res, whole := schedulerConfigJSON{Batch: cfg.Batches()}, []keyRangeJSON{{}}
	if !takesStores(cfg.Name) {
		res.Ranges = whole
		return res
	}
	res.Stores = make(map[uint64][]keyRangeJSON)
	for _, id := range cfg.Stores {
		res.Stores[id] = whole
	}
	return res
}

func httpSchedulerConfigs(t *term, _ *http.Request) (any, error) {
	all := make(map[string]schedulerConfigJSON)
	for _, s := range t.schedulers() {
		all[s.Name] = schedulerConfigView(s.SchedulerConfig)
	}
	return all, nil
}

func httpSchedulerConfig(t *term, r *http.Request) (any, error) {
	name := r.PathValue("name")
	for _, s := range t.schedulers() {
		if s.Name == name {
			return schedulerConfigView(s.SchedulerConfig), nil
		}
	}
	return nil, schedulerNotFound(name)
}

// httpSetSchedulerConfig adds stores to a scheduler, or sets how many operators it makes at once.
func httpSetSchedulerConfig(t *term, r *http.Request) (any, error) {
	var req schedulerRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	switch {
	case req.Store == 0 && len(req.Stores) == 0 && req.Batch == nil:
		return nil, badRequest("nothing is given that can be set: store_id, store_ids or batch")
	case req.Batch != nil && (*req.Batch < 1 || *req.Batch > schedule.MaxBatch):
		return nil, badRequest("batch is %d; it must lie between 1 and %d", *req.Batch, schedule.MaxBatch)
	case !takesStores(name) && (req.Store != 0 || len(req.Stores) > 0):
		return nil, badRequest("%s is not for single stores", name)
	}
	err := t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) {
		cfg, ok := runs(t.machine.Schedule, name)
		if !ok {
			return nil, schedulerNotFound(name)
		}
		return t.setScheduler(req.with(cfg))
	})
	return "Config is updated.", err
}

func httpDropSchedulerStore(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	return "Config is updated.", t.dropSchedulerStore(r.PathValue("name"), id)
}
