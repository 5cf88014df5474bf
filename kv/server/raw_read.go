package server

import (
	"context"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/storage"
)

// Raw point reads. A read is valid for the keys of its region only, so every key is held against the snapshot's range:
// the client may be asking with an old map.

// RawGet answers one key's value, or not_found.
func (s *Server) RawGet(ctx context.Context, req *kvrpcpb.RawGetRequest) (*kvrpcpb.RawGetResponse, error) {
	resp := &kvrpcpb.RawGetResponse{}
	f := s.read(ctx, rawGet, req.Context, func(_ context.Context, snap rawSnapshot) error {
		cf, err := parseCF(req.Cf)
		if err != nil {
			return err
		}
		resp.Value, _, err = snap.get(cf, req.Key)
		resp.NotFound = resp.Value == nil
		return err
	})
	if f != (failure{}) {
		resp = &kvrpcpb.RawGetResponse{RegionError: f.region, Error: f.text}
	}
	return resp, f.status
}

// RawBatchGet answers the pairs of those keys that exist, in the order in which they were asked for.
func (s *Server) RawBatchGet(ctx context.Context, req *kvrpcpb.RawBatchGetRequest) (*kvrpcpb.RawBatchGetResponse, error) {
	resp := &kvrpcpb.RawBatchGetResponse{}
	f := s.read(ctx, rawBatchGet, req.Context, func(ctx context.Context, snap rawSnapshot) error {
		cf, err := parseCF(req.Cf)
		if err != nil {
			return err
		}
		size := 0
		for _, key := range req.Keys {
			if err := ctx.Err(); err != nil {
				return err
			}
			value, _, err := snap.get(cf, key)
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			size += len(key) + len(value)
			if err := s.limits.checkResponse(size); err != nil {
				return err
			}
			resp.Pairs = append(resp.Pairs, &kvrpcpb.KvPair{Key: key, Value: value})
		}
		return nil
	})
	if f = f.retryable(); f != (failure{}) {
		resp = &kvrpcpb.RawBatchGetResponse{RegionError: f.region}
	}
	return resp, f.status
}

// read runs fn over a snapshot for a unary request, within its deadline.
func (s *Server) read(ctx context.Context, m method, c *kvrpcpb.Context, fn func(context.Context, rawSnapshot) error) failure {
	start := time.Now()
	from, err := s.newCaller(c)
	if err != nil {
		return s.finish(m, start, err, 0)
	}
	bounded, cancel := from.withDeadline(ctx)
	defer cancel()
	return s.finish(m, start, s.withSnapshot(bounded, from, fn), from.at.RegionID)
}

func (s *Server) withSnapshot(ctx context.Context, from *caller, fn func(context.Context, rawSnapshot) error) error {
	if from.refusal != nil {
		return from.refusal
	}
	snap, err := storage.Snap(ctx, s.storage, from.at)
	if err != nil {
		return err
	}
	err = fn(ctx, s.clock.at(snap))
	if closeErr := snap.Close(); err == nil && closeErr != nil {
		err = internal(closeErr, "closing a snapshot")
	}
	return err
}

// finish counts a unary request, and maps its error.
func (s *Server) finish(m method, start time.Time, err error, regionID uint64) failure {
	f := newFailure(err, regionID)
	s.metrics.done(m, 1, time.Since(start))
	if f.text != "" || f.status != nil {
		s.metrics.failed(m, 1)
	}
	return f
}
