package server

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// longestPause is some thirty years, in seconds.
const longestPause = 1_000_000_000

// schedulerRoutes are about the schedulers that run. Which do, and for which stores, lasts; a pause ends with the leader's term.
func (s *Server) schedulerRoutes() []route {
	return []route{
		{"GET", "/schedulers", s.onCluster(httpSchedulers)},
		{"POST", "/schedulers", s.onCluster(httpAddScheduler)},
		{"DELETE", "/schedulers/{name}", s.onCluster(httpRemoveScheduler)},
		{"POST", "/schedulers/{name}", s.onCluster(httpPauseScheduler)},
		{"GET", "/schedulers/diagnostic/{name}", s.onCluster(httpDiagnose)},
		{"GET", "/scheduler-config", s.onCluster(httpSchedulerConfigs)},
		{"GET", "/scheduler-config/{name}/list", s.onCluster(httpSchedulerConfig)},
		{"GET", "/scheduler-config/{name}/config", s.onCluster(httpSchedulerConfig)},
		{"POST", "/scheduler-config/{name}/config", s.onCluster(httpSetSchedulerConfig)},
		{"DELETE", "/scheduler-config/{name}/delete/{id}", s.onCluster(httpDropSchedulerStore)},
	}
}

func (t *term) schedulers() []schedule.SchedulerState {
	return scheduling(t, (*schedule.Coordinator).Schedulers)
}

// runs is the configuration of a scheduler that runs. The caller is at the desk.
func runs(c *schedule.Coordinator, name string) (schedule.SchedulerConfig, bool) {
	list := c.Schedulers()
	i := slices.IndexFunc(list, func(s schedule.SchedulerState) bool { return s.Name == name })
	if i < 0 {
		return schedule.SchedulerConfig{Name: name}, false
	}
	return list[i].SchedulerConfig, true
}

func schedulerNotFound(name string) error {
	return notFound("[PD:scheduler:ErrSchedulerNotFound]scheduler not found: %s", name)
}

type pausedJSON struct {
	Name string    `json:"name"`
	End  time.Time `json:"resume_at"`
}

// httpSchedulers lists the names of those that run. With ?status=paused those that are paused, with ?timestamp=true until when; with ?status=disabled the known ones that do not run.
func httpSchedulers(t *term, r *http.Request) (any, error) {
	list := t.schedulers()
	names, paused := []string{}, []pausedJSON{}
	now := t.clocks.Monotonic()
	for _, s := range list {
		if s.Paused.After(now) {
			paused = append(paused, pausedJSON{Name: s.Name, End: t.wallTime(s.Paused)})
		}
		names = append(names, s.Name)
	}
	switch status := r.URL.Query().Get("status"); status {
	case "":
		return names, nil
	case "paused":
		if r.URL.Query().Get("timestamp") == "true" {
			return paused, nil
		}
		names = names[:0]
		for _, p := range paused {
			names = append(names, p.Name)
		}
		return names, nil
	case "disabled":
		disabled := []string{}
		for _, name := range schedule.KnownSchedulers() {
			if !slices.Contains(names, name) {
				disabled = append(disabled, name)
			}
		}
		return disabled, nil
	default:
		return nil, badRequest("status %q must be paused or disabled, or not be given", status)
	}
}

// schedulerRequest names a scheduler, and what it is for. Stores are given one by one, or as many.
type schedulerRequest struct {
	Name   string   `json:"name"`
	Store  uint64   `json:"store_id"`
	Stores []uint64 `json:"store_ids"`
	Batch  *int     `json:"batch"`
}

// with is a scheduler's configuration with what a request adds to it.
func (req *schedulerRequest) with(cfg schedule.SchedulerConfig) schedule.SchedulerConfig {
	cfg.Stores = slices.Clone(cfg.Stores)
	for _, id := range append(slices.Clone(req.Stores), req.Store) {
		if id != 0 && !slices.Contains(cfg.Stores, id) {
			cfg.Stores = append(cfg.Stores, id)
		}
	}
	if req.Batch != nil {
		cfg.Batch = *req.Batch
	}
	return cfg
}

func httpAddScheduler(t *term, r *http.Request) (any, error) {
	var req schedulerRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	switch {
	case req.Name == "":
		return nil, badRequest("missing scheduler name")
	case !slices.Contains(schedule.KnownSchedulers(), req.Name):
		return nil, badRequest("unknown scheduler %q; there are %s", req.Name, strings.Join(schedule.KnownSchedulers(), ", "))
	case !takesStores(req.Name) && (req.Store != 0 || len(req.Stores) > 0):
		return nil, badRequest("%s is not for single stores", req.Name)
	}
	err := t.change(http.StatusInternalServerError, func(machine.Moment) (*machine.Save, error) {
		cfg, ok := runs(t.machine.Schedule, req.Name)
		next := req.with(cfg)
		if ok && len(next.Stores) == len(cfg.Stores) {
			return nil, &apiError{http.StatusInternalServerError, "[PD:scheduler:ErrSchedulerExisted]scheduler existed"}
		}
		return t.setScheduler(next)
	})
	return "The scheduler is created.", err
}

