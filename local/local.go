// Package local runs a whole cluster inside this process: schedulers and stores on loopback, with their real network, real
// raft, and disks in a directory or in memory. Package shoaltest makes it a Go test's, `shoal playground --in-process` a
// newcomer's.
//
// The schedulers are started first, all at once, for they elect their leader together (schedulers.go); then the stores, one
// after the other: the first bootstraps the cluster. Stores can be stopped, started again and cut off from each other.
//
// Everything that is started here is stopped by Close, and no goroutine stays behind.
package local

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
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
	// Stores and Schedulers are how many there are; 3 and 1 if 0.
	Stores, Schedulers int
	// Dir is where everything is kept; it must exist. Each part has the directory of its name in it.
	Dir string
	// InMemory keeps the stores' data in memory; stopped stores keep it too, until Close. The schedulers are always on disk.
	InMemory bool
	// Config is every store's configuration, apart from addresses and directories; config.NewTestConfig if nil.
	Config *config.Config
	// Scheduler is every scheduler's configuration, apart from name, group, addresses and directory. MaxReplicas is 3, or
	// Stores if that is less, if 0.
	Scheduler server.Config
	// Listen says where the part of a name listens; on free ports of loopback if nil.
	Listen func(part string) Listen
	// Logger makes the logger of the part of a name; silence if nil.
	Logger func(part string) *zap.Logger
	// NodeOptions change every store.
	NodeOptions []node.Option
}

// Listen is where a part listens, host:port each.
type Listen struct {
	// Addr is for clients and stores.
	Addr string
	// Other is for the other schedulers, or a store's status page.
	Other string
}

func anyPort(string) Listen { return Listen{Addr: "127.0.0.1:0", Other: "127.0.0.1:0"} }

func silence(string) *zap.Logger { return zap.NewNop() }

// defaults fills in what was left out.
func (o *Options) defaults() {
	if o.Stores == 0 {
		o.Stores = 3
	}
	if o.Schedulers == 0 {
		o.Schedulers = 1
	}
	if o.Scheduler.MaxReplicas == 0 {
		o.Scheduler.MaxReplicas = min(3, o.Stores)
	}
	if o.Config == nil {
		o.Config = config.NewTestConfig()
	}
	if o.Listen == nil {
		o.Listen = anyPort
	}
	if o.Logger == nil {
		o.Logger = silence
	}
}

// SchedulerName is the name of scheduler i, counted from 0, among n of them.
func SchedulerName(i, n int) string {
	if n == 1 {
		return "scheduler"
	}
	return fmt.Sprintf("scheduler-%d", i+1)
}

// StoreName is the name of store i, counted from 0.
func StoreName(i int) string { return fmt.Sprintf("store-%d", i+1) }

// Cluster is one running cluster. Its methods are safe for concurrent use.
type Cluster struct {
	opts       Options
	schedulers []*server.Server // those that run; fixed once Start is over
	mu         sync.Mutex       // guards stores; held while one is started or stopped
	stores     []*store
	fatal      chan error
	closing    chan struct{} // closed when Close begins
	closeOnce  sync.Once
	watchers   sync.WaitGroup

	netMu sync.RWMutex
	side  map[uint64]int // the group of each store id; nil while the network is whole
}

// Start starts a cluster. It returns when all its parts serve, or fails when ctx ends before; WaitWhole waits for the replicas.
func Start(ctx context.Context, opts Options) (_ *Cluster, err error) {
	opts.defaults()
	c := &Cluster{opts: opts, fatal: make(chan error, 1), closing: make(chan struct{})}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.startSchedulers(ctx); err != nil {
		return nil, err
	}
	for i := range opts.Stores {
		c.stores = append(c.stores, opts.newStore(StoreName(i), opts.Listen(StoreName(i))))
		if err := c.StartStore(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (o *Options) newStore(name string, at Listen) *store {
	return &store{name: name, dir: filepath.Join(o.Dir, name), listen: at, log: memdb.New(), data: memdb.New()}
}

// AddStore starts a store more, of a name that no other has. It is counted after all others.
func (c *Cluster) AddStore(ctx context.Context, name string, at Listen) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.stores, func(s *store) bool { return s.name == name }) {
		return errors.Errorf("there is a %s already", name)
	}
	select {
	case <-c.closing:
		return errors.New("the cluster is closed")
	default:
	}
	s := c.opts.newStore(name, at)
	if err := c.start(ctx, s); err != nil {
		return errors.Annotate(err, name)
	}
	c.stores = append(c.stores, s)
	return nil
}

// RemoveStore stops a store for good; those after it are counted anew. What it has on disk stays. The scheduler should have drained it before.
func (c *Cluster) RemoveStore(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.stores, func(s *store) bool { return s.name == name })
	if i < 0 || len(c.stores) == 1 {
		return errors.Errorf("there is no %s that could be removed: a cluster keeps one store at least", name)
	}
	c.stores[i].stop()
	c.stores = slices.Delete(c.stores, i, i+1)
	return nil
}

