package sim

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// Whom a nemesis hits: drawn by name before the run, found when the step is done.

// servers are the processes that can fail: stores, then schedulers.
func (c *Cluster) servers() []*world.Process {
	var ps []*world.Process
	for _, s := range c.stores {
		ps = append(ps, s.p)
	}
	return append(ps, c.sched.processes()...)
}

// processes are all there are.
func (c *Cluster) processes() []*world.Process {
	ps := c.servers()
	for _, cl := range c.clients {
		ps = append(ps, cl.p)
	}
	return ps
}

// kill ends a process as a crash of its machine does.
func (c *Cluster) kill(p *world.Process) {
	if s := c.storeOf(p); s != nil {
		s.kill()
	} else if m := c.sched.member(p); m != nil {
		m.kill()
	} else {
		p.Kill()
	}
}

// revive starts a process that is down.
func (c *Cluster) revive(p *world.Process) {
	if s := c.storeOf(p); s != nil {
		s.start()
	} else if m := c.sched.member(p); m != nil {
		m.start()
	} else if !p.Up() {
		p.Start()
	}
}

// storeWith is the store that has an id now; nil when its disk was lost and it has another.
func (c *Cluster) storeWith(id uint64) *store {
	for _, s := range c.stores {
		if s.id == id {
			return s
		}
	}
	return nil
}

func (c *Cluster) storeOf(p *world.Process) *store {
	for _, s := range c.stores {
		if s.p == p {
			return s
		}
	}
	return nil
}

// who finds the processes that a step names. Nobody leads a region without a leader.
func (c *Cluster) who(s Step, names []string) []*world.Process {
	var found []*world.Process
	for _, name := range names {
		for _, p := range c.processes() {
			if p.Name == name || name == leader && p == c.leaderOf(s.Key) || name == follower && p == c.followerOf(s.Key) ||
				name == leadingScheduler && p == c.sched.leadingProcess() {
				found = append(found, p)
				break
			}
		}
	}
	return found
}

// whoStores finds those that are stores.
func (c *Cluster) whoStores(s Step) []*store {
	var found []*store
	for _, p := range c.who(s, s.Who) {
		if st := c.storeOf(p); st != nil {
			found = append(found, st)
		}
	}
	return found
}

// views are what the stores that run show, by region and store.
func (c *Cluster) views() map[uint64]map[uint64]*machine.RegionView {
	all := make(map[uint64]map[uint64]*machine.RegionView)
	for _, s := range c.stores {
		if !s.p.Up() {
			continue
		}
		s.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: a map of them
			if all[id] == nil {
				all[id] = make(map[uint64]*machine.RegionView)
			}
			all[id][s.id] = v
			return true
		})
	}
	return all
}

// leading is the leader of the newest term.
func leading(views map[uint64]*machine.RegionView) (best *machine.RegionView, store uint64) {
	for id, v := range views { // order-free: one leader a term
		if v.IsLeader && (best == nil || v.Term > best.Term) {
			best, store = v, id
		}
	}
	return best, store
}

// leadership is who leads the region that holds a key, and where; nil when nobody does, as far as the stores that run know.
func (c *Cluster) leadership(key []byte) (*machine.RegionView, *store) {
	all := c.views()
	var best *machine.RegionView
	var on *store
	for _, id := range slices.Sorted(maps.Keys(all)) {
		v, at := leading(all[id])
		if v == nil || !region.Contains(v.Region, key) {
			continue
		}
		// A leader that was left behind may still show the range that its region had once.
		if best == nil || v.Region.RegionEpoch.GetVersion() > best.Region.RegionEpoch.GetVersion() {
			best, on = v, c.storeWith(at)
		}
	}
	return best, on
}

// initialized says that all peers of a region have its data.
func (c *Cluster) initialized(v *machine.RegionView) bool {
	for _, q := range v.Region.Peers {
		s := c.storeWith(q.StoreId)
		if s == nil || !s.p.Up() {
			return false
		}
		if mine := s.st.View(v.Region.Id); mine == nil || mine.PeerID != q.Id || !mine.Initialized {
			return false
		}
	}
	return true
}

// Names in steps that stand for whoever it is at that moment.
const (
	leader   = "leader"
	follower = "follower"
)

func (c *Cluster) leaderOf(key string) *world.Process {
	if v, s := c.leadership([]byte(key)); v != nil {
		return s.p
	}
	return nil
}

// followerOf is the first of the region's other peers.
func (c *Cluster) followerOf(key string) *world.Process {
	v, s := c.leadership([]byte(key))
	if v == nil {
		return nil
	}
	for _, q := range v.Region.Peers {
		if other := c.storeWith(q.StoreId); other != nil && other != s {
			return other.p
		}
	}
	return nil
}

// draft is where the particulars of steps come from: a nemesis' own random stream, and the run's configuration.
type draft struct {
	cfg *Config
	rng *rand.Rand
}

// between draws a duration; short ones are as likely as long ones, in proportion.
func (d *draft) between(lo, hi time.Duration) time.Duration {
	ratio := float64(hi) / float64(lo)
	return time.Duration(float64(lo) * math.Pow(ratio, d.rng.Float64())).Truncate(time.Millisecond / 10)
}

// amount draws a number from [lo, hi), proportionally too.
func (d *draft) amount(lo, hi float64) float64 { return lo * math.Pow(hi/lo, d.rng.Float64()) }

// drawKey draws a key of those that clients use, or would.
func drawKey(rng *rand.Rand) string {
	return fmt.Sprintf("g%02d.%03d/%d", rng.IntN(groupSlots), rng.IntN(2), rng.IntN(groupKeys))
}

// stores names n stores.
func (d *draft) stores(n int) []string {
	names := make([]string, 0, n)
	for _, i := range d.rng.Perm(d.cfg.Stores)[:n] {
		names = append(names, storeName(uint64(i+1)))
	}
	return names
}

// server names one process: often a store, at times a leader, seldom a scheduler.
func (d *draft) server() string {
	switch x := d.rng.Float64(); {
	case x < 0.15:
		return schedulerName(1 + d.rng.IntN(d.cfg.Schedulers))
	case x < 0.45:
		return leader
	case x < 0.5:
		return follower
	default:
		return d.stores(1)[0]
	}
}

// side splits all processes, and names those of one side.
func (d *draft) side(stores []string) []string {
	who := slices.Clone(stores)
	for i := range d.cfg.Schedulers {
		if world.Chance(d.rng, 0.3) {
			who = append(who, schedulerName(i+1))
		}
	}
	for i := range d.cfg.Clients {
		if world.Chance(d.rng, 0.3) {
			who = append(who, clientName(i))
		}
	}
	return who
}
