// Package paper is a cluster on paper: stores and regions as data, in virtual time, that obey the real scheduler's machine. Nothing is stored and nobody votes; a snapshot is a delay, a
// leader is a field. It shows what the scheduler's decisions come to, for clusters far larger than any that fits one machine: how soon stores are even, how many moves that
// takes, what a heartbeat costs.
//
// Cluster.Run goes through virtual time: store and region heartbeats, the scheduler's ticks, and what leaders do when they are told to. Fall replaces the
// scheduler by its successor, which knows what was durable and hears the rest.
package paper

import (
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// Config says what a cluster on paper is like.
type Config struct {
	Schedule schedule.Config
	Seed     uint64
	// RegionHeartbeat and StoreHeartbeat are how often they report; 60 s and 10 s if 0.
	RegionHeartbeat, StoreHeartbeat time.Duration
	// Bandwidth is how many bytes of snapshots a second a store takes in; 64 MiB if 0.
	Bandwidth float64
	// Forget leaves out what is saved behind heartbeats: then no Fall may follow.
	Forget bool
	// LoseCommand and LoseReport drop what they answer true for; nil drops nothing.
	LoseCommand func(*operator.Command) bool
	LoseReport  func(region uint64) bool
}

const (
	tickEvery   = 100 * time.Millisecond
	upkeepEvery = 10
	// roundTrip is how long a leader needs for what costs no data.
	roundTrip = 5 * time.Millisecond
	// downAfter is after how much silence a leader calls a peer down.
	downAfter = 5 * time.Second
)

// Cluster is stores and regions on paper, and the scheduler's term.
type Cluster struct {
	cfg     Config
	Term    *machine.Term
	durable map[string][]byte
	now     time.Time
	stores  map[uint64]*Store
	regions map[uint64]*Region
	events  events
	seq     uint64
	ticks   int
	// Orders counts what leaders were told and did, by kind; Heartbeats what was reported.
	Orders     map[string]int
	Heartbeats int
	// term counts the terms.
	term int
}

// Store is a store on paper.
type Store struct {
	Meta  *metapb.Store
	Stats cluster.StoreStats
	Alive bool
	died  time.Time
	// free is when its snapshots so far are taken in.
	free time.Time
}

// Region is a region on paper.
type Region struct {
	Meta   *metapb.Region
	Leader uint64 // the id of the peer that leads; 0 without a quorum
	Term   uint64
	Load   cluster.Load
	// pending are peers whose data is on its way.
	pending []*metapb.Peer
	merging bool
}

// New makes a cluster of n stores, all alive, and one region on the first.
func New(cfg Config, n int) *Cluster {
	if cfg.RegionHeartbeat == 0 {
		cfg.RegionHeartbeat = time.Minute
	}
	if cfg.StoreHeartbeat == 0 {
		cfg.StoreHeartbeat = 10 * time.Second
	}
	if cfg.Bandwidth == 0 {
		cfg.Bandwidth = 64 << 20
	}
	c := &Cluster{
		cfg: cfg, durable: make(map[string][]byte), now: time.Unix(1_000_000, 0), stores: make(map[uint64]*Store),
		regions: make(map[uint64]*Region), Orders: make(map[string]int),
	}
	c.load()
	first := &metapb.Region{Id: 1 << 30, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 1<<30 + 1, StoreId: 1}}}
	c.save(c.Term.Bootstrap(storeMeta(1, nil), first, c.moment()))
	for id := uint64(1); id <= uint64(n); id++ {
		c.Join(id, nil)
	}
	c.regions[first.Id] = &Region{Meta: first, Leader: 1<<30 + 1, Term: 6}
	c.at(0, func() { c.beat(first.Id, true) })
	c.at(tickEvery, c.tick)
	return c
}

func storeMeta(id uint64, labels map[string]string) *metapb.Store {
	m := &metapb.Store{Id: id, Address: fmt.Sprintf("s%d", id), Version: "8.5.0"}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		m.Labels = append(m.Labels, &metapb.StoreLabel{Key: key, Value: labels[key]})
	}
	return m
}

// Join adds a store.
func (c *Cluster) Join(id uint64, labels map[string]string) {
	s := &Store{Meta: storeMeta(id, labels), Alive: true}
	c.stores[id] = s
	c.save(c.Term.PutStore(s.Meta))
	c.at(0, func() { c.storeBeat(s) })
}

// Store is the store of an id.
func (c *Cluster) Store(id uint64) *Store { return c.stores[id] }

