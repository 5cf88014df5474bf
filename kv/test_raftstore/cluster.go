// Package test_raftstore runs the staged raftstore suites: a cluster of real stores, with their real workers, in one process. Only the
// network between them and the scheduler are stand-ins: the network loses, delays and cuts as a test's filters say, the
// scheduler is a table that adds missing peers. Disks are memory that a stopped store loses the unsynced part of.
package test_raftstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/kv/storage/raftkv"
)

// Cluster is a number of stores, numbered from 1, and the stand-ins around them.
type Cluster struct {
	t         testing.TB
	cfg       *config.Config
	Scheduler *Scheduler
	net       *network

	mu    sync.RWMutex
	disks map[uint64]*disk
	nodes map[uint64]*storeNode
	rng   *rand.Rand
}

// disk is what survives a store's stop.
type disk struct {
	log, state *memdb.DB
	files      *snapfile.MemFS
}

// storeNode is one running store.
type storeNode struct {
	id      uint64
	disk    *raftstore.Disk
	store   *raftstore.Store
	storage *raftkv.Storage
}

// NewTestCluster makes a cluster of n stores that are not started.
func NewTestCluster(t testing.TB, n int, cfg *config.Config) *Cluster {
	c := &Cluster{
		t: t, cfg: cfg, Scheduler: newScheduler(n), disks: make(map[uint64]*disk), nodes: make(map[uint64]*storeNode),
		rng: rand.New(rand.NewPCG(1, uint64(n))),
	}
	c.net = newNetwork(c)
	for id := uint64(1); id <= uint64(n); id++ {
		c.disks[id] = &disk{log: memdb.New(), state: memdb.New(), files: snapfile.NewMemFS()}
	}
	return c
}

// Start starts every store and waits until the first region has a replica on each.
func (c *Cluster) Start() {
	for id := uint64(1); id <= uint64(len(c.disks)); id++ {
		c.StartServer(id)
	}
	c.Scheduler.onAnswer(func(storeID uint64, resp *pdpb.RegionHeartbeatResponse) {
		if n := c.node(storeID); n != nil {
			n.store.Answer(resp)
		}
	})
	c.Eventually(func() bool {
		r, _ := c.Scheduler.RegionOf(nil)
		return r != nil && len(r.Peers) == min(c.Scheduler.maxReplicas, len(c.disks)) && c.caughtUp(r)
	}, "the first region has all its replicas")
}

// caughtUp reports whether every peer of r has its data.
func (c *Cluster) caughtUp(r *metapb.Region) bool {
	for _, p := range r.Peers {
		n := c.node(p.StoreId)
		if n == nil {
			return false
		}
		if v := n.store.View(r.Id); v == nil || !v.Initialized {
			return false
		}
	}
	return true
}

// StartServer starts a store from what its disk holds.
func (c *Cluster) StartServer(id uint64) {
	d := c.disks[id]
	snaps, err := snapfile.New(d.files)
	require.NoError(c.t, err)
	n := &storeNode{id: id, disk: &raftstore.Disk{Log: logstore.New(d.log), State: d.state, Snapshots: snaps}}
	reg := &registry{Scheduler: c.Scheduler, next: id}
	ident, err := raftstore.OpenIdent(context.Background(), d.log, d.state, reg, kvrpcpb.APIVersion_V1)
	require.NoError(c.t, err)
	require.Equal(c.t, id, ident.StoreId)
	require.NoError(c.t, raftstore.Bootstrap(context.Background(), n.disk, &metapb.Store{Id: id}, reg))
	n.store, err = raftstore.Open(raftstore.Options{
		Machine: raftstore.MachineConfig(c.cfg, id, c.nextSeed()), RaftWorkers: 1, Limits: raftstore.NewLimits(&c.cfg.Raftstore.Queues),
		Tick: c.cfg.Raftstore.BaseTickInterval.Duration, StoreHeartbeatInterval: time.Minute, Stats: func(*pdpb.StoreStats) {},
		Disk: n.disk, Transport: &link{net: c.net, from: id}, Scheduler: c.Scheduler, Clock: raftstore.Boottime,
		Logger: zap.NewNop(), Metrics: raftstore.NewMetrics(prometheus.NewRegistry()),
	})
	require.NoError(c.t, err)
	n.storage = raftkv.New(n.store.Router, d.state, id, uint64(c.cfg.Raftstore.RaftEntryMaxSize), raftstore.Boottime)
	n.store.Start()
	c.mu.Lock()
	c.nodes[id] = n
	c.mu.Unlock()
}

// nextSeed is another one for every start of a store, as it must be.
func (c *Cluster) nextSeed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.Uint64()
}

// StopServer stops a store as a crash would: what was not synced may be lost, each engine's part by itself.
func (c *Cluster) StopServer(id uint64) {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	if n == nil {
		return
	}
	n.store.Close()
	d := c.disks[id]
	keep := func(unsynced int) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.rng.IntN(unsynced + 1)
	}
	d.log, d.state = d.log.Crash(keep), d.state.Crash(keep)
}

// Shutdown stops everything.
func (c *Cluster) Shutdown() {
	for id := range c.disks {
		c.StopServer(id)
	}
	c.net.close()
}

func (c *Cluster) node(id uint64) *storeNode {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.nodes[id]
}

// Eventually waits for a condition, for as long as a loaded machine may need.
func (c *Cluster) Eventually(cond func() bool, what string, args ...any) {
	c.t.Helper()
	require.Eventually(c.t, cond, 30*time.Second, 10*time.Millisecond, fmt.Sprintf(what, args...))
}