// StartStore starts a stopped store again, at its old addresses and with its old data; the stores are counted from 0.
func (c *Cluster) StartStore(ctx context.Context, i int) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.at(i)
	if err != nil || s.node != nil {
		return err
	}
	select {
	case <-c.closing:
		return errors.New("the cluster is closed")
	default:
	}
	return errors.Annotate(c.start(ctx, s), s.name)
}

func (c *Cluster) start(ctx context.Context, s *store) (err error) {
	cfg := *c.opts.Config
	cfg.Server.Addr, cfg.Server.StatusAddr = s.listen.Addr, s.listen.Other
	cfg.Server.AdvertiseAddr, cfg.Server.AdvertiseStatusAddr = "", ""
	cfg.Storage.DataDir = s.dir
	cfg.PD.Endpoints = strings.Split(c.PD(), ",")
	if err := cfg.Validate(); err != nil {
		return err
	}
	security := rpc.Security{CA: cfg.Security.CAPath, Cert: cfg.Security.CertPath, Key: cfg.Security.KeyPath}
	dial := func(_ context.Context, addr string) (*grpc.ClientConn, error) { return rpc.Dial(addr, security) }
	logger := c.opts.Logger(s.name)
	if s.scheduler, err = client.New(ctx, cfg.PD.Endpoints, dial, logger); err != nil {
		return err
	}
	opts := append(slices.Clone(c.opts.NodeOptions), node.WithFilter(func(m *raft_serverpb.RaftMessage) bool { return c.passes(m) }))
	if c.opts.InMemory {
		s.log, s.data = s.log.Reopen(), s.data.Reopen()
		opts = append(opts, node.WithEngines(s.log, s.data))
	}
	if s.node, err = node.Start(ctx, &cfg, s.scheduler, logger, registry(), opts...); err != nil {
		s.scheduler.Close()
		s.node = nil
		return err
	}
	s.id, s.listen = s.node.ID(), Listen{Addr: s.node.Addr(), Other: s.node.StatusAddr()}
	s.stopped = make(chan struct{})
	c.watch(s.name, s.node.Fatal(), s.stopped)
	return nil
}

// registry takes a part's metrics, and has those of the process.
func registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// watch passes on that a part failed, until it is stopped. The first to fail is enough: whoever hears of it gives up.
func (c *Cluster) watch(name string, failed <-chan error, stopped <-chan struct{}) {
	c.watchers.Go(func() {
		select {
		case <-stopped:
		case err := <-failed:
			select {
			case c.fatal <- errors.Annotatef(err, "%s cannot go on", name):
			default:
			}
		}
	})
}

// Fatal delivers the first error that a part cannot live with; the cluster should then be closed.
func (c *Cluster) Fatal() <-chan error { return c.fatal }

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

// store is one store, running or stopped.
type store struct {
	name, dir string
	listen    Listen // kept over restarts
	log, data *memdb.DB
	node      *node.Node // nil while stopped
	scheduler *client.Client
	stopped   chan struct{} // closed when it is
	id        uint64
}

func (s *store) stop() {
	if s.node != nil {
		close(s.stopped)
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

// PD is the schedulers' host:port, separated by commas, which clients are given.
func (c *Cluster) PD() string {
	var addrs []string
	for _, s := range c.schedulers {
		addrs = append(addrs, strings.TrimPrefix(s.ClientURL(), "http://"))
	}
	return strings.Join(addrs, ",")
}

// Addrs are the stores' addresses, of stopped ones too.
func (c *Cluster) Addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []string
	for _, s := range c.stores {
		addrs = append(addrs, s.listen.Addr)
	}
	return addrs
}

// WaitWhole waits, as long as ctx lets it, until the region of a new cluster has all its replicas.
func (c *Cluster) WaitWhole(ctx context.Context) error {
	want := min(c.opts.Scheduler.MaxReplicas, c.opts.Stores)
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

// Close stops everything: the stores, then the schedulers that they report to. What is on disk stays.
func (c *Cluster) Close() {
	c.closeOnce.Do(func() {
		close(c.closing)
		c.mu.Lock()
		defer c.mu.Unlock()
		var stopping sync.WaitGroup
		for _, s := range c.stores {
			stopping.Go(s.stop)
		}
		stopping.Wait()
		for _, s := range c.schedulers {
			stopping.Go(s.Close)
		}
		stopping.Wait()
		c.watchers.Wait()
	})
}
