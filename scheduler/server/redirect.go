package server

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/profiling"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
)

// redirectorHeader names the member that passed a request on; the next one serves it or refuses.
const redirectorHeader = "PD-Redirector"

// localPaths are what every member answers for itself.
var localPaths = map[string]bool{
	apiPrefix + "/ping": true, apiPrefix + "/version": true, apiPrefix + "/status": true,
	apiPrefix + "/members": true, apiPrefix + "/leader": true, apiPrefix + "/health": true,
	logPath: true, dashboard.Path: true, dashboard.Path + "/": true,
}

func isLocal(path string) bool {
	return localPaths[path] || strings.HasPrefix(path, apiPrefix+profiling.Path)
}

// redirected passes a follower's HTTP requests on to the leader, so that any member will do for tools.
func (s *Server) redirected(here http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		node := s.node.Load()
		if isLocal(r.URL.Path) || node == nil || s.Leads() {
			here.ServeHTTP(w, r)
			return
		}
		leader, ok := node.Leader()
		switch by := r.Header.Get(redirectorHeader); {
		case by != "":
			writeJSON(w, http.StatusServiceUnavailable, fmt.Sprintf("not leader, although %s thinks so", by))
			return
		case !ok || len(leader.ClientURLs) == 0 || leader.ID == node.Self().ID:
			writeJSON(w, http.StatusServiceUnavailable, "no leader")
			return
		}
		to, err := url.Parse(leader.ClientURLs[0])
		if err != nil {
			writeJSON(w, http.StatusServiceUnavailable, fmt.Sprintf("the leader's URL: %v", err))
			return
		}
		s.redirect(leader.Name, to).ServeHTTP(w, r)
	})
}

func (s *Server) redirect(leader string, to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Transport: &s.redirects,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.SetXForwarded()
			r.Out.Header.Set(redirectorHeader, s.cfg.Name)
		},
		ErrorLog: zap.NewStdLog(s.log),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			writeJSON(w, http.StatusServiceUnavailable, fmt.Sprintf("the leader %s does not answer: %v", leader, err))
		},
	}
}
