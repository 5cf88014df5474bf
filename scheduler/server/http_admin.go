package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/shoal-kv/shoal/profiling"
)

const (
	logPath = apiPrefix + "/admin/log"
	// longestLevel bounds a body that is to hold one word.
	longestLevel = 1 << 10
)

// adminRoutes are about this process and not the cluster: a follower does not pass them on.
func (s *Server) adminRoutes() []route {
	routes := []route{
		{"POST", "/admin/unsafe/remove-failed-stores", httpUnsafe},
		{"POST", "/admin/unsafe/remove-failed-stores/abort", httpUnsafe},
		{"GET", "/admin/unsafe/remove-failed-stores/show", httpUnsafe},
	}
	if s.cfg.LogLevel == nil {
		return routes
	}
	return append(routes, []route{
		{"GET", "/admin/log", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.cfg.LogLevel.Name()) }},
		{"POST", "/admin/log", s.httpSetLogLevel},
	}...)
}

// httpUnsafe says where regions that have lost a majority are brought back: what there is left of them only the stores know, and they are asked themselves.
func httpUnsafe(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusNotImplemented,
		"the scheduler removes no failed stores: `shoal ctl recover plan` shows what can be had back of regions that lost a majority, `shoal ctl recover apply` does it")
}

func (s *Server) profiles() http.Handler { return profiling.Handler(s.cfg.EnablePprof, "enable-pprof") }

// httpSetLogLevel takes the level as a JSON string.
func (s *Server) httpSetLogLevel(w http.ResponseWriter, r *http.Request) {
	var level string
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longestLevel)).Decode(&level); err != nil {
		writeJSON(w, http.StatusBadRequest, fmt.Sprintf(`the body must be a JSON string such as "info", with its quotes: %v`, err))
		return
	}
	if err := s.cfg.LogLevel.Set(level); err != nil {
		writeJSON(w, http.StatusBadRequest, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, "The log level is updated.")
}
