package transport

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	// resolveTimeout bounds how long a new session waits for the scheduler before it takes the last address known.
	resolveTimeout = time.Second
	// The pause after a lost session doubles from minPause to maxPause, and starts over when a session has lasted for settled.
	minPause = 50 * time.Millisecond
	maxPause = time.Second
	settled  = 2 * time.Second
)

// remote is the way to one other store. Its goroutine, run, keeps the stream of raft messages.
type remote struct {
	transport *Transport
	storeID   uint64
	queue     *queue

	mu      sync.Mutex
	address string // the last one known
}

func newRemote(t *Transport, storeID uint64) *remote {
	return &remote{
		transport: t,
		storeID:   storeID,
		queue:     newQueue(t.opts.Limits.QueueMessages, t.opts.Limits.QueueBytes),
	}
}

func (r *remote) run() {
	t := r.transport
	pause, reported := minPause, false
	for r.waitForMessages() {
		opened, err := r.session(t.ctx)
		if t.ctx.Err() != nil {
			return
		}
		if !opened.IsZero() && time.Since(opened) > settled {
			pause, reported = minPause, false
		}
		t.metrics.dropped.WithLabelValues(reasonUnreachable).Add(float64(r.queue.clear()))
		t.metrics.countUnreachable(r.storeID)
		t.opts.Handler.Unreachable(r.storeID)
		if !reported { // once for an outage, not for every attempt
			t.log.Warn("lost the raft stream to a store, trying again", zap.Uint64("store-id", r.storeID), zap.Error(err))
			reported = true
		}
		select {
		case <-time.After(pause):
		case <-t.ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// waitForMessages returns false when the transport closes first.
func (r *remote) waitForMessages() bool {
	for r.queue.empty() {
		select {
		case <-r.queue.wake:
		case <-r.transport.ctx.Done():
			return false
		}
	}
	return true
}

// session connects to the store and sends what is queued until the stream ends. It returns when the stream was opened, if it was, and why
// it has ended.
func (r *remote) session(ctx context.Context) (opened time.Time, err error) {
	conn, err := r.dial(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close() // its stream has ended
	defer func() { err = errors.Annotatef(err, "raft stream to %s", conn.Target()) }()
	ctx, cancel := context.WithCancel(ctx)
	stream, err := tikvpb.NewTikvClient(conn).BatchRaft(r.transport.identify(ctx, r.storeID))
	if err != nil {
		cancel()
		return time.Time{}, err
	}
	opened = time.Now()
	// The store answers only when it ends the stream. That must not remain unnoticed until there is something to send.
	ended, cause := make(chan struct{}), error(nil)
	go func() {
		defer close(ended)
		if cause = stream.RecvMsg(new(raft_serverpb.Done)); cause == nil {
			cause = io.EOF
		}
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for {
		if err := r.pump(stream); err == io.EOF {
			<-ended
			return opened, cause
		} else if err != nil {
			return opened, err
		}
		select {
		case <-r.queue.wake:
		case <-ended:
			return opened, cause
		}
	}
}

// pump sends all that waits. An io.EOF says that the stream has ended for a reason that the store tells.
func (r *remote) pump(stream tikvpb.Tikv_BatchRaftClient) error {
	t := r.transport
	for {
		if r.queue.takeLost() {
			t.metrics.countUnreachable(r.storeID)
			t.opts.Handler.Unreachable(r.storeID)
		}
		msgs := r.queue.take(t.opts.Limits.FrameMessages, t.opts.Limits.FrameBytes)
		if len(msgs) == 0 {
			return nil
		}
		if err := stream.Send(&tikvpb.BatchRaftMessage{Msgs: msgs}); err != nil {
			t.metrics.dropped.WithLabelValues(reasonUnreachable).Add(float64(len(msgs)))
			return err
		}
		t.metrics.sent.Add(float64(len(msgs)))
	}
}

// dial returns a new connection to the store, at the address that it has now.
func (r *remote) dial(ctx context.Context) (*grpc.ClientConn, error) {
	address, err := r.resolve(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := r.transport.opts.Dial(address)
	return conn, errors.Trace(err)
}

func (r *remote) resolve(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	address, err := r.transport.opts.Resolver.Address(ctx, r.storeID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.address = address
	}
	if r.address == "" {
		return "", errors.Annotatef(err, "find the address of store %d", r.storeID)
	}
	return r.address, nil
}
