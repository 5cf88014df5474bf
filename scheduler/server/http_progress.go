package server

import (
	"math"
	"net/http"
	"strconv"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

// removing is what is done to a store that is being drained. The family knows of another action, preparing, that no store is in here.
const removing = "removing"

// storeProgressJSON is how far one store is or, without an id, several are on average. Speed is in MiB a second, as sizes of regions are in MiB.
type storeProgressJSON struct {
	Action  string  `json:"action"`
	Store   uint64  `json:"store_id,omitempty"`
	Done    float64 `json:"progress"`
	Speed   float64 `json:"current_speed"`
	Seconds float64 `json:"left_seconds"`
}

func (t *term) progress() []machine.Progress {
	now := t.clocks.Monotonic()
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return t.machine.Progress(now)
}

// httpStoresProgress shows how far the store of ?id= is, or those of ?action=.
func httpStoresProgress(t *term, r *http.Request) (any, error) {
	q := r.URL.Query()
	switch action := q.Get("action"); {
	case q.Get("id") != "":
		id, err := strconv.ParseUint(q.Get("id"), 10, 64)
		if err != nil {
			return nil, badRequest("id %q must be a number", q.Get("id"))
		}
		return storeProgress(t.progress(), id)
	case action != "":
		return actionProgress(t.progress(), action)
	}
	return nil, badRequest("id or action must be given: that of a store, or %s", removing)
}

func storeProgress(list []machine.Progress, id uint64) (any, error) {
	for _, p := range list {
		if p.Store.ID() == id {
			return storeProgressJSON{Action: removing, Store: id, Done: p.Done, Speed: p.Speed / mebibyte, Seconds: p.Seconds}, nil
		}
	}
	return nil, notFound("[PD:progress:ErrProgressNotFound]no progress found for the given store ID: %d", id)
}

func actionProgress(list []machine.Progress, action string) (any, error) {
	if action != removing || len(list) == 0 {
		return nil, notFound("[PD:progress:ErrProgressNotFound]no progress found for the action: %s", action)
	}
	n := float64(len(list))
	all := storeProgressJSON{Action: action}
	for _, p := range list {
		all.Done += p.Done / n
		all.Speed += p.Speed / mebibyte / n
		all.Seconds = min(math.MaxFloat64, all.Seconds+p.Seconds/n)
	}
	return all, nil
}
