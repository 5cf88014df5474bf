// Package sim runs a cluster in one goroutine from one seed. Time is virtual: a heap of events, ordered by time and
// then by the order of their making. The stores are the product's own machines, and their rounds are carried out by the same CarryOut and the same
// disk steps as in production; only the network, the clock, the engines (memdb) and the scheduler are modelled.
//
// This is the smoke simulation that proves the frame: three stores, message loss, delay and duplication, crashes that lose what
// was not synced, one client whose writes and reads are checked, and a hash over everything that happened.
package sim

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Config says what a run is like.
type Config struct {
	Seed     uint64
	Stores   int
	Duration time.Duration
	// Loss and Duplicate are probabilities for each message between stores. CrashEvery is the mean time between crashes, 0 for none.
	Loss, Duplicate float64
	CrashEvery      time.Duration
	// Machine is the stores' configuration; StoreID is set for each.
	Machine machine.Config
	Tick    time.Duration
}

// Result is what a run came to.
type Result struct {
	// Hash covers every message, write, reply and view. Equal seeds give equal hashes.
	Hash                              uint64
	Events, Acked, Reads, Crashes     int
	Undetermined, Rejected, Snapshots int
	// Violation is the first thing that was wrong, nil if nothing was.
	Violation error
}

// Cluster is one run.
type Cluster struct {
	cfg    Config
	now    machine.Instant
	events eventHeap
	seq    uint64
	rng    *rand.Rand
	hash   *xxhash.Digest
	stores []*store
	sched  *scheduler
	client *client
	result Result
}

type event struct {
	at  machine.Instant
	seq uint64
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// Run plays one seed to its end.
func Run(cfg Config) Result {
	c := &Cluster{cfg: cfg, now: 1, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5EED)), hash: xxhash.New()}
	c.sched = newScheduler(c)
	for id := uint64(1); id <= uint64(cfg.Stores); id++ {
		c.stores = append(c.stores, newStore(c, id))
	}
	first := &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 2, StoreId: 1}}}
	c.must(c.stores[0].writeFirst(first))
	for _, s := range c.stores {
		s.start()
	}
	c.client = newClient(c)
	c.client.next()
	if cfg.CrashEvery > 0 {
		c.scheduleCrash()
	}
	quiet := machine.Instant(cfg.Duration) * 3 / 4 // faults end here; then everything must come right again
	c.runUntil(quiet)
	c.cfg.Loss, c.cfg.Duplicate, c.cfg.CrashEvery = 0, 0, 0
	c.runUntil(machine.Instant(cfg.Duration))
	c.client.finish()
	c.result.Hash = c.hash.Sum64()
	return c.result
}

func (c *Cluster) runUntil(end machine.Instant) {
	for len(c.events) > 0 && c.events[0].at <= end && c.result.Violation == nil {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		c.result.Events++
		e.do()
	}
}

// after makes an event; everything that happens is one.
func (c *Cluster) after(d time.Duration, do func()) {
	c.seq++
	heap.Push(&c.events, event{c.now + machine.Instant(d), c.seq, do})
}

// between draws a duration.
func (c *Cluster) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(c.rng.Int64N(int64(hi-lo)))
}

func (c *Cluster) chance(p float64) bool { return c.rng.Float64() < p }

// trace adds to the run's hash.
func (c *Cluster) trace(kind byte, who uint64, what []byte) {
	var head [25]byte
	head[0] = kind
	binary.BigEndian.PutUint64(head[1:], uint64(c.now))
	binary.BigEndian.PutUint64(head[9:], who)
	binary.BigEndian.PutUint64(head[17:], uint64(len(what)))
	_, _ = c.hash.Write(head[:])
	_, _ = c.hash.Write(what)
}

func (c *Cluster) violate(format string, args ...any) {
	if c.result.Violation == nil {
		c.result.Violation = errors.Errorf("seed %d at %s: %s", c.cfg.Seed, time.Duration(c.now), fmt.Sprintf(format, args...))
	}
}

func (c *Cluster) must(err error) {
	if err != nil {
		c.violate("%v", err)
	}
}

func (c *Cluster) scheduleCrash() {
	c.after(c.between(c.cfg.CrashEvery/2, c.cfg.CrashEvery*3/2), func() {
		if c.cfg.CrashEvery == 0 {
			return
		}
		if s := c.stores[c.rng.IntN(len(c.stores))]; s.up {
			s.crash()
			c.after(c.between(10*time.Millisecond, 3*time.Second), s.start)
		}
		c.scheduleCrash()
	})
}

// leader is the store that believes to lead region 1 in the highest term, nil if none does.
func (c *Cluster) leader() *store {
	var best *store
	for _, s := range c.stores {
		if v := s.views[1]; s.up && v != nil && v.IsLeader && (best == nil || v.Term > best.views[1].Term) {
			best = s
		}
	}
	return best
}

// checkLeaders is an invariant: two stores never lead in the same term.
func (c *Cluster) checkLeaders() {
	for i, a := range c.stores {
		for _, b := range c.stores[i+1:] {
			va, vb := a.views[1], b.views[1]
			if a.up && b.up && va != nil && vb != nil && va.IsLeader && vb.IsLeader && va.Term == vb.Term {
				c.violate("stores %d and %d both lead in term %d", a.id, b.id, va.Term)
			}
		}
	}
}
