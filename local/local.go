// Package local runs a whole cluster inside this process: a scheduler and stores on loopback, with their real network, real
// raft, and disks in a directory or in memory. Package shoaltest makes it a Go test's, and the playground can stand on it.
//
// Everything that is started here is stopped by Close, and no goroutine stays behind.
package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/node"
	"github.com/shoal-kv/shoal/rpc"
	"github.com/shoal-kv/shoal/scheduler/client"
	"github.com/shoal-kv/shoal/scheduler/server"
)

// Options say what the cluster is like.
type Options struct {
	// Stores is the number of stores; 3 if 0.
	Stores int
	// Dir is where everything is kept; it must exist.
	Dir string
	// InMemory keeps the stores' data in memory; stopped stores keep it too, until Close. The scheduler is always on disk.
	InMemory bool
	// Config is every store's configuration, apart from addresses and directories; config.NewTestConfig if nil.
	Config *config.Config
	// Logger is silence if nil.
	Logger *zap.Logger
	// NodeOptions change every store.
	NodeOptions []node.Option
}

// Cluster is one running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	opts      Options
	scheduler *server.Server
	mu        sync.Mutex // guards stores; held while one is started or stopped
	stores    []*store

	netMu sync.RWMutex
	side  map[uint64]int // the group of each store id; nil while the network is whole
}

// store is one store, running or stopped.
type store struct {
	dir       string
	log, data *memdb.DB
	node      *node.Node
	scheduler *client.Client
	id        uint64
	addr      string // kept over restarts
}

// Start starts a cluster and waits, as long as ctx lets it, until its region has a replica on every store (on three, if there are more).
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	if opts.Stores == 0 {
		opts.Stores = 3
	}
	if opts.Config == nil {
		opts.Config = config.NewTestConfig()
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	c := &Cluster{opts: opts}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.startScheduler(ctx); err != nil {
		return nil, err
	}
	for i := range opts.Stores {
		c.stores = append(c.stores, &store{dir: filepath.Join(opts.Dir, fmt.Sprintf("store-%d", i+1)), addr: "127.0.0.1:0", log: memdb.New(), data: memdb.New()})
		if err := c.StartStore(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, c.waitWhole(ctx)
}

func (c *Cluster) startScheduler(ctx context.Context) error {
	dir := filepath.Join(c.opts.Dir, "scheduler")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return errors.Trace(err)
	}
	var urls [2]string
	for i := range urls {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return errors.Trace(err)
		}
		urls[i] = "http://" + l.Addr().String()
		_ = l.Close() // the port was free a moment ago, which is all that can be known
	}
	s, err := server.New(server.Config{
		Name: "scheduler", DataDir: dir, ClientURLs: urls[:1], PeerURLs: urls[1:], Logger: c.opts.Logger.Named("scheduler"),
		MaxReplicas: min(3, c.opts.Stores),
	})
	if err != nil {
		return err
	}
	c.scheduler = s
	return s.Start(ctx)
}

// StartStore starts a stored store again, at its old address and with its old data; the stores are counted from 0.
func (c *Cluster) StartStore(ctx context.Context, i int) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.at(i)
	if err != nil || s.node != nil {
		return err
	}
	cfg := *c.opts.Config
	cfg.Server.Addr, cfg.Server.StatusAddr = s.addr, "127.0.0.1:0"
	cfg.Storage.DataDir = s.dir
	dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, rpc.Security{}) }
	logger := c.opts.Logger.Named(filepath.Base(s.dir))
	if s.scheduler, err = client.New(ctx, []string{c.PD()}, dial, logger); err != nil {
		return err
	}
	opts := append(slices.Clone(c.opts.NodeOptions), node.WithFilter(func(m *raft_serverpb.RaftMessage) bool { return c.passes(m) }))
	if c.opts.InMemory {
		s.log, s.data = s.log.Reopen(), s.data.Reopen()
		opts = append(opts, node.WithEngines(s.log, s.data))
	}
	if s.node, err = node.Start(ctx, &cfg, s.scheduler, logger, prometheus.NewRegistry(), opts...); err != nil {
		s.scheduler.Close()
		return err
	}
	s.id, s.addr = s.node.ID(), s.node.Addr()
	return nil
}

// StopStore stops a store; its data stays. Stopping a stopped one does nothing.
func (c *Cluster) StopStore(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.at(i)
	if err == nil {
		s.stop()
	}
	return err
}

func (s *store) stop() {
	if s.node != nil {
		s.node.Close()
		s.scheduler.Close()
		s.node = nil
	}
}

func (c *Cluster) at(i int) (*store, error) {
	if i < 0 || i >= len(c.stores) {
		return nil, errors.Errorf("there is no store %d: the cluster has stores 0 to %d", i, len(c.stores)-1)
	}
	return c.stores[i], nil
}

// Partition lets only stores of the same group talk to each other; a store that is in no group is alone. Clients and the scheduler still
// reach all of them.
func (c *Cluster) Partition(groups ...[]int) error {
	side := make(map[uint64]int)
	c.mu.Lock()
	for i, s := range c.stores {
		side[s.id] = -1 - i
	}
	for g, members := range groups {
		for _, i := range members {
			s, err := c.at(i)
			if err != nil {
				c.mu.Unlock()
				return err
			}
			side[s.id] = g
		}
	}
	c.mu.Unlock()
	c.netMu.Lock()
	defer c.netMu.Unlock()
	c.side = side
	return nil
}

// Heal ends all partitions.
func (c *Cluster) Heal() {
	c.netMu.Lock()
	defer c.netMu.Unlock()
	c.side = nil
}

func (c *Cluster) passes(m *raft_serverpb.RaftMessage) bool {
	c.netMu.RLock()
	defer c.netMu.RUnlock()
	return c.side == nil || c.side[m.FromPeer.GetStoreId()] == c.side[m.ToPeer.GetStoreId()]
}

// PD is the scheduler's host:port, which clients are given.
func (c *Cluster) PD() string { return strings.TrimPrefix(c.scheduler.ClientURL(), "http://") }

// Addrs are the stores' addresses, of stopped ones too.
func (c *Cluster) Addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []string
	for _, s := range c.stores {
		addrs = append(addrs, s.addr)
	}
	return addrs
}

func (c *Cluster) waitWhole(ctx context.Context) error {
	want := min(3, c.opts.Stores)
	for {
		regions, err := c.stores[0].scheduler.ScanRegions(ctx, nil, nil, 1)
		if err == nil && len(regions) == 1 && len(regions[0].Meta.Peers) == want && len(regions[0].Pending) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Errorf("the cluster is not whole in time: region %v, %v", regions, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Close stops everything. What is on disk stays.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.stores {
		s.stop()
	}
	if c.scheduler != nil {
		c.scheduler.Close()
	}
}
