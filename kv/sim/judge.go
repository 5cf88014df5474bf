package sim

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"sort"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

const (
	// recovery is how long a healed cluster may take until every region answers and every replica is whole.
	recovery = 60 * time.Second
	// searchSteps bounds the search for an order of one group of keys.
	searchSteps = 2_000_000
)

// judge is the end of a run. Everything has just been healed: no fault is in force, and every process runs. Then, within the time of recovery,
// every operation is answered, every region has one leader and its replicas, and they are equal; leaders are spread as well as the replicas allow, and the schedulers'
// picture is what the stores say. Then the cluster comes to rest: schedulers that go on moving things when nothing happens are wrong somewhere (P7). And what the clients
// saw in all the run, and see now, fits together.
func (c *Cluster) judge() {
	deadline := c.w.Now() + world.Time(recovery)
	c.sched.calm()
	for _, cl := range c.clients {
		cl.resting = true
	}
	c.w.RunWhile(deadline, c.clientsBusy)
	c.sweep(deadline)
	c.settle(deadline)
	c.rest()
	if c.w.Halted() {
		return
	}
	c.compareReplicas()
	v := c.history.Check(groupOf, searchSteps)
	c.result.Counts.Unknown = v.Unknown
	if v.Violation != "" {
		c.violate("%s", v.Violation)
	}
}

// guard turns a panic of the product into a violation: in a real store it is the process's death.
func (c *Cluster) guard(run func()) {
	defer func() {
		if what := recover(); what != nil {
			c.violate("panic: %v", what)
			c.w.Trace.Tell(world.Fault, nil, nil, string(debug.Stack()))
		}
	}()
	run()
}

func (c *Cluster) clientsBusy() bool {
	for _, cl := range c.clients {
		if cl.busy {
			return true
		}
	}
	return false
}

// sweep writes to every group of keys and reads everything.
func (c *Cluster) sweep(deadline world.Time) {
	if len(c.clients) == 0 || c.w.Halted() {
		return
	}
	if c.clientsBusy() {
		c.violate("a client's operation is not over %s after healing", recovery)
		return
	}
	cl, swept := c.clients[0], false
	var tasks []*task
	for _, g := range c.keys.groups {
		tasks = append(tasks, cl.put(g.keys[0], g.swaps()))
	}
	tasks = append(tasks, cl.scan(nil, nil, 1<<20))
	var next func()
	next = func() {
		if swept = len(tasks) == 0; swept {
			return
		}
		t := tasks[0]
		tasks = tasks[1:]
		cl.patience = time.Duration(deadline - c.w.Now())
		cl.do(t, func(ok bool) {
			if !ok {
				c.violate("a %s at %q is not answered %s after healing", t.name, t.keys[0], recovery)
				return
			}
			next()
		})
	}
	next()
	c.w.RunWhile(deadline, func() bool { return !swept })
	if !swept && !c.w.Halted() {
		c.violate("not every operation is answered %s after healing: %s", recovery, c.lacking())
	}
}

// settle waits until every region is whole.
func (c *Cluster) settle(deadline world.Time) {
	for !c.w.Halted() {
		lacking := c.lacking()
		if lacking == "" {
			return
		}
		if c.w.Now() >= deadline {
			c.violate("%s after healing %s", recovery, lacking)
			return
		}
		c.w.RunUntil(c.w.Now() + world.Time(100*time.Millisecond))
	}
}

// quiet is how long the schedulers must find nothing to do. Each of them looks again within half of it.
const quiet = 10 * time.Second

// rest waits until the schedulers have nothing to do any more, and everything is still right then. As long as there are more and more regions it is the stores that
// find no rest.
func (c *Cluster) rest() {
	if c.sched.off || c.w.Halted() {
		return
	}
	deadline := c.w.Now() + world.Time(recovery)
	var term *schedulerTerm
	var made uint64
	most := 0
	for since := c.w.Now(); c.w.Now() < since+world.Time(quiet); c.w.RunUntil(c.w.Now() + world.Time(100*time.Millisecond)) {
		t := c.sched.leading()
		if t != nil && t.m.Picture.RegionCount() > most {
			most, deadline = t.m.Picture.RegionCount(), c.w.Now()+world.Time(recovery)
		}
		if t == nil || t != term || t.made() != made {
			if since = c.w.Now(); since > deadline {
				c.violate("the schedulers find no rest %s after the cluster is right: %s", recovery, c.sched.busyWith())
			}
			if term = t; t != nil {
				made = t.made()
			}
		}
		if c.w.Halted() {
			return
		}
	}
	// An entry of somebody's own accord, a cut of the log for one, may be on its way at any time.
	for deadline = c.w.Now() + world.Time(quiet); c.lacking() != ""; c.w.RunUntil(c.w.Now() + world.Time(100*time.Millisecond)) {
		if c.w.Now() >= deadline {
			c.violate("at rest %s", c.lacking())
		}
		if c.w.Halted() {
			return
		}
	}
}

