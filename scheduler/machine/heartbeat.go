package machine

import (
	"bytes"
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/oracle"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// RegionHeartbeat takes one leader's report in. The answer is what to tell it, or nil; an error says why the report was refused,
// a *cluster.StaleError among them.
func (t *Term) RegionHeartbeat(r *cluster.Region, at Moment) (*operator.Command, error) {
	if err := t.checkReport(r); err != nil {
		return nil, err
	}
	change, err := t.Picture.CheckRegion(r)
	if err != nil {
		return nil, err
	}
	t.moment = at
	old := t.Picture.Region(r.ID())
	shrank := isPart(r, old)
	t.Picture.PutRegion(r, change)
	t.behind.changed(r, change)
	t.noteRegions(r, old, change)
	return t.Schedule.Heartbeat(r, shrank, change, at.Now), nil
}

// isPart says that a region is what is left of it, or new, after a split.
func isPart(r, old *cluster.Region) bool {
	if old == nil {
		return true
	}
	return bytes.Compare(r.Meta.StartKey, old.Meta.StartKey) > 0 ||
		len(r.Meta.EndKey) > 0 && (len(old.Meta.EndKey) == 0 || bytes.Compare(r.Meta.EndKey, old.Meta.EndKey) < 0)
}

// checkReport says what is wrong with a report by itself, and whether its store is known.
func (t *Term) checkReport(r *cluster.Region) error {
	region, leader := r.Meta, r.Leader
	switch {
	case !t.Bootstrapped():
		return ErrNotBootstrapped
	case region.GetId() == 0:
		return errors.Errorf("invalid request region, %v", region)
	case leader.GetId() == 0 || leader.GetStoreId() == 0:
		return errors.Errorf("invalid request leader, %v", leader)
	case region.RegionEpoch == nil:
		return errors.Errorf("region %d reports no epoch", region.Id)
	case len(region.EndKey) > 0 && bytes.Compare(region.StartKey, region.EndKey) >= 0:
		return errors.Errorf("region %d reports an empty range", region.Id)
	case t.Picture.Store(leader.StoreId) == nil:
		return errors.Errorf("invalid store ID %d, not found", leader.StoreId)
	}
	return nil
}

// StoreHeartbeat takes in what a store says of itself. An error says why the store may not report, a *cluster.TombstoneError among them.
func (t *Term) StoreHeartbeat(id uint64, stats cluster.StoreStats, at Moment) error {
	if !t.Bootstrapped() {
		return ErrNotBootstrapped
	}
	store := t.Picture.Store(id)
	switch {
	case store == nil:
		return fmt.Errorf("store %d not found", id)
	case store.Meta.State == metapb.StoreState_Tombstone:
		return &cluster.TombstoneError{Store: store.Meta}
	}
	t.Picture.HearStore(id, stats, at.Now, at.Wall)
	return nil
}

// Tick lets the schedulers work. It returns what to tell leaders unasked, and is to be called some ten times a second.
func (t *Term) Tick(at Moment) []*operator.Command {
	if !t.Bootstrapped() {
		return nil
	}
	t.moment = at
	commands := t.Schedule.Tick(at.Now)
	t.watch()
	return commands
}

// newID takes an id out of the stock for a decision that is being made.
func (t *Term) newID() (uint64, bool) {
	g := t.ids.Next(1, t.moment.Now, t.moment.LeaseEnd)
	return g.First, g.Verdict == oracle.Granted
}