func takesStores(name string) bool {
	return name == schedule.EvictLeader || name == schedule.GrantLeader
}

// setScheduler changes a scheduler. The caller is at the desk.
func (t *term) setScheduler(cfg schedule.SchedulerConfig) (*machine.Save, error) {
	for _, id := range cfg.Stores {
		if t.machine.Picture.Store(id) == nil {
			return nil, storeNotFound(id)
		}
	}
	save, err := t.machine.SetScheduler(cfg)
	return save, refused(http.StatusBadRequest, err)
}

// httpRemoveScheduler stops a scheduler; evict-leader-scheduler-1 is the one for store 1 only.
func httpRemoveScheduler(t *term, r *http.Request) (any, error) {
	name := r.PathValue("name")
	if i := strings.LastIndexByte(name, '-'); i > 0 && takesStores(name[:i]) {
		id, err := strconv.ParseUint(name[i+1:], 10, 64)
		if err != nil {
			return nil, schedulerNotFound(name)
		}
		return "The scheduler is removed.", t.dropSchedulerStore(name[:i], id)
	}
	err := t.change(http.StatusInternalServerError, func(machine.Moment) (*machine.Save, error) {
		if _, ok := runs(t.machine.Schedule, name); !ok {
			return nil, schedulerNotFound(name)
		}
		return t.machine.SetScheduler(schedule.SchedulerConfig{Name: name, Removed: true})
	})
	return "The scheduler is removed.", err
}

// dropSchedulerStore takes a store from a scheduler, and stops it when it is left with none.
func (t *term) dropSchedulerStore(name string, store uint64) error {
	return t.change(http.StatusInternalServerError, func(machine.Moment) (*machine.Save, error) {
		cfg, ok := runs(t.machine.Schedule, name)
		if !ok {
			return nil, schedulerNotFound(name)
		}
		if !slices.Contains(cfg.Stores, store) {
			return nil, notFound("%s is not for store %d", name, store)
		}
		cfg.Stores = slices.DeleteFunc(slices.Clone(cfg.Stores), func(id uint64) bool { return id == store })
		cfg.Removed = len(cfg.Stores) == 0
		return t.machine.SetScheduler(cfg)
	})
}

// httpPauseScheduler pauses a scheduler, or all, for delay seconds; 0 lets it go on.
func httpPauseScheduler(t *term, r *http.Request) (any, error) {
	var body struct {
		Delay *int64 `json:"delay"`
	}
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Delay == nil || *body.Delay < 0 || *body.Delay > longestPause {
		return nil, badRequest("delay must be given, in seconds, and lie between 0, which lets the scheduler go on, and %d", longestPause)
	}
	name := r.PathValue("name")
	err := t.byHand(func(at machine.Moment) error {
		found := false
		for _, s := range t.machine.Schedule.Schedulers() {
			if name == "all" || s.Name == name {
				found = t.machine.Schedule.Pause(s.Name, at.Now.Add(time.Duration(*body.Delay)*time.Second))
			}
		}
		if !found {
			return schedulerNotFound(name)
		}
		return nil
	})
	return "Pause or resume the scheduler successfully.", err
}

type diagnosisJSON struct {
	Name      string    `json:"name"`
	Status    string    `json:"status"`
	Summary   string    `json:"summary"`
	Timestamp time.Time `json:"timestamp"`
}

// httpDiagnose says what a scheduler did when it last looked, or why it did nothing.
func httpDiagnose(t *term, r *http.Request) (any, error) {
	name := r.PathValue("name")
	list := t.schedulers()
	i := slices.IndexFunc(list, func(s schedule.SchedulerState) bool { return s.Name == name })
	res := diagnosisJSON{Name: name, Timestamp: t.clocks.Wall().UTC()}
	switch {
	case i < 0 && !slices.Contains(schedule.KnownSchedulers(), name):
		return nil, schedulerNotFound(name)
	case i < 0:
		res.Status, res.Summary = "disabled", "it does not run"
		return res, nil
	}
	s := list[i]
	if !s.Looked.IsZero() {
		res.Timestamp = t.wallTime(s.Looked)
	}
	res.Status, res.Summary = "scheduling", s.Why
	switch {
	case t.config().HaltScheduling:
		res.Status, res.Summary = "halted", "halt-scheduling is true"
	case s.Paused.After(t.clocks.Monotonic()):
		res.Status, res.Summary = "paused", "it is paused until "+t.wallTime(s.Paused).Format(time.RFC3339)
	case s.Looked.IsZero():
		res.Status, res.Summary = "pending", "it has not looked yet: it does within seconds, or, after a change of the scheduler that leads, when most regions have reported to it"
	case s.Why != "":
		res.Status = "pending"
	}
	return res, nil
}

// wallTime is when, by the time of day, a monotonic instant is; zero of zero.
func (t *term) wallTime(instant time.Time) time.Time {
	if instant.IsZero() {
		return time.Time{}
	}
	return t.clocks.Wall().Add(instant.Sub(t.clocks.Monotonic())).UTC()
}
