// Package sim runs a whole cluster in one goroutine from one seed: stores, schedulers, clients, and the network, disks and
// clocks that fail them. What is under test is the product's own code: machines, router, queues and their limits, disk steps, storage and
// the commands of clients. Only the engine (memdb), the network, the clocks and the schedulers' durable map are modelled.
//
// A run is a Config (Draw) and a list of Steps (Plan), both drawn from the seed, and has two phases. In the first, the steps happen: faults come and go. Then everything is healed, and the cluster must
// come right within a bounded time: every region has a leader and answers. All the while the machines' rounds are held against the invariants
// (package check), and at the end the clients' history against linearizability. What the seed did can be seen in the trace, whose hash is the same in every
// run of the same seed and commit.
//
//	world        time, processes, network, trace: knows nothing of a database
//	store.go     a store: the product's, its workers taken step by step
//	disk.go      the store's engines, which forget what was not synced, and fail
//	front.go     what a client's request meets on a store
//	scheduler.go the scheduler group; it names its other files
//	client.go    clients with a real client's routing and retries
//	watch.go     what stores decide and do goes to the checker (package check), ledger.go what they hold
//	judge.go     the end of a run: is everything whole, and does it fit what clients saw (package history)?
//	nemesis.go   faults: their steps, their undoing; a nemesis_*.go for each family of them
//	swarm.go     what a seed draws
//	shrink.go    fewer steps that still show a violation
package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/sim/check"
	"github.com/shoal-kv/shoal/kv/sim/history"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Result is what a run came to.
type Result struct {
	Seed uint64 `json:"seed"`
	// Hash covers every message, write, reply and published view. Equal seeds give equal hashes.
	Hash    uint64        `json:"hash"`
	Virtual time.Duration `json:"virtual"`
	// Healed is how long the cluster took to come right after everything was healed.
	Healed time.Duration `json:"healed"`
	// Violations are the things that were wrong, first come first; a run ends at the first that an event showed.
	Violations []string `json:"violations,omitempty"`
	Counts     Counts   `json:"counts"`
}

// Counts tell how much a run exercised.
type Counts struct {
	Events, Messages, Lost            int
	Operations, Answered, Undecided   int
	Kills, Suspensions, Snapshots     int
	Elections, Cuts, SchedulerChanges int
	// Regions is how many there are in the end, Changes counts the configurations and ranges that regions went through.
	Regions, Changes int
	// Unknown counts the groups of keys whose history was too hard to judge.
	Unknown int
	// DiskFailures are stores that stopped, or did not start, because of their disk; Flips snapshot files with a wrong bit.
	DiskFailures, Flips int
	// Faults counts the steps of each nemesis that hit somebody.
	Faults map[string]int `json:",omitempty"`
}

// Err is the first violation, or nil.
func (r *Result) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return errors.Errorf("seed %d: %s", r.Seed, r.Violations[0])
}

// Cluster is one run.
type Cluster struct {
	cfg    Config
	w      *world.World
	net    *world.Network
	stores []*store
	sched  *schedulers
	// clients come and go with the scenario.
	clients []*client
	faults  faults
	keys    *keySpace
	history *history.History
	checker *check.Checker
	result  Result
	// packets numbers the messages for the trace's readers.
	packets uint64
	// home is the first region's id.
	home uint64
	// filter, when not nil, may take a raft message out of the network's hands by answering false.
	filter func(from, to *store, m *raft_serverpb.RaftMessage, deliver func()) bool
}

// New builds a cluster of stores that are down, and tells the sink what happens from now on; sink may be nil.
func New(cfg Config, sink func(world.Entry)) *Cluster {
	c := &Cluster{cfg: cfg, w: world.New(cfg.Seed, world.NewTrace(sink)), faults: newFaults(), result: Result{Seed: cfg.Seed}}
	c.net, c.keys = c.w.NewNetwork(), newKeySpace()
	c.checker = check.New(func(what string) { c.violate("%s", what) })
	c.history = history.New(func() time.Duration { return time.Duration(c.w.Now()) })
	c.result.Counts.Faults = make(map[string]int)
	c.sched = newSchedulers(c)
	for id := uint64(1); id <= uint64(cfg.Stores); id++ {
		c.stores = append(c.stores, newStore(c, id))
	}
	return c
}

// Boot makes the first region on the first store and starts everything.
func (c *Cluster) Boot() {
	c.sched.start()
	for _, s := range c.stores {
		s.join()
	}
	for _, s := range c.stores {
		s.found()
	}
	for _, s := range c.stores {
		s.start()
	}
	for i := range c.cfg.Clients {
		c.clients = append(c.clients, newClient(c, i))
	}
	for _, cl := range c.clients {
		cl.start()
	}
}

// Run plays one seed to its end.
func Run(cfg Config, sink func(world.Entry)) Result { return Play(cfg, Plan(cfg), sink) }

// Play is Run with steps that were drawn elsewhere: all of a run's, which repeats it, or fewer.
func Play(cfg Config, steps []Step, sink func(world.Entry)) Result {
	c := New(cfg, sink)
	c.guard(func() { c.live(steps) })
	return c.finish()
}

// live is the life of a cluster in its three parts: it is set up, it suffers, it recovers.
func (c *Cluster) live(steps []Step) {
	c.Boot()
	c.setUp()
	c.net.Weather = c.cfg.Weather
	c.strike(steps)
	c.w.RunUntil(c.w.Now() + world.Time(c.cfg.Duration))
	c.heal()
	healed := c.w.Now()
	c.judge()
	c.result.Healed = time.Duration(c.w.Now() - healed)
}

// setUp waits until the first region has its replicas, and all of them vote.
func (c *Cluster) setUp() {
	deadline := c.w.Now() + world.Time(recovery)
	for !c.w.Halted() {
		v, _ := c.leadership(nil)
		if v != nil && len(v.Region.Peers) == min(c.cfg.Replicas, len(c.stores)) && !slices.ContainsFunc(v.Region.Peers, learns) && c.initialized(v) {
			return
		}
		if c.w.Now() >= deadline {
			c.violate("the first region has no replicas %s after its beginning", recovery)
		}
		c.w.RunUntil(c.w.Now() + world.Time(100*time.Millisecond))
	}
}

func learns(p *metapb.Peer) bool { return p.Role == metapb.PeerRole_Learner }

func (c *Cluster) finish() Result {
	c.result.Hash = c.w.Trace.Sum()
	c.result.Virtual = time.Duration(c.w.Now())
	c.result.Counts.Events = c.w.Events
	c.result.Counts.Messages, c.result.Counts.Lost = c.net.Sent, c.net.Lost
	for _, s := range c.stores {
		c.result.Counts.Flips += s.disk.flips
	}
	c.result.Counts.Elections, c.result.Counts.Changes = c.checker.Elections, c.checker.Changes
	c.result.Counts.Regions = len(c.regions())
	return c.result
}

// violate notes that something is wrong, and ends the run: what follows from a broken state says nothing.
func (c *Cluster) violate(format string, args ...any) {
	what := fmt.Sprintf("at %s: %s", c.w.Now(), fmt.Sprintf(format, args...))
	c.result.Violations = append(c.result.Violations, what)
	c.w.Trace.Tell(world.Fault, nil, nil, "VIOLATION "+what)
	c.w.Halt()
}

// must is for what cannot fail, unless the simulator is wrong.
func (c *Cluster) must(err error) {
	if err != nil {
		c.violate("unexpected error: %+v", err)
	}
}
