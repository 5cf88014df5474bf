// Package status is a store's HTTP side, for people, dashboards and the family's tools: is it up, how is it configured,
// what does it count, what does it know about a region. Clients of the data never come here.
//
// It only shows: every answer comes from a function or a registry that was handed in, asked anew for each request. A path whose source
// was not handed in does not exist. It leans on net/http and the prometheus client.
package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options are the sources of what is shown.
type Options struct {
	// Config returns the configuration in effect; its JSON must hold "storage": {"api-version": …}, which clients read.
	Config func() any
	// Metrics is the store's own registry.
	Metrics prometheus.Gatherer
	// Region returns what the store knows about a region, as a value for JSON, or false when it has no such region.
	Region func(id uint64) (any, bool)
	// Ready reports whether the store serves; nil means always.
	Ready func() bool
	// Profiling opens /debug/pprof/.
	Profiling bool
}

// headerTimeout bounds how long a client may take to say what it wants.
const headerTimeout = 10 * time.Second

// NewServer returns an HTTP server for Handler(o), to be served and shut down by the caller.
func NewServer(o Options) *http.Server {
	return &http.Server{Handler: Handler(o), ReadHeaderTimeout: headerTimeout}
}

// Handler answers /status, /ready, /config, /metrics, /region/{id} and, when allowed, /debug/pprof/.
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
	if o.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol) // that is how pprof asks
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
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
