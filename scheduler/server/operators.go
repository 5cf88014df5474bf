package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ScatterRegion answers that the work is done: with regions spread by their heartbeats' answers alone there is nothing to
// scatter yet.
func (s *service) ScatterRegion(_ context.Context, req *pdpb.ScatterRegionRequest) (*pdpb.ScatterRegionResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ScatterRegionResponse{Header: h}, nil
	}
	if len(req.GetRegionsId()) == 0 && req.GetRegion() == nil {
		t.desk.mu.RLock()
		r := t.machine.Picture.Region(req.GetRegionId()) //nolint:staticcheck // older clients send nothing else
		t.desk.mu.RUnlock()
		if r == nil {
			return nil, status.Errorf(codes.Unknown, "[PD:region:ErrRegionNotFound]region %d not found", req.GetRegionId()) //nolint:staticcheck // as above
		}
	}
	return &pdpb.ScatterRegionResponse{Header: t.header(), FinishedPercentage: 100}, nil
}

// GetOperator answers that there is none: a missing replica is added by the answer to its region's heartbeat.
func (s *service) GetOperator(_ context.Context, req *pdpb.GetOperatorRequest) (*pdpb.GetOperatorResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetOperatorResponse{Header: h}, nil
	}
	return &pdpb.GetOperatorResponse{Header: t.failed(pdpb.ErrorType_REGION_NOT_FOUND, "Not Found")}, nil
}

// ReportMinResolvedTS takes note of nothing yet; stores only want to hear that it arrived.
func (s *service) ReportMinResolvedTS(_ context.Context, req *pdpb.ReportMinResolvedTsRequest) (*pdpb.ReportMinResolvedTsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ReportMinResolvedTsResponse{Header: h}, nil
	}
	return &pdpb.ReportMinResolvedTsResponse{Header: t.header()}, nil
}

// IsSnapshotRecovering says no: restoring from volume snapshots is not offered.
func (s *service) IsSnapshotRecovering(_ context.Context, req *pdpb.IsSnapshotRecoveringRequest) (*pdpb.IsSnapshotRecoveringResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	return &pdpb.IsSnapshotRecoveringResponse{Header: t.header()}, nil
}
