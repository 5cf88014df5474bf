// Package client is how a store talks to the scheduler: plain gRPC, the leader found and found again, and one stream of
// region heartbeats.
//
// A call goes to the leader as last known. When it fails in a way that another leader could mend (unreachable, not leader,
// timed out), the leader is looked up again among the endpoints and all members learned from them, and the call repeated
// until its context ends; so a call may take effect more than once, and every call here bears that. Other errors are
// returned: what the scheduler says in an answer's header as an *Error or one of the values below.
//
// Region heartbeats are best effort. They wait in a bounded queue, the newest of each region only, for the one goroutine
// that owns the stream. Each time a stream is opened, the caller is asked to report all its leaders again: a new leader
// knows nothing but what stores tell it, and what was on its way when the old stream broke is gone.
package client

import (
	"context"
	stderrors "errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	askMemberBy = 2 * time.Second // one member's answer to "who leads?"
	attemptBy   = 5 * time.Second // one attempt of a call: a leader that is frozen or cut off holds it up for that long
	minBackoff  = 20 * time.Millisecond
	maxBackoff  = 500 * time.Millisecond
	tellWaiting = 3 * time.Second // how often New says that it still waits
)

// What a store acts on among the scheduler's answers.
var (
	ErrNotBootstrapped     = stderrors.New("the cluster is not bootstrapped")
	ErrAlreadyBootstrapped = stderrors.New("the cluster is already bootstrapped")
	ErrStoreNotFound       = stderrors.New("the scheduler does not know the store")
	ErrStoreTombstone      = stderrors.New("the store was removed from the cluster for good")
)

// Error is what the scheduler said in the header of an answer.
type Error struct {
	Type    pdpb.ErrorType
	Message string
}

// Error is the scheduler's own text.
func (e *Error) Error() string { return fmt.Sprintf("scheduler: %s (%s)", e.Message, e.Type) }

// Dial connects to host:port. It should not block: the connection may come up later.
type Dial func(ctx context.Context, addr string) (*grpc.ClientConn, error)

// Client talks to one scheduler group. Its methods are safe for concurrent use.
type Client struct {
	log       *zap.Logger
	dial      Dial
	clusterID uint64

	mu        sync.Mutex // guards what follows; not held while asking
	members   []string   // host:port of all members ever heard of, the configured ones first
	conns     map[string]*grpc.ClientConn
	leader    string // "" while unknown
	finding   sync.Mutex
	heartbeat *heartbeats
	splits    chan func(context.Context)

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// New finds the leader and learns the cluster's id. It tries until ctx ends, because a store may start before the
// scheduler. Endpoints are host:port, with or without http:// in front.
func New(ctx context.Context, endpoints []string, dial func(ctx context.Context, addr string) (*grpc.ClientConn, error),
	logger *zap.Logger,
) (*Client, error) {
	c := &Client{log: logger, dial: dial, conns: make(map[string]*grpc.ClientConn), heartbeat: newHeartbeats(), splits: make(chan func(context.Context), maxSplitsQueued)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, e := range endpoints {
		if addr := address(e); addr != "" {
			c.members = append(c.members, addr)
		}
	}
	if len(c.members) == 0 {
		return nil, errors.New("no scheduler endpoint is given")
	}
	waited := time.Duration(0)
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		_, err := c.findLeader(ctx)
		if err == nil {
			return c, nil
		}
		if before := waited; before/tellWaiting < (before+wait)/tellWaiting {
			logger.Warn("waiting for a scheduler: is it running, and at these addresses?", zap.Strings("pd.endpoints", endpoints), zap.Error(err))
		}
		waited += wait
		if !sleep(ctx, wait) {
			c.Close()
			return nil, errors.Annotatef(err, "no scheduler leads at %s", strings.Join(endpoints, ", "))
		}
	}
}

// ClusterID is the cluster's id, which never changes.
func (c *Client) ClusterID() uint64 { return c.clusterID }

// Close ends the heartbeat stream and all calls, and joins what Start began.
func (c *Client) Close() {
	c.cancel()
	c.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, conn := range c.conns {
		if err := conn.Close(); err != nil {
			c.log.Warn("closing a connection to the scheduler", zap.String("addr", addr), zap.Error(err))
		}
	}
	c.conns = nil
}

func (c *Client) header() *pdpb.RequestHeader { return &pdpb.RequestHeader{ClusterId: c.clusterID} }

// call runs one unary call at the leader until it is answered or ctx ends.
func call[T any](ctx context.Context, c *Client, do func(context.Context, pdpb.PDClient) (T, error)) (T, error) {
	var none T
	for wait := minBackoff; ; wait = min(2*wait, maxBackoff) {
		pd, addr, err := c.leaderClient(ctx)
		if err == nil {
			attempt, cancel := context.WithTimeout(ctx, attemptBy)
			var res T
			res, err = do(attempt, pd)
			cancel()
			if err == nil {
				return res, nil
			}
			if !mendable(err) {
				return none, err
			}
			c.forgetLeader(addr)
		}
		if c.ctx.Err() != nil || !sleep(ctx, wait) {
			return none, err
		}
	}
}

// mendable says that the call might succeed at another leader, or later. A member that refuses our cluster id has taken
// over the address of one of ours.
func mendable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted:
		return true
	}
	for _, text := range []string{"not leader", "no leader", "mismatch cluster id"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// check turns an answer's header into an error.
func check(h *pdpb.ResponseHeader) error {
	e := h.GetError()
	switch e.GetType() {
	case pdpb.ErrorType_OK:
		return nil
	case pdpb.ErrorType_NOT_BOOTSTRAPPED:
		return ErrNotBootstrapped
	case pdpb.ErrorType_ALREADY_BOOTSTRAPPED:
		return ErrAlreadyBootstrapped
	case pdpb.ErrorType_STORE_TOMBSTONE:
		return fmt.Errorf("%w: %s", ErrStoreTombstone, e.Message)
	}
	return &Error{Type: e.Type, Message: e.Message}
}

// sleep waits; false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
