package operator

import (
	"maps"
	"math"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// quota is how many peers may still come to or go from a store: it fills at the store's rate, and holds what a quarter of a minute gives.
type quota struct {
	perMinute, left float64
	at              time.Time
}

type quotaKey struct {
	store uint64
	what  movement
}

type movement uint8

const (
	adding movement = iota
	removing
)

// String is the movement's name as the family's tools print it.
func (m movement) String() string { return [...]string{"add-peer", "remove-peer"}[m] }

// use is what an operator takes of a store's quota.
type use struct {
	quotaKey
	cost float64
}

// uses are an operator's. Peers of regions that hold nearly nothing are free.
func uses(o *Operator, r *cluster.Region) []use {
	if r.Load.Size < 1<<20 {
		return nil
	}
	var list []use
	for _, s := range o.Steps {
		switch s := s.(type) {
		case AddLearner:
			list = append(list, use{quotaKey{s.Peer.StoreId, adding}, 1})
		case AddPeer:
			list = append(list, use{quotaKey{s.Peer.StoreId, adding}, 1})
		case RemovePeer:
			list = append(list, use{quotaKey{s.Peer.StoreId, removing}, 1})
		}
	}
	return list
}

func (c *Controller) charge(o *Operator, r *cluster.Region, now time.Time) {
	for _, u := range uses(o, r) {
		c.quota(u.quotaKey, now).left -= u.cost
	}
}

// quota is one store's as of now.
func (c *Controller) quota(k quotaKey, now time.Time) *quota {
	rate := c.limits.AddPeer
	if k.what == removing {
		rate = c.limits.RemovePeer
	}
	if s := c.pic.Store(k.store); s != nil {
		own := s.Tuning.AddPeer
		if k.what == removing {
			own = s.Tuning.RemovePeer
		}
		if own > 0 {
			rate = own
		}
	}
	q := c.quotas[k]
	if q == nil {
		q = &quota{left: math.Inf(1)}
		c.quotas[k] = q
	}
	q.perMinute = rate
	if !q.at.IsZero() {
		q.left += rate * now.Sub(q.at).Minutes()
	}
	q.left, q.at = min(q.left, max(1, rate/4)), now
	return q
}

func (q *quota) has(cost float64) bool { return q.left >= cost }

// MayAdd says that a store's limit lets another peer of a region come.
func (c *Controller) MayAdd(store uint64, r *cluster.Region, now time.Time) bool {
	return r.Load.Size < 1<<20 || c.quota(quotaKey{store, adding}, now).has(1)
}

// MayRemove says that a store's limit lets a peer of a region go.
func (c *Controller) MayRemove(store uint64, r *cluster.Region, now time.Time) bool {
	return r.Load.Size < 1<<20 || c.quota(quotaKey{store, removing}, now).has(1)
}

// HeldBack counts an operator that was not made because a store's limit is reached. Add counts those that it refuses.
func (c *Controller) HeldBack(desc string) { c.limited[desc]++ }

// Limited is how many operators stores' limits have held back, by their descriptions: each as often as it was wanted.
func (c *Controller) Limited() map[string]uint64 { return maps.Clone(c.limited) }
