package schedule

import (
	stderrors "errors"
	"fmt"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// What operators of the cluster ask for by hand. Such an operator is urgent, takes the place of what the scheduler had in mind for the region, and has no limits; what the rules ask
// for holds again when it is done.

// ErrNoStep says that a region is already as it is asked to be.
var ErrNoStep = stderrors.New("no operator step is built")

// StoreUnfitError says why a store cannot take a peer of a region.
type StoreUnfitError struct {
	Store uint64
	// Unknown says that there is no such store.
	Unknown bool
	Why     string
}

// Error names the store and what is wrong with it.
func (e *StoreUnfitError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("store %d not found", e.Store)
	}
	return fmt.Sprintf("store %d cannot take a peer: %s", e.Store, e.Why)
}

// TransferLeaderTo makes the peer on a store lead.
func (c *Coordinator) TransferLeaderTo(region, store uint64, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	p := r.OnStore(store)
	switch {
	case r.LeaderStore() == store:
		return ErrNoStep
	case p == nil:
		return errors.Errorf("region %d has no peer on store %d", region, store)
	case p.Role != metapb.PeerRole_Voter:
		return errors.Errorf("region %d: the peer on store %d is a %s, and cannot lead", region, store, p.Role)
	}
	return c.ctl.Add(now, transfer("admin-transfer-leader", operator.Urgent, operator.Admin, r, store))
}

// PlaceRegion gives a region exactly the targets for peers; lead is the store that shall lead in the end, 0 for any.
func (c *Coordinator) PlaceRegion(desc string, region uint64, targets []operator.Target, lead uint64, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	return c.place(desc, r, targets, lead, now)
}

// PlacePeer puts a peer in a role on a store, in place of the one on another store unless that is 0.
func (c *Coordinator) PlacePeer(desc string, region, from, to uint64, role metapb.PeerRole, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	if r.OnStore(to) != nil && (from != 0 || !promotes(r, to, role)) {
		return errors.Errorf("region %d already has a peer on store %d", region, to)
	}
	var targets []operator.Target
	found := from == 0
	for _, t := range present(r) {
		switch t.Store {
		case from:
			found, role = true, t.Role
			continue
		case to:
			continue
		}
		targets = append(targets, t)
	}
	if !found {
		return errors.Errorf("region %d has no peer on store %d", region, from)
	}
	return c.place(desc, r, append(targets, operator.Target{Store: to, Role: role}), 0, now)
}

// promotes says that a store's peer is a learner that shall vote.
func promotes(r *cluster.Region, store uint64, role metapb.PeerRole) bool {
	return role == metapb.PeerRole_Voter && r.OnStore(store).Role == metapb.PeerRole_Learner
}

// RemovePeer takes a region's peer from a store.
func (c *Coordinator) RemovePeer(region, store uint64, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	if r.OnStore(store) == nil {
		return errors.Errorf("region %d has no peer on store %d", region, store)
	}
	var targets []operator.Target
	for _, t := range present(r) {
		if t.Store != store {
			targets = append(targets, t)
		}
	}
	return c.place("admin-remove-peer", r, targets, 0, now)
}

func (c *Coordinator) place(desc string, r *cluster.Region, targets []operator.Target, lead uint64, now time.Time) error {
	voters := false
	for _, t := range targets {
		voters = voters || t.Role == metapb.PeerRole_Voter
		if r.OnStore(t.Store) != nil {
			continue
		}
		s := c.pic.Store(t.Store)
		if s == nil {
			return &StoreUnfitError{Store: t.Store, Unknown: true}
		}
		if state := s.State(now); state != cluster.Up {
			return &StoreUnfitError{Store: t.Store, Why: fmt.Sprintf("it is %s", state)}
		}
	}
	if !voters {
		return errors.New("cannot create operator: target peers have no voter")
	}
	opts := c.options()
	opts.Lead = lead
	steps, err := operator.Build(r, targets, opts)
	if err != nil {
		return err
	}
	if len(steps) == 0 {
		return ErrNoStep
	}
	return c.ctl.Add(now, operator.New(desc, fmt.Sprintf("to %s", describe(targets)), operator.Admin, operator.Urgent, r, steps...))
}

func describe(targets []operator.Target) string {
	text := "stores ["
	for i, t := range targets {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprint(t.Store)
		if t.Role == metapb.PeerRole_Learner {
			text += " (learner)"
		}
	}
	return text + "]"
}

// MergeRegions merges a region into its neighbour.
func (c *Coordinator) MergeRegions(from, to uint64, now time.Time) error {
	source, err := c.led(from)
	if err != nil {
		return err
	}
	target, err := c.led(to)
	if err != nil {
		return err
	}
	left, right := source, target
	if c.pic.RegionAfter(target) == source {
		left, right = target, source
	}
	if c.pic.RegionAfter(left) != right {
		return errors.Errorf("regions %d and %d are not adjacent", from, to)
	}
	if bounds := c.rules.Boundaries(left.Meta.StartKey, right.Meta.EndKey); len(bounds) > 0 {
		return errors.Errorf("regions %d and %d cannot be merged: other placement rules hold from key %X on", from, to, bounds[0])
	}
	return c.Merge(source, target, operator.Admin, operator.Urgent, now)
}

// SplitRegion splits a region at keys, or in the middle if there are none.
func (c *Coordinator) SplitRegion(region uint64, keys [][]byte, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if c.pic.RegionOf(key) != r || string(key) == string(r.Meta.StartKey) {
			return errors.Errorf("region %d cannot be split at key %X: it must lie inside the region, above its first key", region, key)
		}
	}
	if len(keys) > 0 {
		_, err := c.Split(keys, now)
		return err
	}
	step := operator.Split{Start: r.Meta.StartKey, End: r.Meta.EndKey}
	return c.ctl.Add(now, operator.New("admin-split-region", fmt.Sprintf("split: region %d in the middle", region), operator.Admin, operator.Urgent, r, step))
}
