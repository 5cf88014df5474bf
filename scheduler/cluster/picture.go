// Package cluster is the scheduler's picture of the cluster: which stores there are, which regions, where their peers
// are and who leads them.
//
// The picture is built from what is durable (cluster, stores, region metas) and kept up to date by heartbeats. The order
// of one region heartbeat is: CheckRegion says whether it is news or stale and what it replaces; PutRegion takes it in, works its
// flow out, and files it under its stores and roles (places.go). What to do about it is decided in scheduler/schedule, from the
// picture and the instant alone.
//
// A Picture is a plain machine: no clock, lock, I/O or goroutine. It is owned by one term of the scheduler's leader, whose
// shell serialises changes, makes durable what has to be before PutStore and Bootstrap, and lets readers in between. The
// values inside (Region, Store and the metapb messages) are immutable: they are replaced, never changed, and may be kept
// by readers.
package cluster

import (
	"maps"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// Tally counts what one store holds.
type Tally struct {
	Regions, Leaders       int
	RegionSize, LeaderSize uint64 // bytes, as the leaders estimate them
	// Learners and Pending are peers that only learn, or that are not caught up.
	Learners, Pending int
	// RegionWeight and LeaderWeight add up Region.Weight.
	RegionWeight, LeaderWeight int64
	// Read is what the leaders here serve, Write what all peers here take, LeaderWrite what the leaders here propose.
	Read, Write, LeaderWrite Sum
}

// Picture is what the scheduler knows of the cluster.
type Picture struct {
	cluster *metapb.Cluster // nil until bootstrapped
	stores  map[uint64]*Store
	sorted  []*Store // the same by id
	regions regionTree
	displaced displaced
	tallies   map[uint64]*Tally
	places    places
	// heard counts the regions that have reported in this term.
	heard int
	// downAfter is how long a store may be silent before it counts as down.
	downAfter time.Duration
}

// NewPicture makes an empty picture of a cluster that is not bootstrapped.
func NewPicture() *Picture {
	return &Picture{
		stores:    make(map[uint64]*Store),
		regions:   newRegionTree(),
		displaced: newDisplaced(),
		tallies:   make(map[uint64]*Tally),
		places:    make(places),
		downAfter: DownAfter,
	}
}

// Cluster is nil until the cluster is bootstrapped.
func (p *Picture) Cluster() *metapb.Cluster { return p.cluster }

// SetCluster records the cluster's meta; from then on the cluster is bootstrapped.
func (p *Picture) SetCluster(c *metapb.Cluster) { p.cluster = c }

// Tally counts the regions and leaders on a store, from the last heartbeat of each region.
func (p *Picture) Tally(store uint64) Tally {
	if t := p.tallies[store]; t != nil {
		return *t
	}
	return Tally{}
}

// Store is nil if the id is unknown.
func (p *Picture) Store(id uint64) *Store { return p.stores[id] }

// Stores lists all stores by id, tombstones included. The list is not to be changed; the next one is another.
func (p *Picture) Stores() []*Store { return p.sorted }

func (p *Picture) setStore(s *Store) {
	s.downAfter = p.downAfter
	p.stores[s.Meta.Id] = s
	p.sortStores()
}

func (p *Picture) sortStores() {
	p.sorted = make([]*Store, 0, len(p.stores))
	for _, id := range slices.Sorted(maps.Keys(p.stores)) {
		p.sorted = append(p.sorted, p.stores[id])
	}
}

// PutStore takes in a store's meta, new or changed; what is known from its heartbeats stays. known is the instant at
// which it is taken in.
func (p *Picture) PutStore(meta *metapb.Store, known time.Time) {
	next := Store{Meta: meta, Known: known, Tuning: DefaultTuning()}
	if old := p.stores[meta.Id]; old != nil {
		next = *old
		next.Meta = meta
	}
	p.setStore(&next)
}

// TuneStore takes in what operators set for a store. False if the store is unknown.
func (p *Picture) TuneStore(id uint64, t Tuning) bool {
	old := p.stores[id]
	if old == nil {
		return false
	}
	next := *old
	next.Tuning = t
	p.setStore(&next)
	return true
}

// DropStore forgets a tombstone.
func (p *Picture) DropStore(id uint64) {
	delete(p.stores, id)
	p.sortStores()
}

// SetDownAfter changes how long a store may be silent before it counts as down.
func (p *Picture) SetDownAfter(d time.Duration) {
	if d == p.downAfter {
		return
	}
	p.downAfter = d
	for _, s := range p.Stores() {
		next := *s
		p.setStore(&next)
	}
}

// HearStore takes in a store's heartbeat, at instant now and wall time wall. False if the store is unknown.
func (p *Picture) HearStore(id uint64, stats StoreStats, now, wall time.Time) bool {
	old := p.stores[id]
	if old == nil {
		return false
	}
	next := *old
	next.Stats, next.Heard, next.LastHeartbeat = stats, now, wall
	p.setStore(&next)
	return true
}
