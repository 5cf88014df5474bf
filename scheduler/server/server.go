// Package server is the scheduler as a process sees it: the pdpb services and the HTTP API on one port, over the machine
// of scheduler/machine and the durable map of scheduler/meta.
//
// The order of its life is:
//
//  1. Start runs the member's etcd, whose client port carries the services too.
//  2. A goroutine campaigns. When this member leads, it builds a term: everything that a leader owns (timestamps, ids, the
//     picture of the cluster, safe points, heartbeat streams), loaded from the durable map. Only then is the term
//     published and requests are served from it.
//  3. When the leadership is lost the term is withdrawn and dropped, and the campaign begins anew. A member without a term
//     answers "not leader"; clients look for the leader with GetMembers, which every member answers. Those that cannot
//     reach the leader ask a follower to forward (forward.go), and HTTP requests are passed on unasked (redirect.go).
//  4. Close resigns, so that another member need not wait for the lease to run out, cuts the streams and stops etcd.
//
// A handler checks cluster id and leadership (request.go), asks the machine at its desk (desk.go), and answers in
// the words that clients of this family act on. What to decide is the machine's; what is to be locked, written, logged and counted is here.
//
// Generated pdpb types stop here and in scheduler/wire: the machines below speak metapb and their own types.
package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/meta_storagepb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/profiling"
	"github.com/shoal-kv/shoal/scheduler/dashboard"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// Server is one scheduler.
type Server struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	node    atomic.Pointer[meta.Node] // nil until etcd serves; requests may come before
	term    atomic.Pointer[term]      // nil unless this member leads
	stop    context.CancelFunc
	leading sync.WaitGroup // the goroutine that campaigns and leads
	// receivers counts the goroutines that read streams for their handlers; they end after these have.
	receivers sync.WaitGroup
	started   int64 // unix seconds
	forwards  forwards
	redirects http.Transport
}

// New checks the configuration; nothing runs yet.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger}
	s.metrics = newMetrics(s)
	return s, nil
}

// Start runs the scheduler. It returns when etcd serves, or fails when ctx ends before; leadership comes a moment later.
func (s *Server) Start(ctx context.Context) error {
	if err := s.metrics.register(s.cfg.Registry); err != nil {
		return err
	}
	node, err := meta.Start(ctx, meta.Config{
		Name: s.cfg.Name, DataDir: s.cfg.DataDir,
		ClientURLs: s.cfg.ClientURLs, AdvertiseClientURLs: s.cfg.AdvertiseClientURLs,
		PeerURLs: s.cfg.PeerURLs, AdvertisePeerURLs: s.cfg.AdvertisePeerURLs,
		InitialCluster: s.cfg.InitialCluster, Join: s.cfg.Join,
		Register: s.registerServices,
		GRPC:     []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.metrics.timeCall, s.forwardCall), grpc.ChainStreamInterceptor(s.forwardStream)},
		Handlers: s.handlers(),
		Lease:    s.cfg.LeaderLease, Watch: s.metrics.watch(),
		Wall: s.cfg.Clocks.Wall, Monotonic: s.cfg.Clocks.Monotonic,
		Logger: s.log,
	})
	if err != nil {
		s.metrics.unregister(s.cfg.Registry)
		return err
	}
	s.started = s.cfg.Clocks.Wall().Unix()
	s.node.Store(node)
	s.log.Info("scheduler started", zap.String("name", s.cfg.Name), zap.Uint64("cluster-id", node.ClusterID()),
		zap.Strings("client-urls", node.Self().ClientURLs))
	running, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.leading.Go(func() { s.lead(running, node) })
	return nil
}

// Close stops a started scheduler and joins all that it runs. Requests in progress are cut off.
func (s *Server) Close() {
	s.stop()
	s.leading.Wait()
	s.node.Load().Close()
	s.receivers.Wait()
	s.forwards.close(s.log)
	s.redirects.CloseIdleConnections()
	s.metrics.unregister(s.cfg.Registry)
	s.log.Info("scheduler stopped", zap.String("name", s.cfg.Name))
}

// Err reports that the scheduler's etcd failed; the process should end. What it says after Close was called means nothing.
func (s *Server) Err() <-chan error { return s.node.Load().Err() }

// ClusterID is known once Start has returned.
func (s *Server) ClusterID() uint64 { return s.node.Load().ClusterID() }

// ClientURL is the first URL under which clients reach this member.
func (s *Server) ClientURL() string { return s.cfg.AdvertiseClientURLs[0] }

// Ping is an error unless this member's HTTP side answers before ctx ends.
func (s *Server) Ping(ctx context.Context) error {
	if !pings(ctx, s.cfg.ClientURLs) {
		return errors.Errorf("%s does not answer", strings.Join(s.cfg.ClientURLs, ","))
	}
	return nil
}

// Leads reports whether this member leads and serves.
func (s *Server) Leads() bool { return s.term.Load() != nil }

// lead wins, serves and loses leadership until ctx ends.
func (s *Server) lead(ctx context.Context, node *meta.Node) {
	for ctx.Err() == nil {
		leadership, err := node.Campaign(ctx)
		if err != nil {
			return
		}
		t, err := newTerm(ctx, s, leadership)
		if err != nil {
			s.log.Warn("the term could not be built; campaigning again", zap.Error(err))
			leadership.Resign()
			continue
		}
		s.term.Store(t)
		s.log.Info("this scheduler leads", zap.String("name", s.cfg.Name))
		select {
		case <-ctx.Done():
		case <-leadership.Lost():
		}
		s.term.Store(nil)
		leadership.Resign()
		t.join()
	}
}

func (s *Server) registerServices(g *grpc.Server) {
	pdpb.RegisterPDServer(g, &service{Server: s})
	meta_storagepb.RegisterMetaStorageServer(g, &metaStorage{server: s})
}

// handlers are HTTP handlers by pattern; etcd's own stay below them.
func (s *Server) handlers() map[string]http.Handler {
	board := s.redirected(dashboard.New(s.view))
	return map[string]http.Handler{
		"/pd/":               s.redirected(s.api()),
		ownPrefix + "/":      s.redirected(s.ownAPI()),
		dashboard.Path:       board,
		dashboard.Path + "/": board,
		"/health":            http.HandlerFunc(s.httpHealth),
		"/metrics":           s.metrics.handler(s.cfg.Registry),
		profiling.Path:       s.profiles(),
	}
}

// service implements pdpb.PD. What is not built answers Unimplemented.
type service struct {
	pdpb.UnimplementedPDServer
	*Server
}
