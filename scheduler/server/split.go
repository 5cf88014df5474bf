package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

// maxSplits bounds the parts that one split may make.
const maxSplits = 1024

// AskBatchSplit gives a leader the ids for splitting its region into split_count more: one for each new region and one
// for each of its peers.
func (s *service) AskBatchSplit(_ context.Context, req *pdpb.AskBatchSplitRequest) (*pdpb.AskBatchSplitResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.AskBatchSplitResponse{Header: h}, nil
	}
	if req.GetRegion() == nil {
		return nil, status.Error(codes.Unknown, "missing region for split")
	}
	if req.SplitCount == 0 || req.SplitCount > maxSplits {
		return nil, status.Errorf(codes.InvalidArgument, "split count %d must lie between 1 and %d", req.SplitCount, maxSplits)
	}
	list, h, err := t.split(req.Region, int(req.SplitCount))
	if err != nil || h != nil {
		return &pdpb.AskBatchSplitResponse{Header: h}, err
	}
	res := &pdpb.AskBatchSplitResponse{Header: t.header()}
	for _, ids := range list {
		res.Ids = append(res.Ids, &pdpb.SplitID{NewRegionId: ids.Region, NewPeerIds: ids.Peers})
	}
	return res, nil
}

// AskSplit is AskBatchSplit for one new region, in the older form.
func (s *service) AskSplit(_ context.Context, req *pdpb.AskSplitRequest) (*pdpb.AskSplitResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.AskSplitResponse{Header: h}, nil
	}
	if req.GetRegion() == nil {
		return nil, status.Error(codes.Unknown, "missing region for split")
	}
	list, h, err := t.split(req.Region, 1)
	if err != nil || h != nil {
		return &pdpb.AskSplitResponse{Header: h}, err
	}
	return &pdpb.AskSplitResponse{Header: t.header(), NewRegionId: list[0].Region, NewPeerIds: list[0].Peers}, nil
}

// split gets the ids, or the header or the status that says why not.
func (t *term) split(region *metapb.Region, parts int) (list []machine.SplitIDs, h *pdpb.ResponseHeader, err error) {
	err = t.desk.allocate(func(at machine.Moment) (save *machine.Save, err error) {
		list, save, err = t.machine.Split(region, parts, at)
		return save, err
	})
	if err != nil {
		h, err = t.refused(err)
	}
	return list, h, err
}

// ReportBatchSplit is told of a split that happened. The parts' own heartbeats bring them into the picture, with their
// leaders.
func (s *service) ReportBatchSplit(_ context.Context, req *pdpb.ReportBatchSplitRequest) (*pdpb.ReportBatchSplitResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.ReportBatchSplitResponse{Header: h}, nil
	}
	if err := machine.CheckParts(req.GetRegions()); err != nil {
		return &pdpb.ReportBatchSplitResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, err.Error())}, nil
	}
	t.log.Info("region split", zap.Int("parts", len(req.Regions)), zap.Uint64("region", req.Regions[0].GetId()))
	return &pdpb.ReportBatchSplitResponse{Header: t.header()}, nil
}
