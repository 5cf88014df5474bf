// Package node puts a store together: engines, raftstore, transport, server and status server, in the order in which they lean on
// each other, and takes it apart again in the reverse.
//
//	listen → open the engines → ident (who am I) → bootstrap, if the cluster has no region → register with the scheduler
//	→ raftstore → transport → gRPC server → status server → heartbeats
//
// A store that finds its disk broken reports it on Fatal; whoever runs it must then close it and exit: it never tries a
// failed fsync again.
package node

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/kv/raftstore/transport"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/kv/storage/loadsplit"
	"github.com/shoal-kv/shoal/kv/storage/raftkv"
	"github.com/shoal-kv/shoal/kv/storage/reclaim"
	"github.com/shoal-kv/shoal/kv/storage/traffic"
	"github.com/shoal-kv/shoal/log"
	"github.com/shoal-kv/shoal/rpc"
)

// ControlPlane is the scheduler as a whole store needs it.
type ControlPlane interface {
	raftstore.Registry
	raftstore.Scheduler
	PutStore(ctx context.Context, store *metapb.Store) error
	GetStore(ctx context.Context, id uint64) (*metapb.Store, error)
	// GetAllStores lists the stores that are not removed; it fails when the cluster has not begun.
	GetAllStores(ctx context.Context) ([]*metapb.Store, error)
	// Start begins the stream of region heartbeats.
	Start(onResponse func(*pdpb.RegionHeartbeatResponse), onReconnect func())
}

// Version is what stores register with; clients and the scheduler judge features by it.
const Version = "8.5.0"

// Node is one running store.
type Node struct {
	cfg    *config.Config
	cp     ControlPlane
	logger *zap.Logger
	ident  *raft_serverpb.StoreIdent

	listener  net.Listener
	log       engine.Engine
	state     engine.Engine
	pebbles   []*pebbledb.DB  // the same two, for their counters; empty with another engine
	usage     []func() uint64 // the bytes on disk of another library's engines
	openers   map[string]Opener
	damage    damageWatch
	store     *raftstore.Store
	wire      *transport.Transport
	snapshots *snapfile.Manager
	kv        *raftkv.Storage
	server    *server.Server
	grpc      *server.GRPC
	serving   chan struct{} // closed when the gRPC server has ended
	status    *statusServer
	reclaim   *reclaim.Worker // nil without TTL mode
	splitter  *loadsplit.Splitter
	traffic   *traffic.Meter
	wall      func() time.Time
	cores     int

	logLevel  *log.Level // nil when it cannot be changed
	filter    func(*raft_serverpb.RaftMessage) bool
	borrowed  bool // the engines are the caller's
	closeOnce sync.Once
}

// Option changes a node while it is made.
type Option func(*Node)

// WithFilter puts a test's network between this store and the others: a raft message that pass refuses is lost.
func WithFilter(pass func(*raft_serverpb.RaftMessage) bool) Option {
	return func(n *Node) { n.filter = pass }
}

// WithEngines makes the node keep its data in engines of the caller's, who closes them after the node.
func WithEngines(log, state engine.Engine) Option {
	return func(n *Node) { n.log, n.state, n.borrowed = log, state, true }
}

// WithLogLevel lets the status server show and change the level of the process' log.
func WithLogLevel(level *log.Level) Option { return func(n *Node) { n.logLevel = level } }

// Opener opens an engine of a library that this package does not know. Usage is its bytes on disk.
type Opener func(dir string, cacheBytes int64, cfg *config.Config, logger *zap.Logger, onFatal func(error)) (e engine.Engine, usage func() uint64, err error)

// WithEngine makes the library of that name, as storage.engine has it, one to choose from.
func WithEngine(name string, open Opener) Option {
	return func(n *Node) {
		if n.openers == nil {
			n.openers = make(map[string]Opener)
		}
		n.openers[name] = open
	}
}

