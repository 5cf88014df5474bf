package server

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// operatorRoutes are about what is being done to regions. Operators are shown as lines of text, or as objects with ?object.
func (s *Server) operatorRoutes() []route {
	return []route{
		{"GET", "/operators", s.onCluster(httpOperators)},
		{"POST", "/operators", s.onCluster(httpAddOperator)},
		{"DELETE", "/operators", s.onCluster(httpCancelOperators)},
		{"GET", "/operators/records", s.onCluster(httpOperatorRecords)},
		{"GET", "/operators/{id}", s.onCluster(httpOperator)},
		{"DELETE", "/operators/{id}", s.onCluster(httpCancelOperator)},
	}
}

type operatorJSON struct {
	Desc     string    `json:"desc"`
	Brief    string    `json:"brief"`
	RegionID uint64    `json:"region_id"`
	Epoch    epochJSON `json:"region_epoch"`
	Kind     string    `json:"kind"`
	Priority string    `json:"priority"`
	progressJSON
	CreatedAt  time.Time `json:"create_at"`
	FinishedAt time.Time `json:"finish_at,omitzero"`
}

type progressJSON struct {
	Status string `json:"status"`
	// Why is what ended it, unless it succeeded.
	Why     string   `json:"why,omitempty"`
	Steps   []string `json:"steps"`
	Current int      `json:"current_step"`
}

func (t *term) operatorView(rec operator.Record) operatorJSON {
	return operatorJSON{
		Desc: rec.Desc, Brief: rec.Brief, RegionID: rec.Region, Epoch: epochJSON{rec.ConfVer, rec.Version},
		Kind: rec.Kind.String(), Priority: rec.Priority.String(),
		progressJSON: progressJSON{Status: rec.Status.String(), Why: rec.Why, Steps: rec.Steps, Current: rec.Current},
		CreatedAt:    t.wallTime(rec.Started), FinishedAt: t.wallTime(rec.Finished),
	}
}

// operatorLine is an operator as the family's tools print it.
func (t *term) operatorLine(rec operator.Record) string {
	steps := make([]string, len(rec.Steps))
	for i, s := range rec.Steps {
		steps[i] = fmt.Sprintf("%d:{%s}", i, s)
	}
	return fmt.Sprintf("%s {%s} (kind:%s, region:%d(%d, %d), createAt:%s, startAt:%s, currentStep:%d, steps:[%s])",
		rec.Desc, rec.Brief, rec.Kind, rec.Region, rec.Version, rec.ConfVer, t.wallTime(rec.Started), t.wallTime(rec.Started),
		rec.Current, strings.Join(steps, ", "))
}

// showOperators answers with lines or objects.
func (t *term) showOperators(r *http.Request, list []operator.Record, line func(operator.Record) string) any {
	if r.URL.Query().Has("object") {
		views := make([]operatorJSON, len(list))
		for i, rec := range list {
			views[i] = t.operatorView(rec)
		}
		return views
	}
	lines := make([]string, len(list))
	for i, rec := range list {
		lines[i] = line(rec)
	}
	return lines
}

// httpOperators lists the operators in flight, of the kinds that ?kind= names.
func httpOperators(t *term, r *http.Request) (any, error) {
	list := scheduling(t, func(c *schedule.Coordinator) []operator.Record { return c.Operators().Running() })
	if kinds := r.URL.Query()["kind"]; len(kinds) > 0 {
		for _, name := range kinds {
			if !slices.Contains(operator.KindNames(), name) {
				return nil, badRequest("unknown operator kind %q; there are %s", name, strings.Join(operator.KindNames(), ", "))
			}
		}
		list = slices.DeleteFunc(list, func(rec operator.Record) bool { return !slices.Contains(kinds, rec.Kind.String()) })
	}
	return t.showOperators(r, list, t.operatorLine), nil
}

// httpOperator shows a region's operator, or the last that ended.
func httpOperator(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	rec, ok := t.operator(id)
	if !ok {
		return nil, notFound("[PD:scheduler:ErrOperatorNotFound]operator not found: region %d has none", id)
	}
	if r.URL.Query().Has("object") {
		return t.operatorView(rec), nil
	}
	return fmt.Sprintf("status: %s, operator: %s", rec.Status, t.operatorLine(rec)), nil
}

// httpOperatorRecords lists the operators that ended, the latest first: since ?from= in unix seconds.
func httpOperatorRecords(t *term, r *http.Request) (any, error) {
	var from time.Time
	if s := r.URL.Query().Get("from"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, badRequest("from %q must be a time in unix seconds", s)
		}
		from = time.Unix(n, 0)
	}
	list := scheduling(t, func(c *schedule.Coordinator) []operator.Record { return c.Operators().History(0) })
	list = slices.DeleteFunc(list, func(rec operator.Record) bool { return t.wallTime(rec.Finished).Before(from) })
	return t.showOperators(r, list, func(rec operator.Record) string {
		return fmt.Sprintf("%s (status:%s, finishAt:%s, duration:%s)",
			t.operatorLine(rec), rec.Status, t.wallTime(rec.Finished), rec.Finished.Sub(rec.Started))
	}), nil
}

func httpCancelOperator(t *term, r *http.Request) (any, error) {
	id, err := pathID(r)
	if err != nil {
		return nil, err
	}
	err = t.byHand(func(at machine.Moment) error {
		if !t.machine.Schedule.Cancel(id, at.Now) {
			return notFound("[PD:scheduler:ErrOperatorNotFound]operator not found: region %d has none", id)
		}
		return nil
	})
	return "The pending operator is canceled.", err
}

func httpCancelOperators(t *term, _ *http.Request) (any, error) {
	err := t.byHand(func(at machine.Moment) error {
		for _, rec := range t.machine.Schedule.Operators().Running() {
			t.machine.Schedule.Cancel(rec.Region, at.Now)
		}
		return nil
	})
	return "All pending operators are canceled.", err
}