// Region is the region of an id, or nil.
func (c *Cluster) Region(id uint64) *Region { return c.regions[id] }

// Regions lists all regions by id.
func (c *Cluster) Regions() []*Region {
	list := make([]*Region, 0, len(c.regions))
	for _, id := range slices.Sorted(maps.Keys(c.regions)) {
		list = append(list, c.regions[id])
	}
	return list
}

// Now is the virtual time.
func (c *Cluster) Now() time.Time { return c.now }

// Split makes n regions of size bytes each out of the whole key space, with replicas on the stores that place names for each; the first leads.
func (c *Cluster) Split(n int, size uint64, place func(i int) []uint64) {
	c.regions = make(map[uint64]*Region, n)
	next := uint64(1 << 40)
	for i := range n {
		m := &metapb.Region{Id: next, RegionEpoch: &metapb.RegionEpoch{Version: uint64(n), ConfVer: 5}}
		if i > 0 {
			m.StartKey = fmt.Appendf(nil, "%08d", i)
		}
		if i < n-1 {
			m.EndKey = fmt.Appendf(nil, "%08d", i+1)
		}
		for _, s := range place(i) {
			next++
			m.Peers = append(m.Peers, &metapb.Peer{Id: next, StoreId: s})
		}
		next++
		c.regions[m.Id] = &Region{Meta: m, Leader: m.Peers[0].Id, Term: 6, Load: cluster.Load{Size: size, Keys: size / 100}}
		c.at(c.cfg.RegionHeartbeat*time.Duration(i)/time.Duration(n), func() { c.beat(m.Id, true) })
	}
	for _, r := range c.Regions() {
		c.report(r)
	}
}

// Kill ends a store; its leaders move to others that have a quorum. Revive starts it again.
func (c *Cluster) Kill(id uint64) {
	s := c.stores[id]
	s.Alive, s.died = false, c.now
	for _, r := range c.Regions() {
		if p := peerOn(r.Meta, id); p != nil {
			if p.Id == r.Leader {
				c.elect(r)
			}
			c.at(downAfter+time.Millisecond, func() { c.reportIfThere(r) })
		}
	}
}

// Revive starts a store that was killed.
func (c *Cluster) Revive(id uint64) {
	s := c.stores[id]
	s.Alive = true
	c.at(0, func() { c.storeBeat(s) })
	for _, r := range c.Regions() {
		if peerOn(r.Meta, id) != nil {
			if r.Leader == 0 {
				c.elect(r)
			}
			c.report(r)
		}
	}
}

// elect gives a region another leader, if a quorum is alive.
func (c *Cluster) elect(r *Region) {
	r.Leader = 0
	var alive, voters int
	var next uint64
	for _, p := range r.Meta.Peers {
		if p.Role == metapb.PeerRole_Learner {
			continue
		}
		voters++
		if c.stores[p.StoreId].Alive {
			if alive++; next == 0 && !slices.ContainsFunc(r.pending, func(q *metapb.Peer) bool { return q.Id == p.Id }) {
				next = p.Id
			}
		}
	}
	if 2*alive > voters && next != 0 {
		r.Leader = next
		r.Term++
		c.at(time.Second, func() { c.reportIfThere(r) })
	}
}

// Run lets virtual time pass, until done answers true when it is asked after each tick; it may be nil. False if it did not.
func (c *Cluster) Run(d time.Duration, done func() bool) bool {
	until := c.now.Add(d)
	for len(c.events) > 0 && !c.events[0].at.After(until) {
		e := heap.Pop(&c.events).(event)
		c.now = e.at
		tick := c.ticks
		e.do()
		if done != nil && c.ticks != tick && done() {
			return true
		}
	}
	c.now = until
	return false
}

// Fall ends the scheduler's term and begins the next, which knows what was saved.
func (c *Cluster) Fall() {
	c.load()
	for _, id := range slices.Sorted(maps.Keys(c.stores)) {
		if s := c.stores[id]; s.Alive {
			_ = c.Term.StoreHeartbeat(id, s.Stats, c.moment())
		}
	}
	for _, r := range c.Regions() {
		c.report(r)
	}
}

func (c *Cluster) load() {
	l := machine.NewLoader(machine.Config{
		ClusterID: 1, Schedule: c.cfg.Schedule, TimestampWindow: time.Second, Seed: c.cfg.Seed + uint64(c.term),
	}, c.now)
	c.term++
	for _, prefix := range l.Prefixes() {
		for _, key := range slices.Sorted(maps.Keys(c.durable)) {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				if err := l.Take(key, c.durable[key]); err != nil {
					panic(err)
				}
			}
		}
	}
	term, save := l.Term(c.moment())
	c.Term = term
	c.save(save, nil)
}