// Start makes and runs a store. On an error everything that was opened is closed again.
func Start(ctx context.Context, cfg *config.Config, cp ControlPlane, logger *zap.Logger, reg *prometheus.Registry, opts ...Option) (_ *Node, err error) {
	n := &Node{
		cfg: cfg, cp: cp, logger: logger, wall: time.Now, cores: runtime.GOMAXPROCS(0),
		damage: damageWatch{told: make(chan map[engine.CF]engine.Range, maxDamaged)},
	}
	for _, opt := range opts {
		opt(n)
	}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.listener, err = rpc.Listen(cfg.Server.Addr); err != nil {
		return nil, err
	}
	if err := n.openEngines(); err != nil {
		return nil, err
	}
	if err := n.agree(ctx, cp); err != nil { // before a new store writes down who it is
		return nil, err
	}
	if n.ident, err = raftstore.OpenIdent(ctx, n.log, n.state, cp, n.layout()); err != nil {
		return nil, err
	}
	disk, err := n.disk()
	if err != nil {
		return nil, err
	}
	if cfg.Server.StatusAddr != "" {
		if n.status, err = n.listenStatus(); err != nil {
			return nil, err
		}
	}
	self := n.self()
	if err := raftstore.Bootstrap(ctx, disk, self, cp); err != nil {
		return nil, errors.Annotate(err, "cannot bootstrap the cluster")
	}
	if err := n.agree(ctx, cp); err != nil { // another store may have been the faster one to begin the cluster
		return nil, err
	}
	if err := cp.PutStore(ctx, self); err != nil {
		return nil, errors.Annotate(err, "cannot register with the scheduler")
	}
	if err := n.assemble(disk, cp, reg); err != nil {
		return nil, err
	}
	n.store.Start()
	n.watchDamage()
	n.startReclaim(reg)
	n.serve()
	if n.status != nil {
		n.status.serve()
	}
	cp.Start(n.store.Answer, n.store.Resend)
	logger.Info("the store serves", zap.Uint64("store", n.ident.StoreId), zap.Uint64("cluster", n.ident.ClusterId),
		zap.String("addr", n.Addr()), zap.String("status-addr", n.StatusAddr()))
	return n, nil
}

// engineFailed is told by an engine that it is broken.
func (n *Node) engineFailed(err error) {
	if s := n.store; s != nil {
		s.Fail(err)
	}
}

func (n *Node) disk() (*raftstore.Disk, error) {
	dir, err := snapfile.OSDir(filepath.Join(n.cfg.Storage.DataDir, "snap"))
	if err != nil {
		return nil, err
	}
	if n.snapshots, err = snapfile.New(dir); err != nil {
		return nil, err
	}
	if stager, ok := n.state.(engine.Stager); ok {
		n.snapshots.StageIn(stager)
	}
	return &raftstore.Disk{Log: logstore.New(n.log), State: n.state, Snapshots: n.snapshots}, nil
}

// self is the store as the scheduler shall know it.
func (n *Node) self() *metapb.Store {
	s := &metapb.Store{
		Id: n.ident.StoreId, Address: n.Addr(), StatusAddress: n.StatusAddr(), PeerAddress: n.Addr(), Version: Version,
	}
	for _, k := range slices.Sorted(maps.Keys(n.cfg.Server.Labels)) {
		s.Labels = append(s.Labels, &metapb.StoreLabel{Key: k, Value: n.cfg.Server.Labels[k]})
	}
	n.tellLayout(s)
	return s
}

// assemble makes raftstore, transport and server, which know each other.
func (n *Node) assemble(disk *raftstore.Disk, cp ControlPlane, reg *prometheus.Registry) (err error) {
	id := n.ident.StoreId
	n.traffic = traffic.NewMeter(rand.Uint64, time.Now)
	n.store, err = raftstore.Open(raftstore.Options{
		Machine: raftstore.MachineConfig(n.cfg, id, uint64(time.Now().UnixNano())), RaftWorkers: 1,
		Limits: n.limits(), SnapshotAge: n.cfg.Raftstore.SnapGCTimeout.Duration,
		Tick: n.cfg.Raftstore.BaseTickInterval.Duration, StoreHeartbeatInterval: n.cfg.Raftstore.StoreHeartbeatInterval.Duration,
		Stats: n.stats, Flow: n.flow, Disk: disk, Scheduler: cp, Clock: raftstore.Boottime, Logger: n.logger, Metrics: raftstore.NewMetrics(reg),
		Transport: raftstore.TransportFunc(n.send),
	})
	if err != nil {
		return err
	}
	sec := security(n.cfg)
	n.wire, err = transport.New(transport.Options{
		StoreID: id, ClusterID: n.ident.ClusterId, Resolver: resolver{cp}, Dial: dialer(sec), Snapshots: disk.Snapshots,
		Handler: n.store.Router, Logger: n.logger, Metrics: reg, Limits: transportLimits(n.cfg),
	})
	if err != nil {
		return err
	}
	n.kv = raftkv.New(n.store.Router, n.state, id, uint64(n.cfg.Raftstore.RaftEntryMaxSize), raftstore.Boottime)
	n.kv.Measure(raftkv.NewMetrics(reg))
	n.kv.Meter(n.traffic)
	n.startLoadSplit()
	n.server = server.NewServer(n.kv, server.WithClusterID(n.ident.ClusterId), server.WithStoreID(id), server.WithRaft(n.wire), server.WithSplitter(n.kv),
		server.WithRegistry(reg), server.WithLimits(serverLimits(n.cfg)), n.ttl())
	reg.MustRegister(collector{n})
	if n.status != nil {
		n.status.handle(n, reg)
	}
	n.grpc, err = server.NewGRPC(n.server, server.GRPCConfig{Security: sec, StopTimeout: n.cfg.Server.GracefulShutdownTimeout.Duration})
	return err
}

