package client

import (
	"context"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
)

// maxQueued bounds the heartbeats that wait for the stream. Beyond it new regions are dropped; they report again.
const maxQueued = 1 << 17

// heartbeats is the queue in front of the stream: the newest heartbeat of each region, in the order in which the regions
// first asked.
type heartbeats struct {
	mu    sync.Mutex
	order []uint64
	byID  map[uint64]*pdpb.RegionHeartbeatRequest
	wake  chan struct{}
}

func newHeartbeats() *heartbeats {
	return &heartbeats{
		byID: make(map[uint64]*pdpb.RegionHeartbeatRequest), wake: make(chan struct{}, 1),
	}
}

func (h *heartbeats) put(req *pdpb.RegionHeartbeatRequest) {
	id := req.GetRegion().GetId()
	h.mu.Lock()
	if h.byID[id] == nil {
		if len(h.order) >= maxQueued {
			h.mu.Unlock()
			return
		}
		h.order = append(h.order, id)
	}
	h.byID[id] = req
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (h *heartbeats) take() []*pdpb.RegionHeartbeatRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	batch := make([]*pdpb.RegionHeartbeatRequest, 0, len(h.order))
	for _, id := range h.order {
		batch = append(batch, h.byID[id])
	}
	h.order = h.order[:0]
	clear(h.byID)
	return batch
}

// RegionHeartbeat queues a report of a region that this store leads. It never blocks and may lose the report. The header
// is filled in here; the request belongs to the client from now on.
func (c *Client) RegionHeartbeat(req *pdpb.RegionHeartbeatRequest) {
	req.Header = c.header()
	c.heartbeat.put(req)
}

// Start serves splits, opens the heartbeat stream and keeps it open until Close. onResponse takes each command, onReconnect is called
// when a stream has been opened, the first one too, and should make every leader report again. Both are called on
// goroutines of the client, one call at a time each, and must not block. Start may be called once.
func (c *Client) Start(onResponse func(*pdpb.RegionHeartbeatResponse), onReconnect func()) {
	c.running.Go(c.serveSplits)
	c.running.Go(func() {
		wait := minBackoff
		for c.ctx.Err() == nil {
			began := time.Now()
			err := c.stream(onResponse, onReconnect)
			if c.ctx.Err() != nil {
				return
			}
			c.log.Info("the heartbeat stream to the scheduler broke; opening it again", zap.Error(err))
			if time.Since(began) > maxBackoff {
				wait = minBackoff
			}
			sleep(c.ctx, wait)
			wait = min(2*wait, maxBackoff)
		}
	})
}

// stream opens one stream and serves it until it breaks.
func (c *Client) stream(onResponse func(*pdpb.RegionHeartbeatResponse), onReconnect func()) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	pd, addr, err := c.leaderClient(ctx)
	if err != nil {
		return err
	}
	stream, err := pd.RegionHeartbeat(ctx)
	if err != nil {
		c.forgetLeader(addr)
		return err
	}
	c.log.Info("reporting regions to the scheduler", zap.String("leader", addr))
	broken := make(chan error, 1)
	var receiving sync.WaitGroup
	receiving.Go(func() { broken <- c.receive(stream, onResponse) })
	defer func() { cancel(); receiving.Wait() }()
	onReconnect()
	for {
		for _, req := range c.heartbeat.take() {
			if err := stream.Send(req); err != nil {
				c.forgetLeader(addr)
				return <-broken // Send only says that it broke, Recv says why
			}
		}
		select {
		case <-c.heartbeat.wake:
		case err := <-broken:
			c.forgetLeader(addr)
			return err
		}
	}
}

func (c *Client) receive(stream pdpb.PD_RegionHeartbeatClient, onResponse func(*pdpb.RegionHeartbeatResponse)) error {
	for {
		res, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := check(res.GetHeader()); err != nil {
			c.log.Warn("the scheduler refused a region's heartbeat",
				zap.Uint64("region", res.GetRegionId()), zap.Error(err))
			continue
		}
		onResponse(res)
	}
}
