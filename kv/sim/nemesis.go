package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// Step is one thing that goes wrong, and how long it stays so. The steps of a run are drawn before it begins (Plan), so a run is its Config and
// its Steps: whoever has both can play it again, and leave steps out.
type Step struct {
	// At is counted from the beginning of the safety phase. For is 0 when the fault needs no undoing.
	At  time.Duration `json:"at"`
	For time.Duration `json:"for,omitempty"`
	// Do names the nemesis, How its variant.
	Do  string `json:"do"`
	How string `json:"how,omitempty"`
	// Who it happens to, and With whom: names of processes, or who "leader" and "follower" of the region that holds Key are at that moment.
	Who  []string `json:"who,omitempty"`
	With []string `json:"with,omitempty"`
	Key  string   `json:"key,omitempty"`
	// Amount is the nemesis' own measure.
	Amount float64 `json:"amount,omitempty"`
}

// String is the step in one line.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", s.At, s.Do)
	if s.How != "" {
		b.WriteString(" " + s.How)
	}
	if len(s.Who) > 0 {
		b.WriteString(" " + strings.Join(s.Who, ","))
	}
	if len(s.With) > 0 {
		b.WriteString(" from " + strings.Join(s.With, ","))
	}
	if s.Amount != 0 {
		fmt.Fprintf(&b, " %.3g", s.Amount)
	}
	if s.For > 0 {
		fmt.Fprintf(&b, " for %s", s.For)
	}
	return b.String()
}

// nemesis is one kind of fault: an actor with a random stream of its own.
type nemesis struct {
	name string
	// every is the mean time between two steps at strength 1.
	every time.Duration
	// draw makes a step, without its At.
	draw func(d *draft) Step
	// do performs it, and returns how to undo it, if that is to be done before or when For is over. It answers false when there was nothing to be done
	// to anybody: the leader of a region without one cannot be killed.
	do func(c *Cluster, s Step) (undo func(), done bool)
}

// nemeses are all kinds of faults. A new one is a file with a function that returns it, and a line here. Their order decides between steps of
// the same instant.
func nemeses() []nemesis {
	return slices.Concat(processNemeses(), clockNemeses(), networkNemeses(), weatherNemeses(), diskNemeses(), memberNemeses())
}

// Nemeses are the names of the kinds of faults, as Config.Faults has them.
func Nemeses() []string {
	var names []string
	for _, n := range nemeses() {
		names = append(names, n.name)
	}
	return names
}

// Plan draws the steps of a run, in the order in which they happen.
func Plan(cfg Config) []Step {
	var steps []Step
	for _, n := range nemeses() {
		strength := cfg.Faults[n.name]
		if strength <= 0 {
			continue
		}
		d := &draft{cfg: &cfg, rng: world.Stream(cfg.Seed, "nemesis/"+n.name)}
		for at := time.Duration(0); ; {
			at += time.Duration(float64(n.every) / strength * d.rng.ExpFloat64())
			if at >= cfg.Duration {
				break
			}
			s := n.draw(d)
			s.At, s.Do = at.Truncate(time.Microsecond), n.name
			steps = append(steps, s)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return int(a.At - b.At) })
	return steps
}

// Check says what is wrong with steps that come from outside.
func Check(steps []Step) error {
	known := Nemeses()
	for _, s := range steps {
		if !slices.Contains(known, s.Do) {
			return errors.Errorf("there is no nemesis %q; there are %s", s.Do, strings.Join(known, ", "))
		}
	}
	return nil
}

// faults are what is wrong at the moment.
type faults struct {
	nemeses map[string]*nemesis
	// undo holds, in the order of their beginning, what must be undone.
	undo []*undoing
	// cuts counts, for each direction between two processes, the faults that cut it.
	cuts map[[2]int]int
}

type undoing struct {
	undo func()
	over bool
}

func (u *undoing) now() {
	if !u.over {
		u.over = true
		u.undo()
	}
}

func newFaults() faults {
	f := faults{nemeses: make(map[string]*nemesis), cuts: make(map[[2]int]int)}
	for _, n := range nemeses() {
		f.nemeses[n.name] = &n
	}
	return f
}

// strike makes every step happen at its time from now on.
func (c *Cluster) strike(steps []Step) {
	for _, s := range steps {
		c.w.After(s.At, func() { c.perform(s) })
	}
}

func (c *Cluster) perform(s Step) {
	undo, done := c.faults.nemeses[s.Do].do(c, s)
	if !done {
		return
	}
	c.count(s.Do)
	text := s.String()
	c.w.Trace.Add(world.Fault, nil, []byte(text))
	c.w.Trace.Tell(world.Fault, nil, nil, text)
	if undo == nil {
		return
	}
	u := &undoing{undo: undo}
	c.faults.undo = append(c.faults.undo, u)
	c.w.After(s.For, u.now)
}

// count notes that a fault had an effect.
func (c *Cluster) count(fault string) { c.result.Counts.Faults[fault]++ }

// heal undoes everything: all processes are up, the network is fair, the clocks are right and the disks work.
func (c *Cluster) heal() {
	c.w.Trace.Add(world.Fault, nil, []byte("heal"))
	c.w.Trace.Tell(world.Fault, nil, nil, "everything is healed")
	for _, u := range c.faults.undo {
		u.now()
	}
	c.faults.undo = nil
	c.net.HealAll()
	c.net.Weather = world.Fair
	for _, s := range c.stores {
		s.disk.heal()
	}
	for _, p := range c.servers() {
		p.Drift(1)
		p.SetWallRight()
		p.Resume()
		c.revive(p)
	}
}

// servers are the processes that can fail: stores, then schedulers.
func (c *Cluster) servers() []*world.Process {
	var ps []*world.Process
	for _, s := range c.stores {
		ps = append(ps, s.p)
	}
	return append(ps, c.sched.p)
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
		return
	}
	p.Kill()
}

// revive starts a process that is down.
func (c *Cluster) revive(p *world.Process) {
	if s := c.storeOf(p); s != nil {
		s.start()
	} else if !p.Up() {
		p.Start()
	}
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
			if p.Name == name || name == leader && p == c.leaderOf(s.Key) || name == follower && p == c.followerOf(s.Key) {
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
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if v, at := leading(all[id]); v != nil && region.Contains(v.Region, key) {
			return v, c.stores[at-1]
		}
	}
	return nil, nil
}

// initialized says that all peers of a region have its data.
func (c *Cluster) initialized(v *machine.RegionView) bool {
	for _, q := range v.Region.Peers {
		s := c.stores[q.StoreId-1]
		if !s.p.Up() {
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
		if q.StoreId != s.id {
			return c.stores[q.StoreId-1].p
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
	return time.Duration(float64(lo) * pow(ratio, d.rng.Float64())).Truncate(time.Millisecond / 10)
}

// amount draws a number from [lo, hi), proportionally too.
func (d *draft) amount(lo, hi float64) float64 { return lo * pow(hi/lo, d.rng.Float64()) }

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
