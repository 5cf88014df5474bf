// Package transport carries raft messages between stores: best effort, never blocking its caller, bounded everywhere.
//
// What is sent to a store waits in that store's queue, bounded by count and bytes; what does not fit is dropped and counted. One goroutine for each
// store takes all that waits, up to a frame's size, and sends it as one BatchRaftMessage on the one stream that it keeps open. So messages gather
// by themselves while the one before is on its way, and a store that reads slowly, or not at all, costs its queue, one frame and
// the stream's window, and delays nobody else.
//
// A stream that ends, for whatever reason, is a session lost: what waits is dropped, the raftstore is told that the store is unreachable,
// and after a pause the next message starts a new session, from the beginning: ask for the address, dial, open the stream. So an address
// may change at any time. While the scheduler cannot be asked, the last address known serves.
//
// A message with a region snapshot takes another road, so that its bytes are in nobody's way: a connection of its own, on which the
// message goes first and the snapshot follows in chunks, which are made as they are sent. The receiving store verifies each while it takes it in, and delivers the message
// when the snapshot is whole. A few transfers run at a time; how each ended is reported.
//
// Every stream says in its metadata which cluster it belongs to, which store it comes from and which store it means, and every message is checked again: a store that
// took over another's address, or a foreign cluster's, is refused with an error that names both.
//
// The package leans on rpc (through Options.Dial) for connections that notice a dead peer, and on snapfile for the snapshots.
package transport

import (
	"context"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// Resolver tells where a store listens.
type Resolver interface {
	// Address returns the store's address, host:port or with a scheme. It may ask the scheduler.
	Address(ctx context.Context, storeID uint64) (string, error)
}

// Handler is the raftstore's side of the transport. Its methods are called on the transport's goroutines (SnapshotSent also from
// within Send), from several at once, until Close returns; they must not block and must not call back into the transport.
type Handler interface {
	// Deliver hands over messages from other stores, which now belong to the handler. It may drop them.
	Deliver(msgs []*raft_serverpb.RaftMessage)
	// Unreachable says that messages to that store have been lost.
	Unreachable(storeID uint64)
	// SnapshotSent says whether a snapshot has arrived whole at the peer's store; false also when this is not known. It is called once for
	// every snapshot message that is given to Send, unless Close comes before.
	SnapshotSent(regionID, toPeer uint64, ok bool)
}

// Limits bound what the transport holds. A zero field takes its default.
type Limits struct {
	// QueueMessages and QueueBytes bound what waits for one store; what exceeds them is dropped. Defaults 16,384 and 64 MiB.
	QueueMessages, QueueBytes int
	// FrameMessages and FrameBytes bound one BatchRaftMessage; a larger single message travels alone. Defaults 1,024 and 1 MiB.
	FrameMessages, FrameBytes int
	// SnapshotSends and SnapshotReceives bound the transfers at one time, SnapshotQueue those that wait to be sent.
	// Defaults 4, 8 and 128.
	SnapshotSends, SnapshotReceives, SnapshotQueue int
	// SnapshotBytesPerSec bounds what is received of all snapshots together; 0 is no bound.
	SnapshotBytesPerSec int64
	// SnapshotStall is how long a snapshot's sender waits for any one chunk to leave, or for the answer. Default 30 s.
	SnapshotStall time.Duration
}

func (l *Limits) fill() {
	for _, d := range []struct {
		limit *int
		value int
	}{
		{&l.QueueMessages, 16 << 10},
		{&l.QueueBytes, 64 << 20},
		{&l.FrameMessages, 1 << 10},
		{&l.FrameBytes, 1 << 20},
		{&l.SnapshotSends, 4},
		{&l.SnapshotReceives, 8},
		{&l.SnapshotQueue, 128},
	} {
		if *d.limit == 0 {
			*d.limit = d.value
		}
	}
	if l.SnapshotStall == 0 {
		l.SnapshotStall = 30 * time.Second
	}
}

// Options is what a Transport is made of.
type Options struct {
	// StoreID is this store, ClusterID its cluster; both travel with every stream and are checked at its other end.
	StoreID, ClusterID uint64
	Resolver           Resolver
	// Dial returns a connection to an address that Resolver gave: rpc.Dial with the store's security settings.
	Dial      func(addr string) (*grpc.ClientConn, error)
	Snapshots *snapfile.Manager
	Handler   Handler
	// Logger and Metrics may be nil.
	Logger  *zap.Logger
	Metrics prometheus.Registerer
	Limits  Limits
}

// Transport carries raft messages between this store and the others. Beside Send, it is the receiving half of the streams that other stores
// open: its methods Raft, BatchRaft and Snapshot are those of tikvpb.TikvServer.
type Transport struct {
	opts     Options
	log      *zap.Logger
	metrics  *metrics
	sends    chan *raft_serverpb.RaftMessage // snapshot messages that wait for a worker
	inbound  *rate.Limiter                   // of snapshots' bytes; nil when there is no bound
	receives chan struct{}                   // a token for each snapshot that is being received

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	closed  bool // then wg grows no more
	remotes map[uint64]*remote
}

// New returns a transport that is ready to send and to receive; it must be closed.
func New(opts Options) (*Transport, error) {
	opts.Limits.fill()
	t := &Transport{
		opts:     opts,
		log:      opts.Logger,
		metrics:  newMetrics(),
		sends:    make(chan *raft_serverpb.RaftMessage, opts.Limits.SnapshotQueue),
		receives: make(chan struct{}, opts.Limits.SnapshotReceives),
		remotes:  make(map[uint64]*remote),
	}
	if n := opts.Limits.SnapshotBytesPerSec; n > 0 {
		t.inbound = rate.NewLimiter(rate.Limit(n), 4*chunkSize)
	}
	if t.log == nil {
		t.log = zap.NewNop()
	}
	if opts.Metrics != nil {
		if err := t.metrics.register(opts.Metrics); err != nil {
			return nil, errors.Annotate(err, "register the transport's metrics")
		}
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	for range opts.Limits.SnapshotSends {
		t.wg.Go(t.sendSnapshots)
	}
	return t, nil
}

// Close ends all streams, in both directions, and returns when the transport's goroutines have ended. What waits is lost.
func (t *Transport) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.wg.Wait()
}

// Send hands messages over, to any stores. It never blocks; a message may be lost, and messages may overtake each other. They must not be changed
// any more. Safe for concurrent use.
func (t *Transport) Send(msgs []*raft_serverpb.RaftMessage) {
	// Waking only when all are queued lets a store's messages leave in one frame.
	var room [8]*remote
	touched := room[:0]
	for _, m := range msgs {
		if isSnapshot(m) {
			t.queueSnapshot(m)
			continue
		}
		r := t.remote(m.ToPeer.GetStoreId())
		if r == nil || !r.queue.put(m) {
			t.metrics.dropped.WithLabelValues(reasonQueueFull).Inc()
			continue
		}
		touched = appendOnce(touched, r)
	}
	for _, r := range touched {
		r.queue.wakeUp()
	}
}

func appendOnce(remotes []*remote, r *remote) []*remote {
	for _, known := range remotes {
		if known == r {
			return remotes
		}
	}
	return append(remotes, r)
}

// remote returns the sending side for a store, nil when the transport is closed.
func (t *Transport) remote(storeID uint64) *remote {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	r := t.remotes[storeID]
	if r == nil {
		r = newRemote(t, storeID)
		t.remotes[storeID] = r
		t.wg.Go(r.run)
	}
	return r
}

func isSnapshot(m *raft_serverpb.RaftMessage) bool {
	return m.GetMessage().GetMsgType() == eraftpb.MessageType_MsgSnapshot
}
