package server

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

const apiPrefix = "/pd/api/v1"

// api routes /pd/api/v1. Everything answers JSON indented by two spaces, and regions compactly, as the family's tools
// print them; an error is a JSON string under its status code.
func (s *Server) api() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h http.HandlerFunc) { mux.HandleFunc("GET "+apiPrefix+path, h) }
	handle("/ping", func(http.ResponseWriter, *http.Request) {})
	handle("/version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": s.cfg.Version})
	})
	handle("/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, statusJSON{Version: s.cfg.Version, StartTimestamp: s.started})
	})
	s.memberRoutes(mux)
	s.adminRoutes(mux)
	handle("/cluster", s.onTerm(httpCluster))
	handle("/cluster/status", s.onTerm(httpClusterStatus))
	handle("/config/cluster-version", s.onTerm(httpClusterVersion))
	handle("/config/replicate", s.onTerm(httpReplicate))
	handle("/stores", s.onCluster(httpStores))
	handle("/store/{id}", s.onCluster(httpStore))
	handle("/regions", s.onCluster(httpRegions))
	handle("/regions/key", s.onCluster(httpRegionsFrom))
	handle("/regions/store/{id}", s.onCluster(httpRegionsOnStore))
	handle("/region/id/{id}", s.onCluster(httpRegion))
	handle("/region/key/{key...}", s.onCluster(httpRegionOf))
	return mux
}

// onNode serves what every member knows.
func (s *Server) onNode(h func(*meta.Node, http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		node := s.node.Load()
		if node == nil {
			writeJSON(w, http.StatusServiceUnavailable, "server not started")
			return
		}
		h(node, w)
	}
}

// onTerm serves what only the leader knows.
func (s *Server) onTerm(h func(*term, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := s.term.Load()
		if t == nil {
			writeJSON(w, http.StatusServiceUnavailable, "not leader")
			return
		}
		h(t, w, r)
	}
}

// onCluster serves what there is only once the cluster is bootstrapped.
func (s *Server) onCluster(h func(*term, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return s.onTerm(func(t *term, w http.ResponseWriter, r *http.Request) {
		if t.needsBootstrap() != nil {
			writeJSON(w, http.StatusInternalServerError,
				"[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first")
			return
		}
		h(t, w, r)
	})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // a client that went away is nobody's concern
}

// writeCompactJSON is for regions, of which there are many.
func writeCompactJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) httpHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if node := s.node.Load(); node != nil {
		if _, ok := node.EtcdLeader(); ok {
			_, _ = io.WriteString(w, `{"health":"true"}`)
			return
		}
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `{"health":"false"}`)
}

type statusJSON struct {
	BuildTS        string `json:"build_ts"`
	Version        string `json:"version"`
	GitHash        string `json:"git_hash"`
	StartTimestamp int64  `json:"start_timestamp"`
}
