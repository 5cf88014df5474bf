package server

import (
	stderrors "errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// changeStore asks for a change of the store that the path names.
func (t *term) changeStore(r *http.Request, q func(id uint64) (*machine.Save, error)) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) {
		if t.machine.Picture.Store(id) == nil {
			return nil, storeNotFound(id)
		}
		save, err := q(id)
		var buried *cluster.TombstoneError
		if stderrors.As(err, &buried) {
			return nil, &apiError{http.StatusGone, "[PD:core:ErrStoreRemoved]the store " + r.PathValue("id") + " has been removed"}
		}
		return save, err
	})
}

// httpDeleteStore begins to drain a store. With ?force its machine is gone for good, and it cannot come back.
func httpDeleteStore(t *term, r *http.Request) (any, error) {
	_, force := r.URL.Query()["force"]
	now := t.clocks.Monotonic()
	err := t.changeStore(r, func(id uint64) (*machine.Save, error) {
		var few *machine.TooFewStoresError
		switch err := t.machine.MayDelete(id); {
		case stderrors.As(err, &few):
			return nil, badRequest("[PD:core:ErrStoresNotEnough]%s", few)
		case force && t.machine.Picture.Store(id).State(now) == cluster.Up:
			return nil, badRequest("[PD:core:ErrStoreDestroyed]store %d is up; only a store whose machine is gone can be deleted with force", id)
		}
		return t.machine.DeleteStore(id, force)
	})
	return "The store is set as Offline.", err
}

// httpStoreState takes a store back that is being drained, or begins to drain it.
func httpStoreState(t *term, r *http.Request) (any, error) {
	switch name := r.URL.Query().Get("state"); {
	case strings.EqualFold(name, metapb.StoreState_Offline.String()):
		if _, err := httpDeleteStore(t, r); err != nil {
			return nil, err
		}
	case strings.EqualFold(name, metapb.StoreState_Up.String()):
		if err := t.changeStore(r, t.machine.ReviveStore); err != nil {
			return nil, err
		}
	default:
		return nil, badRequest("invalid state %q; it must be Up or Offline", name)
	}
	return "The store's state is updated.", nil
}

// httpLabelStore sets labels, given as an object of names and values; with ?force they replace all that there are.
func httpLabelStore(t *term, r *http.Request) (any, error) {
	_, force := r.URL.Query()["force"]
	var labels map[string]string
	if err := readJSON(r, &labels); err != nil {
		return nil, err
	}
	for key, value := range labels {
		if err := checkLabel(key, value); err != nil {
			return nil, err
		}
	}
	err := t.changeStore(r, func(id uint64) (*machine.Save, error) { return t.machine.LabelStore(id, labels, force) })
	return "The store's label is updated.", err
}

func checkLabel(key, value string) error {
	for _, s := range []string{key, value} {
		if !placement.PlainLabel(s) {
			return badRequest("label %q=%q: only letters, digits and - _ . / $ are allowed", key, value)
		}
	}
	if key == "" || len(key) > placement.LongestLabel || len(value) > placement.LongestLabel {
		return badRequest("label %q=%q: the name must not be empty, and neither may be longer than %d", key, value, placement.LongestLabel)
	}
	return nil
}

// httpDropLabel removes the label whose name is the body.
func httpDropLabel(t *term, r *http.Request) (any, error) {
	var key string
	if err := readJSON(r, &key); err != nil {
		return nil, err
	}
	err := t.changeStore(r, func(id uint64) (*machine.Save, error) {
		if t.machine.Picture.Store(id).Label(key) == "" {
			return nil, errors.Errorf("store %d has no label %q", id, key)
		}
		return t.machine.LabelStore(id, map[string]string{key: ""}, false)
	})
	return "The label " + key + " is deleted for store " + r.PathValue("id") + ".", err
}