// send hands messages to the transport, as far as a test's filter lets them.
func (n *Node) send(msgs []*raft_serverpb.RaftMessage) {
	if n.filter != nil {
		msgs = slices.DeleteFunc(msgs, n.filtered)
	}
	n.wire.Send(msgs)
}

// filtered reports whether the filter refuses a message. Of a snapshot raft must be told, or it waits for the word that it arrived.
func (n *Node) filtered(m *raft_serverpb.RaftMessage) bool {
	if n.filter(m) {
		return false
	}
	if m.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
		n.store.SnapshotSent(m.RegionId, m.ToPeer.GetId(), false)
	}
	return true
}

// serve answers requests until Close. A listener that breaks is the store's end: nobody could reach it any more.
func (n *Node) serve() {
	n.serving = make(chan struct{})
	go func() {
		defer close(n.serving)
		if err := n.grpc.Serve(n.listener); err != nil {
			n.store.Fail(err)
		}
	}()
}

// Addr is where other stores and clients reach the store.
func (n *Node) Addr() string {
	return advertised(n.cfg.Server.AdvertiseAddr, n.listener)
}

// StatusAddr is where the status server is reached, empty when there is none.
func (n *Node) StatusAddr() string {
	if n.status == nil {
		return ""
	}
	return advertised(n.cfg.Server.AdvertiseStatusAddr, n.status.listener)
}

func advertised(set string, l net.Listener) string {
	if set != "" {
		return set
	}
	return l.Addr().String()
}

// ID is the store's id.
func (n *Node) ID() uint64 { return n.ident.StoreId }

// Fatal delivers the error after which the node must be closed.
func (n *Node) Fatal() <-chan error { return n.store.Fatal() }

// Stuck is an error when a worker of the store has been at one piece of work for longer than limit.
func (n *Node) Stuck(limit time.Duration) error { return n.store.Stuck(limit) }

// Close stops the store: first those who bring work, then those who do it, the disks last.
func (n *Node) Close() {
	n.closeOnce.Do(func() {
		if n.serving != nil {
			// Clients' streams come to their end while the other stores are still to be reached; then the stores' streams end.
			n.server.Drain()
			n.server.Wait()
			n.wire.Close()
			n.grpc.Stop(context.Background())
			<-n.serving
		} else if n.listener != nil {
			_ = n.listener.Close() // nobody has served on it
		}
		if n.status != nil {
			n.status.close()
		}
		if n.reclaim != nil {
			n.reclaim.Close()
		}
		if n.splitter != nil {
			n.splitter.Close()
		}
		n.damage.close()
		if n.store != nil {
			n.store.Close()
		}
		if n.wire != nil {
			n.wire.Close()
		}
		if n.snapshots != nil {
			if err := n.snapshots.Close(); err != nil {
				n.logger.Error("cannot let go of snapshots", zap.Error(err))
			}
		}
		for _, db := range []engine.Engine{n.state, n.log} {
			if db == nil || n.borrowed {
				continue
			}
			if err := db.Close(); err != nil {
				n.logger.Error("cannot close an engine", zap.Error(err))
			}
		}
	})
}
