package operator

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Limits bound what is in flight at once.
type Limits struct {
	// Kind is how many operators of a kind there may be; 0 forbids them.
	Kind [kinds]int
	// AddPeer and RemovePeer are how many peers a minute may come to and go from a store, unless the store has limits of its own.
	AddPeer, RemovePeer float64
}

// NoLimits is for what must not wait.
func NoLimits() Limits {
	l := Limits{AddPeer: 1e9, RemovePeer: 1e9}
	for k := range l.Kind {
		l.Kind[k] = 1 << 30
	}
	return l
}

const (
	// tellAgain is how often an order is repeated when no heartbeat asks for it.
	tellAgain = 5 * time.Second
	// historyLength bounds the operators that are remembered.
	historyLength = 1000
)

// Controller holds the operators in flight, at most one a region.
type Controller struct {
	limits   Limits
	byRegion map[uint64]*Operator
	counts   [kinds]int
	quotas   map[quotaKey]*quota
	history  []Record // the latest last
	ends     [Replaced + 1]uint64
	// limited counts by description the operators that a store's limit held back.
	limited map[string]uint64
	// influences is nil when it has to be worked out anew.
	influences Influences
	pic        *cluster.Picture
}

// NewController makes one without operators.
func NewController(pic *cluster.Picture) *Controller {
	return &Controller{byRegion: make(map[uint64]*Operator), quotas: make(map[quotaKey]*quota), limited: make(map[string]uint64), pic: pic}
}

// SetLimits changes the limits; what is in flight stays.
func (c *Controller) SetLimits(l Limits) { c.limits = l }

// Add takes operators in: all or, with an error that says why, none. An operator takes the place of one with lower priority.
func (c *Controller) Add(now time.Time, ops ...*Operator) error {
	for _, o := range ops {
		if err := c.check(o, now); err != nil {
			return err
		}
	}
	for _, o := range ops {
		if old := c.byRegion[o.Region]; old != nil {
			old.end(Replaced, "by "+o.Desc, now)
			c.drop(old, now)
		}
	}
	for _, o := range ops {
		r := c.pic.Region(o.Region)
		c.charge(o, r, now)
		o.run.started, o.run.since = now, now
		c.byRegion[o.Region] = o
		c.counts[o.Kind]++
	}
	c.influences = nil
	return nil
}

func (c *Controller) check(o *Operator, now time.Time) error {
	r := c.pic.Region(o.Region)
	switch {
	case r == nil:
		return errors.Errorf("region %d not found", o.Region)
	case r.Leader == nil:
		return errors.Errorf("region %d: nobody leads it", o.Region)
	case r.Meta.RegionEpoch.GetVersion() != o.epoch.GetVersion() || r.Meta.RegionEpoch.GetConfVer() != o.epoch.GetConfVer():
		return errors.Errorf("region %d has changed meanwhile", o.Region)
	case len(o.Steps) == 0:
		return errors.Errorf("region %d: there is nothing to do", o.Region)
	}
	if old := c.byRegion[o.Region]; old != nil && old.Priority >= o.Priority {
		return errors.Errorf("region %d has an operator already: %s", o.Region, old.Desc)
	}
	if o.Kind != Admin && c.counts[o.Kind] >= c.limits.Kind[o.Kind] {
		return errors.Errorf("there are %d operators of kind %s, as many as may be", c.counts[o.Kind], o.Kind)
	}
	if o.Kind != Admin {
		for _, u := range uses(o, r) {
			if !c.quota(u.quotaKey, now).has(u.cost) {
				c.HeldBack(o.Desc)
				return errors.Errorf("store %d: its limit of %s is reached", u.store, u.what)
			}
		}
	}
	return nil
}

// Judge looks at a region's new report. It returns what to tell the region's leader, or nil.
func (c *Controller) Judge(r *cluster.Region, now time.Time) *Command {
	o := c.byRegion[r.ID()]
	if o == nil {
		return nil
	}
	c.influences = nil
	o.judge(r, now)
	if o.ended() {
		c.drop(o, now)
		return nil
	}
	return o.command(r, now)
}

// Gone says that a region has left the picture: it was merged, or overlapped by newer ones.
func (c *Controller) Gone(region uint64, now time.Time) {
	o := c.byRegion[region]
	if o == nil {
		return
	}
	m, merges := o.Steps[min(o.run.at, len(o.Steps)-1)].(Merge)
	switch {
	case !merges || m.Passive:
		o.end(Canceled, "the region is gone", now)
	case !c.tookIn(m):
		// Somebody else merged it into its other neighbour: the target will never grow. Found by the simulator.
		o.end(Canceled, "another region took it in", now)
	default:
		o.run.at = len(o.Steps)
		o.end(Success, "", now)
	}
	c.drop(o, now)
}

// tookIn reports whether a merge's target has grown since.
func (c *Controller) tookIn(m Merge) bool {
	to := c.pic.Region(m.To.Id)
	return to == nil || to.Meta.RegionEpoch.GetVersion() > m.To.RegionEpoch.GetVersion()
}

