package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// unsafeRoutes have regions back that lost a majority of their replicas for good.
func (s *Server) unsafeRoutes() []route {
	const path = "/admin/unsafe/remove-failed-stores"
	return []route{
		{"POST", path, s.onCluster(httpRemoveFailedStores)},
		{"POST", path + "/abort", s.onCluster(httpAbortRemoval)},
		{"GET", path + "/show", s.onCluster(httpShowRemoval)},
	}
}

// removalTimeout is how long a removal may take that names no time of its own.
const removalTimeout = 10 * time.Minute

// httpRemoveFailedStores gives stores up, and begins to make up for what their end took away.
func httpRemoveFailedStores(t *term, r *http.Request) (any, error) {
	var body struct {
		Stores []uint64 `json:"stores"`
		// Timeout is in seconds.
		Timeout    *uint64 `json:"timeout"`
		AutoDetect bool    `json:"auto-detect"`
	}
	if err := readJSON(r, &body); err != nil {
		return nil, err
	}
	limit := removalTimeout
	if body.Timeout != nil {
		if *body.Timeout == 0 || *body.Timeout > 24*60*60 {
			return nil, badRequest("timeout is %d; it must be 1 to 86400 seconds", *body.Timeout)
		}
		limit = time.Duration(*body.Timeout) * time.Second
	}
	lost, err := t.lostStores(body.Stores, body.AutoDetect)
	if err != nil {
		return nil, err
	}
	return "Request has been accepted.", refused(http.StatusInternalServerError, t.removal.begin(lost, limit))
}

// lostStores are those that are named, or with detect those that nobody has heard of for a while. One that is heard of cannot be given up.
func (t *term) lostStores(named []uint64, detect bool) (lost []uint64, err error) {
	now := t.clocks.Monotonic()
	silent := func(s *cluster.Store) bool { return s.Silence(now) > cluster.DisconnectedAfter }
	known := make(map[uint64]*cluster.Store)
	for _, s := range t.stores() {
		known[s.ID()] = s
		if detect && silent(s) && s.State(now) != cluster.Tombstone {
			lost = append(lost, s.ID())
		}
	}
	for _, id := range named {
		switch s := known[id]; {
		case s == nil:
			return nil, invalidRemoval("store %d doesn't exist", id)
		case !silent(s) && s.State(now) != cluster.Tombstone:
			return nil, invalidRemoval("store %d is up and connected", id)
		}
	}
	switch {
	case !detect && len(named) == 0:
		return nil, invalidRemoval("no store specified")
	case detect && len(named) > 0:
		return nil, invalidRemoval("either stores are named, or they are detected")
	case detect && len(lost) == 0:
		return nil, invalidRemoval("every store is heard of")
	case detect:
		return lost, nil
	}
	return named, nil
}

func invalidRemoval(format string, args ...any) error {
	return &apiError{http.StatusInternalServerError, "[PD:unsaferecovery:ErrUnsafeRecoveryInvalidInput]invalid input " + fmt.Sprintf(format, args...)}
}

// httpAbortRemoval ends a removal. What was done stays: the stores are given up, and orders that were carried out are not taken back.
func httpAbortRemoval(t *term, _ *http.Request) (any, error) {
	return "Request has been accepted.", refused(http.StatusInternalServerError, t.removal.abort())
}

// httpShowRemoval lists what happened until now.
func httpShowRemoval(t *term, _ *http.Request) (any, error) { return t.removal.show(), nil }
