package server

import (
	"bytes"
	stderrors "errors"
	"io"
	"strconv"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
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
		if res != nil && !t.streams.push(bound, res) {
			// The store does not read. Its next heartbeat is answered again.
			t.metrics.heartbeat(bound, "push", "full")
		}
	}
}

// heartbeat takes one report in. The answer is a command, an error header, or nil; an error ends the stream.
func (t *term) heartbeat(req *pdpb.RegionHeartbeatRequest) (*pdpb.RegionHeartbeatResponse, error) {
	began := time.Now()
	store := req.GetLeader().GetStoreId()
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.RegionHeartbeatResponse{Header: h}, nil
	}
	if err := t.checkReport(req); err != nil {
		t.metrics.heartbeat(store, "report", "err")
		return t.refuse(req, err), nil
	}
	r := regionOf(req)
	now := t.clocks.Monotonic()
	t.mu.Lock()
	change, err := t.picture.CheckRegion(r)
	if err != nil {
		t.mu.Unlock()
		t.metrics.heartbeat(store, "report", "stale")
		return t.refuse(req, err), nil
	}
	t.picture.PutRegion(r, change)
	t.mu.Unlock()
	t.regions.changed(r, change)
	t.metrics.heartbeat(store, "report", "ok")
	t.metrics.heartbeatSeconds.Observe(time.Since(began).Seconds())
	return t.repair(r.ID(), now)
}

// repair is the command that a region's leader needs to hear, or nil.
func (t *term) repair(region uint64, now time.Time) (*pdpb.RegionHeartbeatResponse, error) {
	t.mu.Lock()
	r := t.picture.Region(region)
	add := t.picture.AddReplica(region, now)
	t.mu.Unlock()
	if add == nil {
		return nil, nil
	}
	if add.Id == 0 {
		var err error
		if add, err = t.propose(region, now); add == nil {
			return nil, err
		}
	}
	return &pdpb.RegionHeartbeatResponse{
		Header: t.header(), RegionId: region, RegionEpoch: r.Meta.RegionEpoch, TargetPeer: r.Leader,
		ChangePeer: &pdpb.ChangePeer{Peer: add, ChangeType: eraftpb.ConfChangeType_AddNode},
	}, nil
}

// welcome puts a store to use that has just come up: regions that lack a replica need not wait for their next heartbeat.
func (t *term) welcome(now time.Time) error {
	t.mu.RLock()
	lacking := t.picture.Lacking()
	t.mu.RUnlock()
	for _, region := range lacking {
		res, err := t.repair(region, now)
		if err != nil {
			return err
		}
		if res != nil {
			t.streams.push(res.TargetPeer.StoreId, res)
		}
	}
	return nil
}

// propose gives the peer that a region lacks an id. Allocating may have to write, so the picture is asked again
// afterwards; an id that is not needed any more is lost, which costs nothing.
func (t *term) propose(region uint64, now time.Time) (*metapb.Peer, error) {
	id, err := t.ids.next(1)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	add := t.picture.AddReplica(region, now)
	if add != nil && add.Id == 0 {
		add.Id = id
		t.picture.Propose(region, add)
		t.log.Info("adding a replica", zap.Uint64("region", region), zap.Stringer("peer", add))
	}
	return add, nil
}

// checkReport says what is wrong with a report by itself, and whether its store is known.
func (t *term) checkReport(req *pdpb.RegionHeartbeatRequest) error {
	region, leader := req.GetRegion(), req.GetLeader()
	switch {
	case region.GetId() == 0:
		return errors.Errorf("invalid request region, %v", region)
	case leader.GetId() == 0 || leader.GetStoreId() == 0:
		return errors.Errorf("invalid request leader, %v", leader)
	case region.RegionEpoch == nil:
		return errors.Errorf("region %d reports no epoch", region.Id)
	case len(region.EndKey) > 0 && bytes.Compare(region.StartKey, region.EndKey) >= 0:
		return errors.Errorf("region %d reports an empty range", region.Id)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.picture.Store(leader.StoreId) == nil {
		return errors.Errorf("invalid store ID %d, not found", leader.StoreId)
	}
	return nil
}

// refuse tells a store why its report was not taken in.
func (t *term) refuse(req *pdpb.RegionHeartbeatRequest, why error) *pdpb.RegionHeartbeatResponse {
	t.log.Info("a region heartbeat was refused", zap.Uint64("region", req.GetRegion().GetId()), zap.Error(why))
	return &pdpb.RegionHeartbeatResponse{
		Header:     t.failed(pdpb.ErrorType_UNKNOWN, why.Error()),
		RegionId:   req.GetRegion().GetId(),
		TargetPeer: req.GetLeader(),
	}
}

func regionOf(req *pdpb.RegionHeartbeatRequest) *cluster.Region {
	r := &cluster.Region{
		Meta: req.Region, Leader: req.Leader, Term: req.Term, Pending: req.PendingPeers,
		Load: cluster.Load{
			Size: req.ApproximateSize, Keys: req.ApproximateKeys,
			BytesWritten: req.BytesWritten, KeysWritten: req.KeysWritten,
			BytesRead: req.BytesRead, KeysRead: req.KeysRead,
		},
	}
	for _, down := range req.DownPeers {
		r.Down = append(r.Down, cluster.DownPeer{Peer: down.Peer, Seconds: down.DownSeconds})
	}
	return r
}

func label(store uint64) string { return "store-" + strconv.FormatUint(store, 10) }
