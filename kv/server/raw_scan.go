package server

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Scans. A client that receives fewer pairs than its limit takes the region for exhausted and goes on at the region's border, so
// a page must be full unless the region really has no more: whatever cannot be read to its end is an error, never a short
// page. For the same reason the side at which a scan begins must lie in the region, while its far side is clamped to it.

// RawScan answers up to limit pairs of [start_key, end_key) in ascending order; in reverse, those of [end_key, start_key) in descending order.
func (s *Server) RawScan(ctx context.Context, req *kvrpcpb.RawScanRequest) (*kvrpcpb.RawScanResponse, error) {
	resp := &kvrpcpb.RawScanResponse{}
	f := s.read(ctx, rawScan, req.Context, func(ctx context.Context, snap rawSnapshot) error {
		cf, err := parseCF(req.Cf)
		if err != nil {
			return err
		}
		if int64(req.Limit) > int64(s.limits.MaxScanRows) {
			return &LimitError{What: "scan limit", Setting: settingScanRows, Actual: int(req.Limit), Limit: s.limits.MaxScanRows}
		}
		opts, empty, err := scanRange(snap, req)
		if err != nil || empty || req.Limit == 0 {
			return err
		}
		resp.Kvs, err = s.scan(ctx, snap, cf, opts, req)
		return err
	})
	if f = f.retryable(); f != (failure{}) {
		resp = &kvrpcpb.RawScanResponse{RegionError: f.region}
	}
	return resp, f.status
}

// scanRange turns a request's range into an iterator's, clamped to the region.
func scanRange(snap rawSnapshot, req *kvrpcpb.RawScanRequest) (opts engine.IterOptions, empty bool, err error) {
	r := snap.Region()
	lower, upper := req.StartKey, req.EndKey
	if req.Reverse {
		lower, upper = req.EndKey, req.StartKey
		if !isUpperBoundIn(r.StartKey, r.EndKey, upper) {
			return opts, false, &region.KeyNotInRegionError{Key: upper, Region: r}
		}
	} else if !region.Contains(r, lower) {
		return opts, false, &region.KeyNotInRegionError{Key: lower, Region: r}
	}
	if bytes.Compare(lower, r.StartKey) < 0 {
		lower = r.StartKey
	}
	if len(upper) == 0 || (len(r.EndKey) > 0 && bytes.Compare(upper, r.EndKey) > 0) {
		upper = r.EndKey
	}
	opts.KeyOnly = req.KeyOnly
	if len(lower) > 0 {
		opts.Lower = lower
	}
	if len(upper) > 0 {
		opts.Upper = upper
		empty = bytes.Compare(lower, upper) >= 0
	}
	return opts, empty, nil
}

// isUpperBoundIn reports whether nothing of the region [start, end) is left out above the exclusive bound, and nothing outside is asked for.
func isUpperBoundIn(start, end, bound []byte) bool {
	if len(bound) == 0 {
		return len(end) == 0
	}
	return bytes.Compare(bound, start) >= 0 && (len(end) == 0 || bytes.Compare(bound, end) <= 0)
}

func (s *Server) scan(
	ctx context.Context, snap rawSnapshot, cf engine.CF, opts engine.IterOptions, req *kvrpcpb.RawScanRequest,
) (pairs []*kvrpcpb.KvPair, err error) {
	size := 0
	err = snap.each(ctx, cf, opts, req.Reverse, func(key, value []byte) (bool, error) {
		size += len(key) + len(value)
		if err := s.limits.checkResponse(size); err != nil {
			return false, fmt.Errorf("%w: ask for fewer than %d rows", err, req.Limit)
		}
		pairs = append(pairs, &kvrpcpb.KvPair{Key: bytes.Clone(key), Value: bytes.Clone(value)})
		return len(pairs) < int(req.Limit), nil
	})
	if err != nil {
		return nil, err
	}
	return pairs, nil
}
