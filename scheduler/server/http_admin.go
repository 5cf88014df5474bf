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
	if s.cfg.LogLevel == nil {
		return nil
	}
	return []route{
		{"GET", "/admin/log", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.cfg.LogLevel.Name()) }},
		{"POST", "/admin/log", s.httpSetLogLevel},
	}
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
