package schedule

import (
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

// Stores are compared by scores: what they hold, and what operators in flight will bring and take, divided by their weight. Something is moved only if the store it leaves is still not
// below the one it comes to, and only if they differ by more than a tolerance that grows with what there is. So no move calls for the opposite one,
// and the noise of sizes that are estimates moves nothing (PITFALLS P7).

// tolerance is the share of what a store holds on average that stores may differ by.
const tolerance = 0.005

// leastWeight stands in for a weight of zero.
const leastWeight = 1e-6

// regionScore is how full a store is with regions; more is the weight that it would have besides.
func (c *Coordinator) regionScore(s *cluster.Store, more int64) float64 {
	held := c.pic.Tally(s.ID()).RegionWeight + c.ctl.Influences().Of(s.ID()).RegionWeight + more
	score := float64(held) / max(s.Tuning.RegionWeight, leastWeight)
	if used := s.Used(); used > c.cfg.HighSpaceRatio {
		score *= 1 + 10*(used-c.cfg.HighSpaceRatio)/max(1-c.cfg.HighSpaceRatio, 0.01)
	}
	return score
}

// leaderScore is how much a store has to lead; more is how many leaders, or how much of their size, it would have besides.
func (c *Coordinator) leaderScore(s *cluster.Store, more int64) float64 {
	t, i := c.pic.Tally(s.ID()), c.ctl.Influences().Of(s.ID())
	held := int64(t.Leaders + i.Leaders)
	if c.cfg.LeaderSchedulePolicy == "size" {
		held = t.LeaderWeight + i.LeaderWeight
	}
	return float64(held+more) / max(s.Tuning.LeaderWeight, leastWeight)
}

// evens says that moving a region makes two stores more even, and that it is worth it.
func (c *Coordinator) evens(from, to *cluster.Store, r *cluster.Region) bool {
	w := r.Weight()
	if c.regionScore(from, -w) < c.regionScore(to, +w) {
		return false
	}
	return c.regionScore(from, 0)-c.regionScore(to, 0) > c.regionTolerance(from)
}

// regionTolerance is by how much a store may be fuller than another without anything being moved.
func (c *Coordinator) regionTolerance(from *cluster.Store) float64 {
	t := c.pic.Tally(from.ID())
	average := float64(t.RegionWeight) / float64(max(1, t.Regions))
	most := c.cfg.TolerantSizeRatio
	if most == 0 {
		most = max(1, tolerance*float64(t.Regions))
	}
	return most * average / max(from.Tuning.RegionWeight, leastWeight)
}

// evensLeaders is evens for a leader.
func (c *Coordinator) evensLeaders(from, to *cluster.Store, r *cluster.Region) bool {
	one := int64(1)
	if c.cfg.LeaderSchedulePolicy == "size" {
		one = r.Weight()
	}
	if c.leaderScore(from, -one) < c.leaderScore(to, +one) {
		return false
	}
	return c.leaderScore(from, 0)-c.leaderScore(to, 0) > c.leaderTolerance(from, float64(one))
}

// leaderTolerance is by how much a store may lead more than another without a leader that counts as one being moved.
func (c *Coordinator) leaderTolerance(from *cluster.Store, one float64) float64 {
	most := c.cfg.TolerantSizeRatio
	if most == 0 {
		most = max(1, tolerance*float64(c.pic.Tally(from.ID()).Leaders))
	}
	return most * one / max(from.Tuning.LeaderWeight, leastWeight)
}

// Tolerance is by how much a store's scores may be above those of any other without anything being moved: for leaders, of which it takes an average one, and for regions.
func (c *Coordinator) Tolerance(of *cluster.Store) (leaders, regions float64) {
	one := 1.0
	if c.cfg.LeaderSchedulePolicy == "size" {
		t := c.pic.Tally(of.ID())
		one = float64(t.LeaderWeight) / float64(max(1, t.Leaders))
	}
	return c.leaderTolerance(of, one), c.regionTolerance(of)
}

// mayTake says what keeps a store from being given a new peer of a region.
func (c *Coordinator) mayTake(s *cluster.Store, r *cluster.Region, now time.Time) Barrier {
	if b := notUp(s.State(now)); b != Open {
		return b
	}
	coming := c.ctl.Influences().Of(s.ID()).Arriving
	switch {
	case s.Stats.IsBusy:
		return Busy
	case c.tooFull(s):
		return TooFull
	case int(s.Stats.SendingSnapshots+s.Stats.ReceivingSnapshots+s.Stats.ApplyingSnapshots)+coming >= max(1, c.cfg.MaxSnapshotCount):
		return Snapshots
	case c.pic.Tally(s.ID()).Pending+coming >= max(1, c.cfg.MaxPendingPeerCount):
		return PendingPeers
	case !c.ctl.MayAdd(s.ID(), r, now):
		return AddLimit
	}
	return Open
}

const (
	// aFew regions, on a store with this much space left, are no reason to look at what share of its disk that is: others fill a disk, too. The first replicas of
	// a small cluster must find a place (tikv/pd #5391).
	aFew        = 30
	enoughSpace = 8 << 30 // bytes
)

// tooFull says that a store has too little space left for more peers.
func (c *Coordinator) tooFull(s *cluster.Store) bool {
	if c.pic.Tally(s.ID()).Regions < aFew && s.Stats.Available > enoughSpace {
		return false
	}
	return s.Used() > c.cfg.LowSpaceRatio
}

// mayLead says what keeps a store from being given a leader.
func (c *Coordinator) mayLead(s *cluster.Store, now time.Time) Barrier {
	if b := notUp(s.State(now)); b != Open {
		return b
	}
	if s.Stats.IsBusy {
		return Busy
	}
	return c.sheds(s.ID())
}

// canLead are the peers of a region that could lead it by its state and by its rules.
func (c *Coordinator) canLead(r *cluster.Region) []*metapb.Peer {
	var list []*metapb.Peer
	var followers map[uint64]bool
	for _, rule := range c.rules.For(r.Meta.StartKey) {
		if rule.Role == placement.Leader || rule.Role == placement.Follower {
			followers = c.mustFollow(r)
			break
		}
	}
	for _, p := range r.Meta.Peers {
		if p.Role == metapb.PeerRole_Voter && !r.IsPending(p.Id) && r.DownSeconds(p.Id) == 0 && !followers[p.Id] {
			list = append(list, p)
		}
	}
	return list
}

// mustFollow are the peers that the rules keep from leading.
func (c *Coordinator) mustFollow(r *cluster.Region) map[uint64]bool {
	follow := make(map[uint64]bool)
	fit := placement.FitRegion(c.store, r, c.rules.For(r.Meta.StartKey), func(*metapb.Peer) bool { return true })
	for _, rf := range fit.Rules {
		for _, p := range rf.Peers {
			follow[p.Id] = rf.Rule.Role == placement.Follower
		}
	}
	return follow
}

// bestLeader is the store with the least to lead of several; 0 if none may lead. Stores that shed their leaders are the last choice.
func (c *Coordinator) bestLeader(stores []uint64) uint64 {
	best, least, sheds := uint64(0), 0.0, true
	for _, id := range stores {
		s := c.pic.Store(id)
		if s == nil || s.Meta.State != metapb.StoreState_Up {
			continue
		}
		score, shedding := c.leaderScore(s, 0), c.sheds(id) != Open
		if best == 0 || (sheds && !shedding) || (sheds == shedding && score < least) {
			best, least, sheds = id, score, shedding
		}
	}
	return best
}

// settled says that a region needs nothing: it may be moved for the sake of others.
func (c *Coordinator) settled(r *cluster.Region) bool {
	if r.Leader == nil || len(r.Down) > 0 || len(r.Pending) > 0 || r.InJoint() || c.ctl.Has(r.ID()) {
		return false
	}
	fit := placement.FitRegion(c.store, r, c.rules.For(r.Meta.StartKey), func(*metapb.Peer) bool { return true })
	return fit.Satisfied()
}

// move makes the operator that takes a region's peer from one store to another.
func (c *Coordinator) move(desc string, kind operator.Kind, priority operator.Priority, r *cluster.Region, from, to uint64) (*operator.Operator, error) {
	targets := present(r)
	for i := range targets {
		if targets[i].Store == from {
			targets[i].Store = to
		}
	}
	steps, err := operator.Build(r, targets, c.options())
	if err != nil {
		return nil, err
	}
	return operator.New(desc, fmt.Sprintf("mv peer: store [%d] to [%d]", from, to), kind, priority, r, steps...), nil
}

// transfer makes the operator that gives a region another leader.
func transfer(desc string, priority operator.Priority, kind operator.Kind, r *cluster.Region, to uint64) *operator.Operator {
	step := operator.TransferLeader{From: r.LeaderStore(), To: to}
	return operator.New(desc, fmt.Sprintf("transfer leader: store %d to %d", r.LeaderStore(), to), kind, priority, r, step)
}
