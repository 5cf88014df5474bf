// Package dashboard is the scheduler's web page at /dashboard: stores, the key space as a strip coloured by heat, operators, and what happened lately.
//
// The page is one file of HTML with its style and script inside (page.html); it loads nothing from anywhere, and asks for JSON below
// /dashboard/api every other second while somebody looks at it:
//
//	overview      the cluster, its members and stores, operators in flight and the latest that ended
//	strip         a range of the key space in at most ?buckets= pieces, and the regions with the most traffic in it (strip.go)
//	region/{id}   all about one region
//	events        what happened lately
//
// What it shows it takes from a Source, the view of the scheduler that leads; the page itself any member has.
// Regions are taken a page at a time and folded outside of whatever guards them, and one strip is worked out at a time and kept for as long as it is worth:
// however many look at however many regions, heartbeats do not wait for them.
package dashboard

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// Path is where the page is, and API where its data is.
const (
	Path = "/dashboard"
	API  = Path + "/api/"
)

const (
	defaultEvents  = 100
	shownHistory   = 50
	defaultBuckets = 256
	maxBuckets     = 1000
)

//go:embed page.html
var page []byte

// policy lets the page do what it does, and nothing else.
const policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"

// Source is the view of the scheduler that leads.
type Source interface {
	// Overview takes at most so many of the operators that ended.
	Overview(history int) Overview
	// Regions lists the first regions that overlap [start, end) in key order: a page of them, and none if there are no more.
	Regions(start, end []byte) []*cluster.Region
	// Region is false if the id is unknown.
	Region(id uint64) (Region, bool)
	// Events lists at most limit events, the latest first, and says when the leader's term began, of which alone they are.
	Events(limit int) (began time.Time, list []machine.Event)
}

// Overview is the cluster at one moment.
type Overview struct {
	// Now is of the monotonic clock, from which the instants of stores and operators are, and Wall the same moment as a time of day.
	Now, Wall time.Time
	ClusterID uint64
	// Leader is the name of the member that leads.
	Leader  string
	Members []Member
	// Version is the cluster's; empty while it has no store.
	Version string
	// Regions are known, and Heard of them have reported to this leader.
	Regions, Heard int
	// Halted says that scheduling was stopped.
	Halted         bool
	Stores         []Store
	Running, Ended []operator.Record
}

// Member is one scheduler of the group.
type Member struct {
	Name string   `json:"name"`
	URLs []string `json:"urls"`
}

// Store is a store with what it holds.
type Store struct {
	*cluster.Store
	Tally cluster.Tally
}

// Region is a region with what is done about it, or why nothing is. Operator is nil if there was none, and Reason if everything is as it should be.
type Region struct {
	*cluster.Region
	Operator  *operator.Record
	Reason    *schedule.Reason
	Now, Wall time.Time
}

// Handler serves the page and its data. Source gives nil where nobody leads.
type Handler struct {
	mux    *http.ServeMux
	source func() Source
	strips strips
}

// New makes the handler of Path and of all below it.
func New(source func() Source) *Handler {
	h := &Handler{mux: http.NewServeMux(), source: source}
	h.mux.HandleFunc("GET "+Path, servePage)
	h.mux.HandleFunc("GET "+Path+"/{$}", servePage)
	h.serve("overview", func(s Source, _ *http.Request) (any, error) { return overviewOf(s.Overview(shownHistory)), nil })
	h.serve("strip", h.strip)
	h.serve("region/{id}", region)
	h.serve("events", listEvents)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(page) // a client that went away is nobody's concern
}

// refusal is an error with its status code.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

func (h *Handler) serve(path string, answer func(Source, *http.Request) (any, error)) {
	h.mux.HandleFunc("GET "+API+path, func(w http.ResponseWriter, r *http.Request) {
		var v any
		var err error = &refusal{http.StatusServiceUnavailable, "not leader"}
		if source := h.source(); source != nil {
			v, err = answer(source, r)
		}
		code := http.StatusOK
		if refused, ok := err.(*refusal); ok {
			v, code = refused.text, refused.code
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v)
	})
}

// number reads a number of the query between least and most, which may be missing.
func number(r *http.Request, name string, absent, least, most int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, &refusal{http.StatusBadRequest, fmt.Sprintf("%s %q must be a number from %d to %d", name, text, least, most)}
	}
	return n, nil
}

// key reads a key in hexadecimal digits; empty is the begin or the end of all keys.
func key(r *http.Request, name string) ([]byte, error) {
	text := r.URL.Query().Get(name)
	k, err := hex.DecodeString(text)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("%s %q must be hexadecimal digits", name, text)}
	}
	return k, nil
}

func region(s Source, r *http.Request) (any, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("region %q must be a number", r.PathValue("id"))}
	}
	found, ok := s.Region(id)
	if !ok {
		return nil, &refusal{http.StatusNotFound, fmt.Sprintf("region %d is not known: it was merged into another, or never was", id)}
	}
	return regionOf(found), nil
}

func listEvents(s Source, r *http.Request) (any, error) {
	limit, err := number(r, "limit", defaultEvents, 1, 1000)
	if err != nil {
		return nil, err
	}
	return eventsOf(s.Events(limit)), nil
}
