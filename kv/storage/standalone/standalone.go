// Package standalone is storage.Storage over one engine, without raft: one region, id 1, covers every key, this process
// is its only replica and always its leader.
//
// It exists for stage 1 of the suites, for tests of the rooms above, and for measuring those rooms without consensus
// below them. Because nothing can move, a request's store, peer, epoch and term are not checked; a region id other than
// 0 (not given) and 1 is refused.
//
// The steps of a write: it is queued (a full queue refuses it), a single worker takes everything that waits,
// makes one engine batch of it, commits that batch, and answers each write. So writes that wait share one commit, and one fsync when
// syncing is on. A read takes an engine snapshot on the caller's goroutine: a write is answered only after its commit, so the
// snapshot shows every write that was acknowledged before the read was asked for.
//
// When a commit fails, nobody knows what of it a restart will find: its writes are undetermined, the storage is broken,
// and every later write is rejected with the failure that broke it.
package standalone

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// RegionID is the id of the one region.
const RegionID = 1

// term never changes: there is no election.
const term = 1

// Options are the choices of a Storage; zero fields take their defaults.
type Options struct {
	// Sync makes every acknowledged write durable; without it a crash may take the latest ones.
	Sync bool
	// QueueLength is how many writes may wait before more are refused; default 4096.
	QueueLength int
	// BatchBytes is the size at which an engine batch takes no further write; default 1 MiB.
	BatchBytes int
}

func (o Options) withDefaults() Options {
	if o.QueueLength <= 0 {
		o.QueueLength = 4096
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 1 << 20
	}
	return o
}

// busyBackoff is the hint for a refused client: long enough for a full queue to drain.
const busyBackoff = 10 * time.Millisecond

// Storage is one engine behind the seam of package storage. It is made by New and ended by Close.
type Storage struct {
	engine engine.Engine
	opts   Options
	region *metapb.Region

	mu      sync.RWMutex // held for reading while a request enters, for writing by Close
	stopped bool

	queue chan write
	done  chan struct{} // closed when the worker has ended
}

var _ storage.Storage = (*Storage)(nil)

// write is a queued request.
type write struct {
	batch []storage.Modify
	done  func(error)
}

// New returns a running Storage over e, which remains the caller's to close, after Close.
func New(e engine.Engine, opts Options) *Storage {
	opts = opts.withDefaults()
	s := &Storage{
		engine: e,
		opts:   opts,
		region: &metapb.Region{
			Id:          RegionID,
			RegionEpoch: &metapb.RegionEpoch{ConfVer: 1, Version: 1},
			Peers:       []*metapb.Peer{{Id: 1, StoreId: 1}},
		},
		queue: make(chan write, opts.QueueLength),
		done:  make(chan struct{}),
	}
	go s.run()
	return s
}

// Close refuses new requests, performs the writes that were queued, and returns when the last one is answered.
func (s *Storage) Close() {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.queue)
	}
	s.mu.Unlock()
	<-s.done
}

// Read implements storage.Storage; done is called before it returns.
func (s *Storage) Read(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.check(ctx, at); err != nil {
		done(nil, err)
		return
	}
	done(&snapshot{Snapshot: s.engine.NewSnapshot(), region: s.region}, nil)
}

// Write implements storage.Storage; done is called by the worker, or before Write returns when the write is refused.
func (s *Storage) Write(ctx context.Context, at storage.Target, _ uint64, batch []storage.Modify, done func(error)) {
	if err := s.enqueue(ctx, at, write{batch: batch, done: done}); err != nil {
		done(err)
	}
}

func (s *Storage) enqueue(ctx context.Context, at storage.Target, w write) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.check(ctx, at); err != nil {
		return err
	}
	select {
	case s.queue <- w:
		return nil
	default:
		return &region.ServerIsBusyError{
			Reason:  fmt.Sprintf("%d writes are waiting", s.opts.QueueLength),
			Backoff: busyBackoff,
		}
	}
}

// check says why a request cannot be served at all. The caller holds mu.
func (s *Storage) check(ctx context.Context, at storage.Target) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.stopped {
		return &region.StoppedError{StoreID: s.region.Peers[0].StoreId}
	}
	if at.RegionID != 0 && at.RegionID != RegionID {
		return &region.NotFoundError{RegionID: at.RegionID}
	}
	return nil
}

// snapshot is an engine's snapshot that knows its region.
type snapshot struct {
	engine.Snapshot
	region *metapb.Region
}

// Region implements storage.Snapshot.
func (s *snapshot) Region() *metapb.Region { return s.region }

// Term implements storage.Snapshot.
func (s *snapshot) Term() uint64 { return term }
