// Package server is the store's face: gRPC in, gRPC out. It speaks tikvpb.Tikv as unmodified TiKV clients expect it.
//
// What happens to a request: its Context is read (caller.go: which cluster, region, replica; how long may it take), its
// fields are held against the limits (limits.go), reads run on a snapshot and writes become a batch of storage.Modify
// (raw_*.go), and an error becomes the region error, error text or gRPC status that makes the client do the right
// thing next (errors.go). The server itself knows nothing about leaders and epochs: package storage checks them.
//
// Clients send nearly everything as commands in the messages of a BatchCommands stream, so that is the hot path (batch_*.go):
// one message's point reads share one snapshot for each region, its point writes one storage.Write for each region, no command
// has a goroutine of its own, and answers are gathered and sent many a message. The unary methods share all rules with
// it but not its economy.
//
// A method that is not built answers Unimplemented; as a command in a stream it gets its own response type with an error in it, because a
// stream's failure would fail every command on it. Beneath is package storage; gRPC's assembly (grpc.go) has one place, so that
// listening with TLS needs a change there only.
package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/kv/storage"
)

// Server implements tikvpb.TikvServer over a storage.Storage. Make it with NewServer.
type Server struct {
	tikvpb.UnimplementedTikvServer

	storage   storage.Storage
	limits    Limits
	clusterID uint64
	storeID   uint64
	raft      RaftService
	splitter  Splitter
	life      *life
	metrics   *metrics
	latches   *latches
	clock     rawClock
	feedback  atomic.Uint64 // sequence number of the last health feedback

	reads, writes sync.Pool // of *readCall and *writeCall
}

// Option changes a Server while it is made.
type Option func(*Server)

// WithClusterID makes the server refuse requests whose Context names another cluster; 0, the default, checks nothing.
func WithClusterID(id uint64) Option { return func(s *Server) { s.clusterID = id } }

// WithStoreID sets the store id that health feedback carries.
func WithStoreID(id uint64) Option { return func(s *Server) { s.storeID = id } }

// WithLimits replaces the default limits; zero fields keep their defaults.
func WithLimits(l Limits) Option { return func(s *Server) { s.limits = l.withDefaults() } }

// WithRaft sets who answers the streams between stores; without it they are Unimplemented.
func WithRaft(r RaftService) Option { return func(s *Server) { s.raft = r } }

// WithTTL turns TTL mode on: raw values are stored with an expiry, which wall decides about. What is below must have been written in this mode.
func WithTTL(wall func() time.Time) Option { return func(s *Server) { s.clock = wall } }

// WithRegistry registers the server's metrics; without it they are counted but shown nowhere. It panics when the registry already
// has a server's.
func WithRegistry(r prometheus.Registerer) Option {
	return func(s *Server) { r.MustRegister(s.metrics) }
}

// NewServer returns a server over s, which remains the caller's to close, after the server has stopped.
func NewServer(s storage.Storage, opts ...Option) *Server {
	srv := &Server{
		storage: s,
		limits:  Limits{}.withDefaults(),
		metrics: newMetrics(),
		latches: newLatches(),
		life:    newLife(),
	}
	srv.reads.New = func() any { return newReadCall() }
	srv.writes.New = func() any { return newWriteCall() }
	srv.feedback.Store(uint64(time.Now().UnixMilli()))
	for _, opt := range opts {
		opt(srv)
	}
	return srv
}

// Drain asks the BatchCommands streams, which clients never end, to answer what they have received and to end with Unavailable.
// It returns at once; a stream whose answers do not come ends after the limit DrainTimeout. When they all have ended, so do the streams
// between stores.
func (s *Server) Drain() { s.life.stop() }

// Wait returns when, after Drain, all streams have ended, with every goroutine that they started.
func (s *Server) Wait() { s.life.wait() }

// healthFeedback is what clients may use to prefer a faster replica. Slowness is not measured yet: the score says "fast".
func (s *Server) healthFeedback() *kvrpcpb.HealthFeedback {
	const fastest = 1
	return &kvrpcpb.HealthFeedback{StoreId: s.storeID, FeedbackSeqNo: s.feedback.Add(1), SlowScore: fastest}
}