func (c *Cluster) save(s *machine.Save, err error) {
	if err != nil {
		panic(errors.ErrorStack(err))
	}
	if s != nil {
		c.write(s.Ops)
		s.Done(c.now)
	}
}

// Save makes a change of the term durable, and takes it in.
func (c *Cluster) Save(s *machine.Save, err error) error {
	if err == nil {
		c.save(s, nil)
	}
	return err
}

func (c *Cluster) write(ops []machine.Op) {
	for _, op := range ops {
		if op.Value == nil {
			delete(c.durable, op.Key)
		} else {
			c.durable[op.Key] = op.Value
		}
	}
}

func (c *Cluster) moment() machine.Moment {
	return machine.Moment{Now: c.now, LeaseEnd: c.now.Add(time.Hour), Wall: c.now}
}

func (c *Cluster) tick() {
	c.ticks++
	for _, command := range c.Term.Tick(c.moment()) {
		c.obey(command)
	}
	if c.ticks%upkeepEvery == 0 {
		c.save(c.Term.Upkeep(c.moment()))
	}
	c.save(c.Term.RenewIDs(c.moment()))
	if behind := c.Term.Behind(1 << 20); !c.cfg.Forget {
		c.write(behind)
	}
	c.at(tickEvery, c.tick)
}

func (c *Cluster) storeBeat(s *Store) {
	if !s.Alive {
		return
	}
	if known := c.Term.Picture.Store(s.Meta.Id); known != nil && known.Meta.State != metapb.StoreState_Tombstone {
		stats := s.Stats
		stats.RegionCount = uint32(c.Term.Picture.Tally(s.Meta.Id).Regions)
		_ = c.Term.StoreHeartbeat(s.Meta.Id, stats, c.moment())
	}
	c.at(c.cfg.StoreHeartbeat, func() { c.storeBeat(s) })
}

// beat reports a region, again and again.
func (c *Cluster) beat(id uint64, again bool) {
	r := c.regions[id]
	if r == nil {
		return
	}
	c.report(r)
	if again {
		c.at(c.cfg.RegionHeartbeat, func() { c.beat(id, true) })
	}
}

func (c *Cluster) reportIfThere(r *Region) {
	if c.regions[r.Meta.Id] == r {
		c.report(r)
	}
}

// report is one heartbeat of a region's leader, and what comes of the answer.
func (c *Cluster) report(r *Region) {
	leader := peerOf(r.Meta, r.Leader)
	if leader == nil || !c.stores[leader.StoreId].Alive || c.cfg.LoseReport != nil && c.cfg.LoseReport(r.Meta.Id) {
		return
	}
	hb := &cluster.Region{Meta: r.Meta, Leader: leader, Term: r.Term, Load: r.Load, Pending: r.pending}
	for _, p := range r.Meta.Peers {
		if s := c.stores[p.StoreId]; !s.Alive && c.now.Sub(s.died) > downAfter {
			hb.Down = append(hb.Down, cluster.DownPeer{Peer: p, Seconds: uint64(c.now.Sub(s.died).Seconds())})
		}
	}
	c.Heartbeats++
	command, err := c.Term.RegionHeartbeat(hb, c.moment())
	if err == nil && command != nil {
		c.obey(command)
	}
}

// Report takes in a heartbeat that somebody else made, and drops the answer.
func (c *Cluster) Report(r *cluster.Region) error {
	_, err := c.Term.RegionHeartbeat(r, c.moment())
	return err
}

// Settle drops what waits to be saved behind heartbeats.
func (c *Cluster) Settle() { c.Term.Behind(1 << 30) }

func peerOf(m *metapb.Region, id uint64) *metapb.Peer {
	for _, p := range m.Peers {
		if p.Id == id {
			return p
		}
	}
	return nil
}

func peerOn(m *metapb.Region, store uint64) *metapb.Peer {
	for _, p := range m.Peers {
		if p.StoreId == store {
			return p
		}
	}
	return nil
}

// event is something that happens at a time; of two at the same time the one that was planned first is the first.
type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}

// Push implements heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop implements heap.Interface.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (c *Cluster) at(in time.Duration, do func()) {
	c.seq++
	heap.Push(&c.events, event{c.now.Add(in), c.seq, do})
}
