// Package status is a store's HTTP side, for people, dashboards and the family's tools: is it up, how is it configured,
// what does it count, what does it know about a region. Clients of the data never come here.
//
// It shows, and changes little: the level of the log, and on demand a region's replicas are compared, one of them is rebuilt, or a region is
// merged. Every answer comes from a function or a registry that was handed in,
// asked anew for each request. A path whose source was not handed in does not exist. It leans on net/http and the prometheus
// client.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/profiling"
	"github.com/shoal-kv/shoal/proto/recovery"
)

// Options are the sources of what is shown.
type Options struct {
	// Config returns the configuration in effect; its JSON must hold "storage": {"api-version": …}, which clients read.
	Config func() any
	// Metrics is the store's own registry.
	Metrics prometheus.Gatherer
	// Region returns what the store knows about a region, as a value for JSON, or false when it has no such region.
	Region func(id uint64) (any, bool)
	// Compare begins a comparison of a region's replicas, and returns when it is under way. It is for the store whose peer leads.
	Compare func(ctx context.Context, regionID uint64) error
	// Rebuild begins to replace the data of a region on this store by that of the leader.
	Rebuild func(ctx context.Context, regionID uint64) error
	// Merge begins the merge of a region that is led here into a neighbour.
	Merge func(source, target uint64) error
	// Recovery forces the membership of regions that have lost their majority.
	Recovery Recovery
	// Ready reports whether the store serves; nil means always.
	Ready func() bool
	// LogLevel is what /log-level shows and changes.
	LogLevel *log.Level
	// Profiling opens /debug/pprof/.
	Profiling bool
	// Logger takes what goes wrong with connections; nil is silence.
	Logger *zap.Logger
}

// Recovery tells what a store has of its regions, and carries out a person's orders. See package recovery.
type Recovery interface {
	Replicas() []recovery.Replica
	// Force answers for each order.
	Force(ctx context.Context, orders []recovery.Order) []recovery.Outcome
}

// headerTimeout bounds how long a client may take to say what it wants.
const headerTimeout = 10 * time.Second

// NewServer returns an HTTP server for Handler(o), to be served and shut down by the caller.
func NewServer(o Options) *http.Server {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &http.Server{Handler: Handler(o), ReadHeaderTimeout: headerTimeout, ErrorLog: zap.NewStdLog(o.Logger.Named("status"))}
}

// Handler answers /status, /ready, /config, /metrics, /region/{id} and what is asked of it, /recover, /log-level and, when allowed, /debug/pprof/.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(http.ResponseWriter, *http.Request) {}) // 200 and nothing else: the process answers
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if o.Ready != nil && !o.Ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if o.Config != nil {
		mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Config()) })
	}
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	}
	if o.Region != nil {
		mux.HandleFunc("GET /region/{id}", func(w http.ResponseWriter, r *http.Request) { writeRegion(w, r.PathValue("id"), o.Region) })
	}
	if o.Compare != nil {
		mux.HandleFunc("POST /region/{id}/consistency-check", func(w http.ResponseWriter, r *http.Request) {
			act(w, r, func(id uint64) error { return o.Compare(r.Context(), id) })
		})
	}
	if o.Rebuild != nil {
		mux.HandleFunc("POST /region/{id}/rebuild", func(w http.ResponseWriter, r *http.Request) {
			act(w, r, func(id uint64) error { return o.Rebuild(r.Context(), id) })
		})
	}
	if o.Merge != nil {
		mux.HandleFunc("POST /region/{id}/merge", func(w http.ResponseWriter, r *http.Request) { mergeRegion(w, r, o.Merge) })
	}
	if o.Recovery != nil {
		mux.HandleFunc("GET /recover", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Recovery.Replicas()) })
		mux.HandleFunc("POST /recover", func(w http.ResponseWriter, r *http.Request) { force(w, r, o.Recovery) })
	}
	if o.LogLevel != nil {
		mux.HandleFunc("GET /log-level", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, logLevel{Level: o.LogLevel.Name()}) })
		mux.HandleFunc("PUT /log-level", func(w http.ResponseWriter, r *http.Request) { changeLogLevel(w, r, o.LogLevel) })
	}
	mux.Handle(profiling.Path, profiling.Handler(o.Profiling, "server.enable-pprof"))
	return mux
}

// longestOrders bounds the body of a recovery, in bytes: some hundred thousand regions.
const longestOrders = 64 << 20

// force answers what became of each order.
func force(w http.ResponseWriter, r *http.Request, to Recovery) {
	var orders []recovery.Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestOrders)).Decode(&orders); err != nil {
		http.Error(w, fmt.Sprintf("the body must be a list of orders: %v", err), http.StatusBadRequest)
		return
	}
	writeJSON(w, to.Force(r.Context(), orders))
}

// logLevel is the body of /log-level.
type logLevel struct {
	Level string `json:"log-level"`
}

// longestLevel bounds a body that is to hold one word.
const longestLevel = 1 << 10

// changeLogLevel answers 200 and nothing else when the level is changed.
func changeLogLevel(w http.ResponseWriter, r *http.Request, level *log.Level) {
	var wanted logLevel
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestLevel))
	body.DisallowUnknownFields()
	if err := body.Decode(&wanted); err != nil {
		http.Error(w, fmt.Sprintf(`the body must be {"log-level":"info"}: %v`, err), http.StatusBadRequest)
		return
	}
	if err := level.Set(wanted.Level); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// act does something to a region, and answers 200 when it is done, 409 with the reason when it was refused.
func act(w http.ResponseWriter, r *http.Request, do func(id uint64) error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("%q is not a region id", r.PathValue("id")), http.StatusBadRequest)
		return
	}
	if err := do(id); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
	}
}

func writeRegion(w http.ResponseWriter, text string, lookup func(uint64) (any, bool)) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("%q is not a region id", text), http.StatusBadRequest)
		return
	}
	found, ok := lookup(id)
	if !ok {
		http.Error(w, fmt.Sprintf("region(%d) not found", id), http.StatusNotFound)
		return
	}
	writeJSON(w, found)
}

// writeJSON encodes before it answers, so that what cannot be encoded is a clean error.
func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, fmt.Sprintf("cannot encode the answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the reader may have gone; there is nobody to tell
}
