package server

import (
	"io"
	"net/http"
	"slices"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

const apiPrefix = "/pd/api/v1"

// The API under /pd/api/v1 is a table of routes, each family's in a file of its own (http_*.go). A handler looks at the term and returns
// what to answer: a value, which is written as JSON indented by two spaces, a reply that writes itself, as the long lists of regions do, or an error. What a handler reads it takes
// out of the picture at the term's desk, and encodes it after it has left the desk: the values are immutable, so no listing holds up a heartbeat.

// route is one request that is served, as http.ServeMux knows it but for the prefix: "GET /stores".
type route struct {
	method, path string
	serve        http.HandlerFunc
}

// handler answers from a term.
type handler func(t *term, r *http.Request) (any, error)

// api routes /pd/api/v1.
func (s *Server) api() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+apiPrefix+r.path, r.serve)
	}
	mux.Handle(apiPrefix+"/debug/pprof/", http.StripPrefix(apiPrefix, s.profiles()))
	return mux
}

func (s *Server) routes() []route {
	return slices.Concat(
		s.ownRoutes(), s.memberRoutes(), s.adminRoutes(), s.unsafeRoutes(), s.clusterRoutes(), s.storeRoutes(), s.regionRoutes(), s.regionCheckRoutes(),
		s.configRoutes(), s.schedulerRoutes(), s.operatorRoutes(), s.ruleRoutes(), s.bundleRoutes(), s.hotRoutes(),
	)
}

// ownRoutes are what every member answers for itself.
func (s *Server) ownRoutes() []route {
	return []route{
		{"GET", "/ping", func(http.ResponseWriter, *http.Request) {}},
		{"GET", "/version", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, map[string]string{"version": s.cfg.Version})
		}},
		{"GET", "/status", func(w http.ResponseWriter, _ *http.Request) {
			writeJSON(w, http.StatusOK, statusJSON{Version: s.cfg.Version, StartTimestamp: s.started})
		}},
	}
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
func (s *Server) onTerm(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := s.term.Load()
		if t == nil {
			writeJSON(w, http.StatusServiceUnavailable, "not leader")
			return
		}
		answer, err := h(t, r)
		if err != nil {
			writeError(w, err)
			return
		}
		if self, ok := answer.(reply); ok {
			self.write(w)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// onCluster serves what there is only once the cluster is bootstrapped.
func (s *Server) onCluster(h handler) http.HandlerFunc {
	return s.onTerm(func(t *term, r *http.Request) (any, error) {
		if t.needsBootstrap() != nil {
			return nil, &apiError{
				http.StatusInternalServerError,
				"[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first",
			}
		}
		return h(t, r)
	})
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
