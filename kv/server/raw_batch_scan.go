package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// RawBatchScan answers, range after range, what RawScan would answer for each with each_limit, all of it from one snapshot. A range without an end
// ends where the next one starts; the last one ends with the region.
func (s *Server) RawBatchScan(ctx context.Context, req *kvrpcpb.RawBatchScanRequest) (*kvrpcpb.RawBatchScanResponse, error) {
	resp := &kvrpcpb.RawBatchScanResponse{}
	f := s.read(ctx, rawBatchScan, req.Context, func(ctx context.Context, snap rawSnapshot) error {
		cf, err := parseCF(req.Cf)
		if err != nil {
			return err
		}
		if int64(req.EachLimit) > int64(s.limits.MaxScanRows) {
			return &LimitError{What: "scan limit", Setting: settingScanRows, Actual: int(req.EachLimit), Limit: s.limits.MaxScanRows}
		}
		resp.Kvs, err = s.batchScan(ctx, snap, cf, req)
		return err
	})
	// There is no field for text, and text in a pair would not be seen.
	if f = f.retryable(); f != (failure{}) {
		resp = &kvrpcpb.RawBatchScanResponse{RegionError: f.region}
	}
	return resp, f.status
}

func (s *Server) batchScan(ctx context.Context, snap rawSnapshot, cf engine.CF, req *kvrpcpb.RawBatchScanRequest) ([]*kvrpcpb.KvPair, error) {
	var pairs []*kvrpcpb.KvPair
	size := 0
	for i, r := range req.Ranges {
		one := &kvrpcpb.RawScanRequest{
			StartKey: r.GetStartKey(), EndKey: r.GetEndKey(), Limit: req.EachLimit, KeyOnly: req.KeyOnly, Reverse: req.Reverse,
		}
		if len(one.EndKey) == 0 && i+1 < len(req.Ranges) {
			one.EndKey = req.Ranges[i+1].GetStartKey()
		}
		opts, empty, err := scanRange(snap, one)
		if err != nil {
			return nil, err
		}
		if empty || one.Limit == 0 {
			continue
		}
		page, err := s.scan(ctx, snap, cf, opts, one)
		if err != nil {
			return nil, err
		}
		for _, pair := range page {
			size += len(pair.Key) + len(pair.Value)
		}
		if err := s.limits.checkResponse(size); err != nil {
			return nil, err
		}
		pairs = append(pairs, page...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}
