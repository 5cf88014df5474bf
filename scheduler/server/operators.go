package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// ScatterRegion spreads regions over the stores, apart from others of the same group. The percentage says how many are on their way or where they should be; a client calls
// again for the rest.
func (s *service) ScatterRegion(_ context.Context, req *pdpb.ScatterRegionRequest) (*pdpb.ScatterRegionResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ScatterRegionResponse{Header: h}, nil
	}
	ids := req.GetRegionsId()
	if len(ids) == 0 {
		id := req.GetRegionId() //nolint:staticcheck // older clients send nothing else
		if req.GetRegion() != nil {
			id = req.GetRegion().GetId()
		}
		if read(t, func(p *cluster.Picture) *cluster.Region { return p.Region(id) }) == nil {
			return nil, status.Errorf(codes.Unknown, "[PD:region:ErrRegionNotFound]region %d not found", id)
		}
		ids = []uint64{id}
	}
	return &pdpb.ScatterRegionResponse{Header: t.header(), FinishedPercentage: t.scatter(ids, req.GetGroup())}, nil
}

// scatter says how many percent of the regions could be scattered.
func (t *term) scatter(ids []uint64, group string) uint64 {
	return percentage(len(ids)-len(t.scatterAll(ids, group)), len(ids))
}

// unmoved is a region that could not be scattered, and why.
type unmoved struct {
	Region uint64 `json:"region-id"`
	Why    string `json:"why"`
}

// scatterAll scatters regions and returns those that could not be.
func (t *term) scatterAll(ids []uint64, group string) (failed []unmoved) {
	_, _ = t.desk.ask(func(at machine.Moment) (*machine.Save, error) { // what fails is listed
		for _, id := range ids {
			err := t.machine.Scatter(id, group, at)
			t.metrics.scatterAsked(err)
			if err != nil {
				t.log.Info("a region is not scattered", zap.Uint64("region", id), zap.Error(err))
				failed = append(failed, unmoved{id, err.Error()})
			} else if r := t.machine.Picture.Region(id); r != nil && !t.machine.Schedule.Operators().Has(id) {
				t.metrics.scatteredTo(r) // it is where it should be
			}
		}
		return nil, nil
	})
	return failed
}

func percentage(done, of int) uint64 {
	if of == 0 {
		return 100
	}
	return uint64(100 * done / of)
}

// GetOperator says what is being done about a region, or what was done last.
func (s *service) GetOperator(_ context.Context, req *pdpb.GetOperatorRequest) (*pdpb.GetOperatorResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetOperatorResponse{Header: h}, nil
	}
	rec, ok := t.operator(req.GetRegionId())
	if !ok {
		return &pdpb.GetOperatorResponse{Header: t.failed(pdpb.ErrorType_REGION_NOT_FOUND, "Not Found")}, nil
	}
	return &pdpb.GetOperatorResponse{
		Header: t.header(), RegionId: rec.Region, Desc: []byte(rec.Desc), Kind: []byte(rec.Kind.String()), Status: operatorStatus[rec.Status],
	}, nil
}

var operatorStatus = map[operator.Status]pdpb.OperatorStatus{
	operator.Started: pdpb.OperatorStatus_RUNNING, operator.Success: pdpb.OperatorStatus_SUCCESS, operator.Timeout: pdpb.OperatorStatus_TIMEOUT,
	operator.Canceled: pdpb.OperatorStatus_CANCEL, operator.Replaced: pdpb.OperatorStatus_REPLACE,
}

// operator is the one in flight for a region, or the last that ended.
func (t *term) operator(region uint64) (rec operator.Record, ok bool) {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	ops := t.machine.Schedule.Operators()
	if rec, ok = ops.Of(region); ok {
		return rec, true
	}
	for _, rec := range ops.History(0) {
		if rec.Region == region {
			return rec, true
		}
	}
	return rec, false
}

// ReportMinResolvedTS takes note of the timestamp below which nothing changes on a store any more.
func (s *service) ReportMinResolvedTS(_ context.Context, req *pdpb.ReportMinResolvedTsRequest) (*pdpb.ReportMinResolvedTsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ReportMinResolvedTsResponse{Header: h}, nil
	}
	_, _ = t.desk.ask(func(machine.Moment) (*machine.Save, error) { // a store that is not known is not noted
		t.machine.ReportResolved(req.GetStoreId(), req.GetMinResolvedTs())
		return nil, nil
	})
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
