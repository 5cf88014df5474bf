package server

import (
	stderrors "errors"
	"io"
	"strconv"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// RegionHeartbeat serves one store's stream: the leaders on it report their regions, and are told what to do. One goroutine
// reads and decides, this one sends; so commands can also be pushed from elsewhere, and the stream ends the moment the
// leadership does, which makes the store look for the next leader.
func (s *service) RegionHeartbeat(stream pdpb.PD_RegionHeartbeatServer) error {
	t := s.term.Load()
	if t == nil {
		return errNotLeader
	}
	out := make(chan *pdpb.RegionHeartbeatResponse, streamQueue)
	ended := make(chan error, 1)
	s.receivers.Go(func() { ended <- s.receiveHeartbeats(t, stream, out) })
	for {
		select {
		case res := <-out:
			if err := stream.Send(res); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-t.leadership.Lost():
			return errNotLeader
		}
	}
}

// receiveHeartbeats reads the stream until it ends. Returning from the handler is what ends it early.
func (s *service) receiveHeartbeats(t *term, stream pdpb.PD_RegionHeartbeatServer, out chan *pdpb.RegionHeartbeatResponse) error {
	var bound uint64
	defer func() { t.streams.unbind(bound, out) }()
	for {
		req, err := stream.Recv()
		if stderrors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := s.leads(req.GetHeader()); err != nil {
			return err
		}
		if store := req.GetLeader().GetStoreId(); store != 0 && store != bound {
			t.streams.unbind(bound, out)
			t.streams.bind(store, out)
			bound = store
		}
		res, err := t.heartbeat(req)
		if err != nil {
			return err
		}
		if res != nil {
			t.metrics.sent(bound, res, t.streams.push(bound, res))
		}
	}
}

// heartbeat takes one report in. The answer is a command, an error header, or nil; an error ends the stream.
func (t *term) heartbeat(req *pdpb.RegionHeartbeatRequest) (*pdpb.RegionHeartbeatResponse, error) {
	began := time.Now()
	store := req.GetLeader().GetStoreId()
	var command *operator.Command
	lags := false
	_, err := t.desk.ask(func(at machine.Moment) (_ *machine.Save, err error) {
		command, err = t.machine.RegionHeartbeat(wire.Region(req), at)
		lags = t.machine.Lags()
		return nil, err
	})
	if lags {
		t.regions.wakeUp()
	}
	var stale *cluster.StaleError
	switch {
	case err == machine.ErrNotBootstrapped:
	case stderrors.As(err, &stale):
		t.metrics.heartbeat(store, "report", "stale")
	case err != nil:
		t.metrics.heartbeat(store, "report", "err")
	default:
		t.metrics.heard(store, began)
		return t.told(command)
	}
	return t.refuse(req, err)
}

// told is a command on its way to a store. A leader whose lease is over commands nobody: the next one may see more.
func (t *term) told(c *operator.Command) (*pdpb.RegionHeartbeatResponse, error) {
	switch {
	case !t.leadership.Holds():
		return nil, errNotLeader
	case c == nil:
		return nil, nil
	case c.First:
		t.log.Info("telling a leader", zap.Uint64("region", c.Region), zap.Uint64("store", c.Leader.GetStoreId()), zap.String("operator", c.For))
	}
	return wire.Command(c, t.clusterID), nil
}

// refuse tells a store why its report was not taken in.
func (t *term) refuse(req *pdpb.RegionHeartbeatRequest, why error) (*pdpb.RegionHeartbeatResponse, error) {
	t.log.Info("a region heartbeat was refused", zap.Uint64("region", req.GetRegion().GetId()), zap.Error(why))
	h, err := t.refused(why)
	return &pdpb.RegionHeartbeatResponse{Header: h, RegionId: req.GetRegion().GetId(), TargetPeer: req.GetLeader()}, err
}

func label(store uint64) string { return "store-" + strconv.FormatUint(store, 10) }