// httpWeighStore sets how much a store shall hold and lead compared with others.
func httpWeighStore(t *term, r *http.Request) (any, error) {
	var body struct {
		Leader *float64 `json:"leader"`
		Region *float64 `json:"region"`
	}
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Leader == nil || body.Region == nil {
		return nil, badRequest("both weights must be given, as leader and region")
	}
	if *body.Leader < 0 || *body.Region < 0 {
		return nil, badRequest("the weights %v and %v must not be negative", *body.Leader, *body.Region)
	}
	err := t.changeStore(r, func(id uint64) (*machine.Save, error) {
		tuning := t.machine.Picture.Store(id).Tuning
		tuning.LeaderWeight, tuning.RegionWeight = *body.Leader, *body.Region
		return t.machine.TuneStore(id, tuning)
	})
	return "The store's weight is updated.", err
}

// limitRequest is how many peers a minute may come or go; both if no type is named.
type limitRequest struct {
	Rate float64 `json:"rate"`
	Type string  `json:"type"`
	// Labels choose stores.
	Labels map[string]string `json:"labels"`
}

func readLimit(r *http.Request) (l limitRequest, err error) {
	if err := readJSON(r, &l); err != nil {
		return l, err
	}
	switch {
	case l.Rate <= 0:
		return l, badRequest("rate %v must be a number above 0: of peers a minute", l.Rate)
	case l.Type != "" && l.Type != "add-peer" && l.Type != "remove-peer":
		return l, badRequest("type %q must be add-peer or remove-peer", l.Type)
	}
	return l, nil
}

func (l limitRequest) apply(tuning cluster.Tuning, rate float64) cluster.Tuning {
	if l.Type != "remove-peer" {
		tuning.AddPeer = rate
	}
	if l.Type != "add-peer" {
		tuning.RemovePeer = rate
	}
	return tuning
}

func httpLimitStore(t *term, r *http.Request) (any, error) {
	l, err := readLimit(r)
	if err != nil {
		return nil, err
	}
	err = t.changeStore(r, func(id uint64) (*machine.Save, error) {
		return t.machine.TuneStore(id, l.apply(t.machine.Picture.Store(id).Tuning, l.Rate))
	})
	return "The store's limit is updated.", err
}

// httpLimitStores sets the limit of all stores, or of those with all the labels.
func httpLimitStores(t *term, r *http.Request) (any, error) {
	const done = "Set store limit successfully."
	l, err := readLimit(r)
	if err != nil {
		return nil, err
	}
	rate := l.Rate
	if len(l.Labels) == 0 {
		if err := t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) { return t.machine.SetConfig(l.config()) }); err != nil {
			return nil, err
		}
		rate = 0 // as configured for all
	}
	for _, s := range t.stores() {
		if s.Meta.State == metapb.StoreState_Tombstone || !hasLabels(s, l.Labels) || l.apply(s.Tuning, rate) == s.Tuning {
			continue
		}
		err := t.change(http.StatusBadRequest, func(machine.Moment) (*machine.Save, error) {
			now := t.machine.Picture.Store(s.ID())
			if now == nil {
				return nil, nil // it was forgotten meanwhile
			}
			return t.machine.TuneStore(s.ID(), l.apply(now.Tuning, rate))
		})
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// config is the limit as that of stores that have none of their own.
func (l limitRequest) config() map[string]string {
	rate := strconv.FormatFloat(l.Rate, 'g', -1, 64)
	switch l.Type {
	case "add-peer":
		return map[string]string{"store-limit-add-peer": rate}
	case "remove-peer":
		return map[string]string{"store-limit-remove-peer": rate}
	}
	return map[string]string{"store-limit-add-peer": rate, "store-limit-remove-peer": rate}
}

func hasLabels(s *cluster.Store, labels map[string]string) bool {
	for key, value := range labels {
		if s.Label(key) != value {
			return false
		}
	}
	return true
}

// httpRemoveTombstones forgets the stores that are buried.
func httpRemoveTombstones(t *term, _ *http.Request) (any, error) {
	err := t.change(http.StatusInternalServerError, func(machine.Moment) (*machine.Save, error) { return t.machine.ForgetTombstones(), nil })
	return "Remove tombstone successfully.", err
}
