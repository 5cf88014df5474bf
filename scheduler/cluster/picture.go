// Package cluster is the scheduler's picture of the cluster: which stores there are, which regions, where their peers
// are and who leads them.
//
// The picture is built from what is durable (cluster, stores, region metas) and kept up to date by heartbeats. The order
// of one region heartbeat is: CheckRegion says whether it is news or stale and what it replaces; PutRegion takes it in;
// AddReplica says what the store should be told to do about it. A decision is a function of the picture and the instant
// alone, so whoever leads next decides the same from the next round of heartbeats.
//
// A Picture is a plain machine: no clock, lock, I/O or goroutine. It is owned by one term of the scheduler's leader, whose
// shell serialises changes, makes durable what has to be before PutStore and Bootstrap, and lets readers in between. The
// values inside (Region, Store and the metapb messages) are immutable: they are replaced, never changed, and may be kept
// by readers.
package cluster

import (
	"sort"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// DefaultReplicas is how many voters a region should have unless configured otherwise.
const DefaultReplicas = 3

// Tally counts what one store holds.
type Tally struct {
	Regions, Leaders       int
	RegionSize, LeaderSize uint64 // bytes, as the leaders estimate them
}

// Picture is what the scheduler knows of the cluster.
type Picture struct {
	replicas int
	cluster  *metapb.Cluster // nil until bootstrapped
	stores   map[uint64]*Store
	regions  regionTree
	// displaced are regions whose whole range others have taken, as they were last: most were merged, and the few that were only overtaken by
	// what was split off them report again.
	displaced map[uint64]*Region
	tallies   map[uint64]Tally
	// proposed holds, by region, the peer that its leader was told to add and that no heartbeat has shown yet; awaited
	// counts them by store.
	proposed map[uint64]*metapb.Peer
	awaited  map[uint64]int
}

// NewPicture makes an empty picture of a cluster that is not bootstrapped; replicas is the wanted number of voters of
// each region.
func NewPicture(replicas int) *Picture {
	return &Picture{
		replicas:  replicas,
		stores:    make(map[uint64]*Store),
		regions:   newRegionTree(),
		displaced: make(map[uint64]*Region),
		tallies:   make(map[uint64]Tally),
		proposed:  make(map[uint64]*metapb.Peer),
		awaited:   make(map[uint64]int),
	}
}

// Replicas is the wanted number of voters of each region.
func (p *Picture) Replicas() int { return p.replicas }

// Cluster is nil until the cluster is bootstrapped.
func (p *Picture) Cluster() *metapb.Cluster { return p.cluster }

// SetCluster records the cluster's meta; from then on the cluster is bootstrapped.
func (p *Picture) SetCluster(c *metapb.Cluster) { p.cluster = c }

// Tally counts the regions and leaders on a store, from the last heartbeat of each region.
func (p *Picture) Tally(store uint64) Tally { return p.tallies[store] }

// Store is nil if the id is unknown.
func (p *Picture) Store(id uint64) *Store { return p.stores[id] }

// Stores lists all stores by id, tombstones included.
func (p *Picture) Stores() []*Store {
	list := make([]*Store, 0, len(p.stores))
	for _, s := range p.stores { // order-free: sorted below
		list = append(list, s)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Meta.Id < list[j].Meta.Id })
	return list
}

// PutStore takes in a store's meta, new or changed; what is known from its heartbeats stays. known is the instant at
// which it is taken in.
func (p *Picture) PutStore(meta *metapb.Store, known time.Time) {
	next := Store{Meta: meta, Known: known}
	if old := p.stores[meta.Id]; old != nil {
		next = *old
		next.Meta = meta
	}
	p.stores[meta.Id] = &next
}

// HearStore takes in a store's heartbeat, at instant now and wall time wall. False if the store is unknown.
func (p *Picture) HearStore(id uint64, stats StoreStats, now, wall time.Time) bool {
	old := p.stores[id]
	if old == nil {
		return false
	}
	next := *old
	next.Stats, next.Heard, next.LastHeartbeat = stats, now, wall
	p.stores[id] = &next
	return true
}
