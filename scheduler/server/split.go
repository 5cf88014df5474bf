package server

import (
	"context"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	if err := t.checkSplit(req.Region); err != nil {
		return &pdpb.AskBatchSplitResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, err.Error())}, nil
	}
	if req.SplitCount == 0 || req.SplitCount > maxSplits {
		return nil, status.Errorf(codes.InvalidArgument, "split count %d must lie between 1 and %d", req.SplitCount, maxSplits)
	}
	res := &pdpb.AskBatchSplitResponse{Header: t.header()}
	for range req.SplitCount {
		ids, err := t.splitIDs(len(req.Region.Peers))
		if err != nil {
			return nil, err
		}
		res.Ids = append(res.Ids, ids)
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
	if err := t.checkSplit(req.Region); err != nil {
		return &pdpb.AskSplitResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, err.Error())}, nil
	}
	ids, err := t.splitIDs(len(req.Region.Peers))
	if err != nil {
		return nil, err
	}
	return &pdpb.AskSplitResponse{Header: t.header(), NewRegionId: ids.NewRegionId, NewPeerIds: ids.NewPeerIds}, nil
}

func (t *term) checkSplit(region *metapb.Region) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.picture.CheckSplit(region)
}

func (t *term) splitIDs(peers int) (*pdpb.SplitID, error) {
	first, err := t.ids.next(uint64(1 + peers))
	if err != nil {
		return nil, err
	}
	ids := &pdpb.SplitID{NewRegionId: first}
	for i := range peers {
		ids.NewPeerIds = append(ids.NewPeerIds, first+1+uint64(i))
	}
	return ids, nil
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
	if err := checkParts(req.GetRegions()); err != nil {
		return &pdpb.ReportBatchSplitResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, err.Error())}, nil
	}
	t.log.Info("region split", zap.Int("parts", len(req.Regions)), zap.Uint64("region", req.Regions[0].GetId()))
	return &pdpb.ReportBatchSplitResponse{Header: t.header()}, nil
}

// checkParts wants neighbours in key order.
func checkParts(parts []*metapb.Region) error {
	if len(parts) < 2 {
		return errors.New("invalid split region: fewer than two parts")
	}
	for i := 1; i < len(parts); i++ {
		left, right := parts[i-1], parts[i]
		if len(left.GetEndKey()) == 0 || string(left.GetEndKey()) != string(right.GetStartKey()) {
			return errors.Errorf("invalid split region: region %d does not end where region %d begins",
				left.GetId(), right.GetId())
		}
	}
	return nil
}
