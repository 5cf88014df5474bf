package pdapi

import (
	"context"
	stderrors "errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pingcap/errors"
)

// Store is one store as the scheduler sees it.
type Store struct {
	Store struct {
		ID            uint64  `json:"id"`
		Address       string  `json:"address"`
		StatusAddress string  `json:"status_address"`
		Version       string  `json:"version"`
		StateName     string  `json:"state_name"`
		Labels        []Label `json:"labels"`
	} `json:"store"`
	Status StoreStatus `json:"status"`
}

// StoreStatus is how a store is doing. Sizes in words are what it reports, those in numbers (MiB) are the scheduler's sums over regions.
type StoreStatus struct {
	Capacity      string  `json:"capacity"`
	Available     string  `json:"available"`
	UsedSize      string  `json:"used_size"`
	LeaderCount   int     `json:"leader_count"`
	LeaderWeight  float64 `json:"leader_weight"`
	LeaderScore   float64 `json:"leader_score"`
	LeaderSize    uint64  `json:"leader_size"`
	RegionCount   int     `json:"region_count"`
	RegionWeight  float64 `json:"region_weight"`
	RegionScore   float64 `json:"region_score"`
	RegionSize    uint64  `json:"region_size"`
	SlowScore     uint64  `json:"slow_score,omitempty"`
	LastHeartbeat string  `json:"last_heartbeat_ts"`
	Uptime        string  `json:"uptime"`
}

// Label is one of the labels that say where a store stands.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// The states of a store that the commands know by name.
const (
	Up        = "Up"
	Offline   = "Offline"
	Tombstone = "Tombstone"
)

// Stores returns all stores but those that were removed.
func (c *Client) Stores(ctx context.Context) ([]Store, error) { return c.stores(ctx, "/stores") }

// AllStores returns all stores, those that were removed among them.
func (c *Client) AllStores(ctx context.Context) ([]Store, error) {
	return c.stores(ctx, "/stores?state=0&state=1&state=2")
}

func (c *Client) stores(ctx context.Context, path string) ([]Store, error) {
	var res struct {
		Stores []Store `json:"stores"`
	}
	return res.Stores, c.get(ctx, path, &res)
}

// Store returns one store.
func (c *Client) Store(ctx context.Context, id uint64) (Store, error) {
	var res Store
	return res, c.get(ctx, fmt.Sprintf("/store/%d", id), &res)
}

// DeleteStore begins to drain a store. By force it counts as destroyed: it cannot be taken back.
func (c *Client) DeleteStore(ctx context.Context, id uint64, force bool) (string, error) {
	path := fmt.Sprintf("/store/%d", id)
	if force {
		path += "?force=true"
	}
	return c.tell(ctx, http.MethodDelete, path, nil)
}

// SetStoreState takes a store that is being drained back with Up.
func (c *Client) SetStoreState(ctx context.Context, id uint64, state string) (string, error) {
	return c.tell(ctx, http.MethodPost, fmt.Sprintf("/store/%d/state?state=%s", id, state), nil)
}

// LabelStore sets labels; an empty value removes one. With replace, the given ones are all that the store has.
func (c *Client) LabelStore(ctx context.Context, id uint64, labels map[string]string, replace bool) (string, error) {
	path := fmt.Sprintf("/store/%d/label", id)
	if replace {
		path += "?force=true"
	}
	return c.tell(ctx, http.MethodPost, path, labels)
}

// WeighStore sets how many leaders and how much data a store should have, compared with one of weight 1.
func (c *Client) WeighStore(ctx context.Context, id uint64, leader, region float64) (string, error) {
	return c.tell(ctx, http.MethodPost, fmt.Sprintf("/store/%d/weight", id), map[string]float64{"leader": leader, "region": region})
}

// Limits are how many peers a minute may be added to, or removed from, each store: by its id and by "add-peer" or "remove-peer".
type Limits map[string]map[string]float64

// StoreLimits returns those of all stores.
func (c *Client) StoreLimits(ctx context.Context) (Limits, error) {
	var res Limits
	return res, c.get(ctx, "/stores/limit", &res)
}

// LimitStore sets a limit of one store, or of all if the id is 0.
func (c *Client) LimitStore(ctx context.Context, id uint64, kind string, rate float64) (string, error) {
	path := "/stores/limit"
	if id != 0 {
		path = fmt.Sprintf("/store/%d/limit", id)
	}
	return c.tell(ctx, http.MethodPost, path, map[string]any{"type": kind, "rate": rate})
}

// ForgetTombstones removes the records of stores that were removed.
func (c *Client) ForgetTombstones(ctx context.Context) (string, error) {
	return c.tell(ctx, http.MethodDelete, "/stores/remove-tombstone", nil)
}

const (
	drainPoll = 200 * time.Millisecond
	// drainTold is how often it is told that nothing has changed.
	drainTold = 10 * time.Second
)

// WaitDrained waits until a store that is being drained is a tombstone, and tells how far it is whenever that changes, and now and then. An answer that fails is asked for again.
func (c *Client) WaitDrained(ctx context.Context, id uint64, tell func(left string)) error {
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	last, told := "", time.Time{}
	for {
		s, err := c.Store(ctx, id)
		var refused *Error
		switch {
		case err == nil && s.Store.StateName == Tombstone:
			return nil
		case err == nil && s.Store.StateName == Up:
			return errors.Errorf("store %d is %s: somebody has taken it back", id, s.Store.StateName)
		case stderrors.As(err, &refused) && refused.Code == http.StatusNotFound:
			return err
		}
		now := fmt.Sprintf("store %d: %d regions left, it leads %d", id, s.Status.RegionCount, s.Status.LeaderCount)
		if err != nil {
			now = err.Error()
		}
		if now != last || time.Since(told) > drainTold {
			tell(now)
			last, told = now, time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		}
	}
}
