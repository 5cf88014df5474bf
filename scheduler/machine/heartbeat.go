package machine

import (
	"bytes"
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/oracle"
)

// Command is what a region's leader is to be told. It holds for the region as it was reported: with another epoch it is refused.
type Command struct {
	Region uint64
	Epoch  *metapb.RegionEpoch
	Leader *metapb.Peer
	// Add is the peer to add.
	Add *metapb.Peer
	// First says that this is not a repetition.
	First bool
}

// RegionHeartbeat takes one leader's report in. The answer is what to tell it, or nil; an error says why the report was refused,
// a *cluster.StaleError among them.
func (t *Term) RegionHeartbeat(r *cluster.Region, at Moment) (*Command, error) {
	if err := t.checkReport(r); err != nil {
		return nil, err
	}
	change, err := t.Picture.CheckRegion(r)
	if err != nil {
		return nil, err
	}
	t.Picture.PutRegion(r, change)
	t.behind.changed(r, change)
	return t.repair(r.ID(), at), nil
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

// repair is the command that a region's leader needs to hear, or nil. Without an id in stock there is none now; the
// region's next heartbeat asks again.
func (t *Term) repair(region uint64, at Moment) *Command {
	add := t.Picture.AddReplica(region, at.Now)
	if add == nil {
		return nil
	}
	first := add.Id == 0
	if first {
		g := t.ids.Next(1, at.Now, at.LeaseEnd)
		if g.Verdict != oracle.Granted {
			return nil
		}
		add.Id = g.First
		t.Picture.Propose(region, add)
	}
	r := t.Picture.Region(region)
	return &Command{Region: region, Epoch: r.Meta.RegionEpoch, Leader: r.Leader, Add: add, First: first}
}

// StoreHeartbeat takes in what a store says of itself. A store that has just come up is put to use at once: regions that lack
// a replica need not wait for their next heartbeat. An error says why the store may not report, a *cluster.TombstoneError
// among them.
func (t *Term) StoreHeartbeat(id uint64, stats cluster.StoreStats, at Moment) ([]Command, error) {
	if !t.Bootstrapped() {
		return nil, ErrNotBootstrapped
	}
	store := t.Picture.Store(id)
	switch {
	case store == nil:
		return nil, fmt.Errorf("store %d not found", id)
	case store.Meta.State == metapb.StoreState_Tombstone:
		return nil, &cluster.TombstoneError{Store: store.Meta}
	}
	wasUp := store.State(at.Now) == cluster.Up
	t.Picture.HearStore(id, stats, at.Now, at.Wall)
	if wasUp {
		return nil, nil
	}
	var commands []Command
	for _, region := range t.Picture.Lacking() {
		if c := t.repair(region, at); c != nil {
			commands = append(commands, *c)
		}
	}
	return commands, nil
}