// shown is what the stores show of one region.
type shown struct {
	id      uint64
	leader  *store
	region  *metapb.Region // the leader's
	applied uint64         // by the leader
	on      []*store
	leaders int
}

// regions lists what the stores show, by region id.
func (c *Cluster) regions() []*shown {
	byID := make(map[uint64]*shown)
	var all []*shown
	for _, s := range c.stores {
		if !s.p.Up() {
			continue
		}
		s.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: sorted below
			if !v.Initialized {
				return true
			}
			r := byID[id]
			if r == nil {
				r = &shown{id: id}
				byID[id], all = r, append(all, r)
			}
			r.on = append(r.on, s)
			if v.IsLeader && v.Ready {
				r.leaders++
				r.leader, r.region, r.applied = s, v.Region, s.appliedIndex(id)
			}
			return true
		})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	return all
}

func (s *store) appliedIndex(regionID uint64) uint64 {
	state := new(raft_serverpb.RaftApplyState)
	if b := s.read(s.disk.state, keys.ApplyState(regionID)); b != nil {
		s.c.must(state.Unmarshal(b))
	}
	return state.AppliedIndex
}

// lacking says in words what is not as it shall be, empty when all is.
func (c *Cluster) lacking() string {
	if what := c.hollow(); what != "" {
		return what
	}
	regions := c.regions()
	for _, r := range regions {
		if r.leaders != 1 {
			return fmt.Sprintf("region %d has %d leaders that are ready", r.id, r.leaders)
		}
		if what := c.lacks(r); what != "" {
			return fmt.Sprintf("region %d, led by store %d: %s%s", r.id, r.leader.id, what, c.sched.why(r.id))
		}
	}
	sort.Slice(regions, func(i, j int) bool { return bytes.Compare(regions[i].region.StartKey, regions[j].region.StartKey) < 0 })
	var end []byte
	for i, r := range regions {
		if !bytes.Equal(end, r.region.StartKey) || i > 0 && len(end) == 0 {
			return fmt.Sprintf("no region begins where the one before ends, at %q: the next is region %d at %q", end, r.id, r.region.StartKey)
		}
		end = r.region.EndKey
	}
	if len(regions) == 0 || len(end) > 0 {
		return fmt.Sprintf("no region holds the keys from %q on", end)
	}
	return c.sched.settled()
}

// hollow names a peer that has no data and will hardly ever get some: a message of the past made it.
func (c *Cluster) hollow() (what string) {
	for _, s := range c.stores {
		if !s.p.Up() {
			continue
		}
		s.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: the last one by id
			if text := fmt.Sprintf("store %d has peer %d of region %d without data", s.id, v.PeerID, id); !v.Initialized && !v.Gone && text > what {
				what = text
			}
			return true
		})
	}
	return what
}

func (c *Cluster) lacks(r *shown) string {
	if want := min(c.cfg.Replicas, len(c.stores)); len(r.region.Peers) < want {
		return fmt.Sprintf("it has %d peers, not %d", len(r.region.Peers), want)
	}
	for _, p := range r.region.Peers {
		if p.Role != metapb.PeerRole_Voter {
			return fmt.Sprintf("peer %d is a %s", p.Id, p.Role)
		}
		s := c.storeWith(p.StoreId)
		if s == nil || !s.p.Up() {
			return fmt.Sprintf("store %d is down", p.StoreId)
		}
		v := s.st.View(r.id)
		switch {
		case v == nil || v.Gone || v.PeerID != p.Id || !v.Initialized:
			return fmt.Sprintf("peer %d on store %d is not there", p.Id, p.StoreId)
		case !region.SameEpoch(v.Region.RegionEpoch, r.region.RegionEpoch):
			return fmt.Sprintf("peer %d on store %d has epoch %v, not %v", p.Id, p.StoreId, v.Region.RegionEpoch, r.region.RegionEpoch)
		case s.appliedIndex(r.id) != r.applied:
			return fmt.Sprintf("peer %d on store %d has applied index %d, not %d", p.Id, p.StoreId, s.appliedIndex(r.id), r.applied)
		}
	}
	for _, s := range r.on {
		if region.FindPeerOn(r.region, s.id) == nil {
			return fmt.Sprintf("store %d still has a peer of it", s.id)
		}
	}
	return ""
}

// compareReplicas reads every replica of every region anew. What belongs to no region of its store was forgotten there when a range went elsewhere.
func (c *Cluster) compareReplicas() {
	for _, s := range c.stores {
		if key := newLedger(s.disk.state).stray(s.regionsOnDisk()); key != "" {
			c.violate("store %d holds the key %q, which none of its regions has", s.id, key)
		}
	}
	for _, r := range c.regions() {
		want := newLedger(r.leader.disk.state).sum(r.region.StartKey, r.region.EndKey)
		for _, s := range r.on {
			if s.appliedIndex(r.id) == r.applied && newLedger(s.disk.state).sum(r.region.StartKey, r.region.EndKey) != want {
				c.violate("region %d: stores %d and %d hold different data at applied index %d", r.id, r.leader.id, s.id, r.applied)
			}
		}
	}
}
