package server

import (
	"fmt"
	"net/http"
	"slices"
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
	lost, err := lostStores(t.stores(), t.clocks.Monotonic(), body.Stores, body.AutoDetect)
	if err != nil {
		return nil, err
	}
	return "Request has been accepted.", refused(http.StatusInternalServerError, t.removal.begin(lost, limit))
}

// lostStores are those that are named, or with detect those that nobody has heard of for a while. One that is heard of cannot be given up, nor can all of them:
// a cluster of which no store is left has nothing to recover from, and its stores would be told to be gone when they come back.
func lostStores(stores []*cluster.Store, now time.Time, named []uint64, detect bool) (lost []uint64, err error) {
	silent := make(map[uint64]bool, len(stores))
	var found, living []uint64
	for _, s := range stores {
		buried := s.State(now) == cluster.Tombstone
		silent[s.ID()] = buried || s.Silence(now) > cluster.DisconnectedAfter
		if !buried {
			living = append(living, s.ID())
			if silent[s.ID()] {
				found = append(found, s.ID())
			}
		}
	}
	for _, id := range named {
		switch isSilent, known := silent[id]; {
		case !known:
			return nil, invalidRemoval("store %d doesn't exist", id)
		case !isSilent:
			return nil, invalidRemoval("store %d is up and connected", id)
		}
	}
	switch {
	case !detect && len(named) == 0:
		return nil, invalidRemoval("no store specified")
	case detect && len(named) > 0:
		return nil, invalidRemoval("either stores are named, or they are detected")
	case detect && len(found) == 0:
		return nil, invalidRemoval("every store is heard of")
	case !detect:
		found = named
	}
	for _, id := range living {
		if !slices.Contains(found, id) {
			return found, nil
		}
	}
	return nil, invalidRemoval("no store is left to recover from")
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