// Cancel ends a region's operator; false if it has none.
func (c *Controller) Cancel(region uint64, why string, now time.Time) bool {
	o := c.byRegion[region]
	if o == nil {
		return false
	}
	o.end(Canceled, why, now)
	c.drop(o, now)
	return true
}

// Tick ends what takes too long, and lists what to tell leaders again. It is to be called several times a second.
func (c *Controller) Tick(now time.Time) []*Command {
	var commands []*Command
	for _, id := range slices.Sorted(maps.Keys(c.byRegion)) {
		o := c.byRegion[id]
		if o == nil {
			continue // ended with its pair
		}
		r := c.pic.Region(id)
		switch {
		case r == nil:
			c.Gone(id, now)
		case c.dead(o, r, now) != "":
			o.end(Canceled, c.dead(o, r, now), now)
			c.drop(o, now)
		case now.Sub(o.run.since) > patience(o.Steps[o.run.at], r):
			o.end(Timeout, "no report showed the step done in time", now)
			c.drop(o, now)
		case now.Sub(o.run.told) >= tellAgain:
			if command := o.command(r, now); command != nil {
				commands = append(commands, command)
			}
		}
	}
	return commands
}

// dead says why an operator waits in vain: for a peer on a store that will not take it in, found by the simulator; for a store to lead that has
// fallen silent, which would keep the region from being repaired for a minute.
func (c *Controller) dead(o *Operator, r *cluster.Region, now time.Time) string {
	var to uint64
	leads := false
	switch s := o.Steps[o.run.at].(type) {
	case TransferLeader:
		to, leads = s.To, true
	case AddLearner:
		to = s.Peer.StoreId
	case AddPeer:
		to = s.Peer.StoreId
	default:
		return ""
	}
	s := c.pic.Store(to)
	if s == nil {
		return fmt.Sprintf("store %d is gone", to)
	}
	switch state := s.State(now); {
	case state == cluster.Up, leads && state == cluster.Offline, !leads && state == cluster.Disconnected && r.OnStore(to) != nil:
		return ""
	default:
		return fmt.Sprintf("store %d is %s", to, state)
	}
}

// drop takes an operator that has ended out, and the other half of a merge with it if it failed.
func (c *Controller) drop(o *Operator, now time.Time) {
	if c.byRegion[o.Region] != o {
		return
	}
	delete(c.byRegion, o.Region)
	c.counts[o.Kind]--
	c.influences = nil
	c.ends[o.run.status]++
	if len(c.history) == historyLength {
		c.history = append(c.history[:0:0], c.history[historyLength/2:]...)
	}
	c.history = append(c.history, o.record())
	if o.pair != nil && o.run.status != Success {
		o.pair.end(o.run.status, "the other half of the merge ended", now)
		c.drop(o.pair, now)
	}
}

// Has says that a region has an operator.
func (c *Controller) Has(region uint64) bool { return c.byRegion[region] != nil }

// Priority is that of a region's operator; false if it has none.
func (c *Controller) Priority(region uint64) (Priority, bool) {
	o := c.byRegion[region]
	if o == nil {
		return 0, false
	}
	return o.Priority, true
}

// Of is a region's operator as it is now; false if it has none.
func (c *Controller) Of(region uint64) (Record, bool) {
	o := c.byRegion[region]
	if o == nil {
		return Record{}, false
	}
	return o.record(), true
}

// Count is how many operators are in flight.
func (c *Controller) Count() int { return len(c.byRegion) }

// Running lists the operators in flight, by region.
func (c *Controller) Running() []Record {
	list := make([]Record, 0, len(c.byRegion))
	for _, id := range slices.Sorted(maps.Keys(c.byRegion)) {
		list = append(list, c.byRegion[id].record())
	}
	return list
}

// History lists operators that ended, the latest first; all that are remembered if limit is 0.
func (c *Controller) History(limit int) []Record {
	if limit <= 0 || limit > len(c.history) {
		limit = len(c.history)
	}
	list := slices.Clone(c.history[len(c.history)-limit:])
	slices.Reverse(list)
	return list
}

// EndedSince lists the operators that ended after the first n, the latest first, as far as they are remembered, and says how many there are now.
func (c *Controller) EndedSince(n uint64) ([]Record, uint64) {
	all := uint64(0)
	for _, ended := range c.ends {
		all += ended
	}
	if all == n {
		return nil, all
	}
	return c.History(int(all - n)), all
}

// Ended is how many operators have ended in a state.
func (c *Controller) Ended(s Status) uint64 { return c.ends[s] }

// Room is how many more operators of a kind may be added.
func (c *Controller) Room(k Kind) int { return c.limits.Kind[k] - c.counts[k] }

// Influences is what the operators in flight will change about stores. It is not to be changed.
func (c *Controller) Influences() Influences {
	if c.influences == nil {
		c.influences = make(Influences)
		for _, o := range c.byRegion { // order-free: sums
			if r := c.pic.Region(o.Region); r != nil {
				for _, s := range o.Steps[o.run.at:] {
					if !s.Done(r) {
						s.influence(r, c.influences)
					}
				}
			}
		}
	}
	return c.influences
}
