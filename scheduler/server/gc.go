package server

import (
	"context"
	"math"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

func (t *term) safePoint() uint64 {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return t.machine.SafePoint()
}

// GetGCSafePoint returns the GC safe point.
func (s *service) GetGCSafePoint(_ context.Context, req *pdpb.GetGCSafePointRequest) (*pdpb.GetGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetGCSafePointResponse{Header: h}, nil
	}
	return &pdpb.GetGCSafePointResponse{Header: t.header(), SafePoint: t.safePoint()}, nil
}

// UpdateGCSafePoint moves the GC safe point forward, and returns where it is.
func (s *service) UpdateGCSafePoint(_ context.Context, req *pdpb.UpdateGCSafePointRequest) (*pdpb.UpdateGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.UpdateGCSafePointResponse{Header: h}, nil
	}
	err = t.desk.change(func(machine.Moment) (*machine.Save, error) { return t.machine.RaiseSafePoint(req.GetSafePoint()), nil })
	if err != nil {
		_, err = t.refused(err)
		return nil, err
	}
	return &pdpb.UpdateGCSafePointResponse{Header: t.header(), NewSafePoint: t.safePoint()}, nil
}

// UpdateServiceGCSafePoint changes one service's claim, and returns the least of all.
func (s *service) UpdateServiceGCSafePoint(_ context.Context, req *pdpb.UpdateServiceGCSafePointRequest) (*pdpb.UpdateServiceGCSafePointResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.UpdateServiceGCSafePointResponse{Header: h}, nil
	}
	id := string(req.GetServiceId())
	switch {
	case id == "":
		return nil, status.Error(codes.InvalidArgument, "service id of service safepoint cannot be empty")
	case id == machine.GCWorker && req.GetTTL() != math.MaxInt64:
		return nil, status.Error(codes.InvalidArgument, "TTL of gc_worker's service safe point must be infinity")
	}
	err = t.desk.change(func(at machine.Moment) (*machine.Save, error) {
		return t.machine.Claim(id, req.GetTTL(), req.GetSafePoint(), at), nil
	})
	if err != nil {
		_, err = t.refused(err)
		return nil, err
	}
	t.desk.mu.RLock()
	low := t.machine.LeastClaim()
	t.desk.mu.RUnlock()
	return &pdpb.UpdateServiceGCSafePointResponse{
		Header: t.header(), ServiceId: []byte(low.ServiceID), TTL: low.ExpiredAt - t.clocks.Wall().Unix(), MinSafePoint: low.SafePoint,
	}, nil
}
