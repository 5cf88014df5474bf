package server

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// Raw writes: each request becomes one batch of storage.Modify, checked against the limits before it is handed over. From then on it
// goes its way whatever becomes of the caller: one who loses patience is told that the outcome is undetermined.
//
// The builders below are shared by the unary methods and the streams.

func (s *Server) putModify(cf string, key, value []byte, ttl uint64) (storage.Modify, error) {
	if err := s.clock.check(ttl); err != nil {
		return storage.Modify{}, err
	}
	return s.modify(storage.Put, cf, key, s.clock.store(value, ttl))
}

func (s *Server) modify(op storage.Op, cfName string, key, value []byte) (storage.Modify, error) {
	cf, err := parseCF(cfName)
	if err == nil {
		err = s.limits.checkKey(key)
	}
	if err == nil {
		err = s.limits.checkEntry(len(key) + len(value))
	}
	return storage.Modify{Op: op, CF: cf, Key: key, Value: value}, err
}

func (s *Server) batchPutModifies(req *kvrpcpb.RawBatchPutRequest) ([]storage.Modify, error) {
	if err := s.clock.check(req.Ttls...); err != nil {
		return nil, err
	}
	ttls, err := pairTTLs(req)
	if err != nil {
		return nil, err
	}
	batch := make([]storage.Modify, 0, len(req.Pairs))
	size := 0
	for i, pair := range req.Pairs {
		m, err := s.putModify(req.Cf, pair.GetKey(), pair.GetValue(), ttls[i])
		if err != nil {
			return nil, err
		}
		size += len(m.Key) + len(m.Value)
		batch = append(batch, m)
	}
	return batch, s.limits.checkEntry(size)
}

// pairTTLs is the ttl of each pair: one for all, or one each.
func pairTTLs(req *kvrpcpb.RawBatchPutRequest) ([]uint64, error) {
	all := req.Ttl // deprecated, but old clients mean it, and newer ones send their first one here too
	switch len(req.Ttls) {
	case 0:
	case 1:
		all = req.Ttls[0]
	case len(req.Pairs):
		return req.Ttls, nil
	default:
		return nil, &InvalidError{Reason: fmt.Sprintf("The length of ttls does not equal to the length of pairs: %d ttls, %d pairs", len(req.Ttls), len(req.Pairs))}
	}
	return slices.Repeat([]uint64{all}, len(req.Pairs)), nil
}

func (s *Server) batchDeleteModifies(req *kvrpcpb.RawBatchDeleteRequest) ([]storage.Modify, error) {
	batch := make([]storage.Modify, 0, len(req.Keys))
	size := 0
	for _, key := range req.Keys {
		m, err := s.modify(storage.Delete, req.Cf, key, nil)
		if err != nil {
			return nil, err
		}
		size += len(m.Key)
		batch = append(batch, m)
	}
	return batch, s.limits.checkEntry(size)
}

// deleteRangeModifies allows empty bounds: an empty start is the first key, an empty end the region's end.
func (s *Server) deleteRangeModifies(req *kvrpcpb.RawDeleteRangeRequest) ([]storage.Modify, error) {
	cf, err := parseCF(req.Cf)
	if err != nil {
		return nil, err
	}
	for _, bound := range [][]byte{req.StartKey, req.EndKey} {
		if len(bound) > s.limits.MaxKeySize {
			return nil, s.limits.checkKey(bound)
		}
	}
	if len(req.EndKey) > 0 {
		switch order := bytes.Compare(req.StartKey, req.EndKey); {
		case order > 0:
			return nil, &InvalidError{Reason: "the start key of a range must not be above its end key"}
		case order == 0:
			return nil, nil
		}
	}
	return []storage.Modify{{Op: storage.DeleteRange, CF: cf, Key: req.StartKey, Value: req.EndKey}}, nil
}

// RawPut writes one pair.
func (s *Server) RawPut(ctx context.Context, req *kvrpcpb.RawPutRequest) (*kvrpcpb.RawPutResponse, error) {
	m, err := s.putModify(req.Cf, req.Key, req.Value, req.Ttl)
	f := s.write(ctx, rawPut, req.ForCas, req.Context, []storage.Modify{m}, err)
	return &kvrpcpb.RawPutResponse{RegionError: f.region, Error: f.text}, f.status
}

// RawDelete deletes one key; that it does not exist is no error.
func (s *Server) RawDelete(ctx context.Context, req *kvrpcpb.RawDeleteRequest) (*kvrpcpb.RawDeleteResponse, error) {
	m, err := s.modify(storage.Delete, req.Cf, req.Key, nil)
	f := s.write(ctx, rawDelete, req.ForCas, req.Context, []storage.Modify{m}, err)
	return &kvrpcpb.RawDeleteResponse{RegionError: f.region, Error: f.text}, f.status
}

// RawBatchPut writes pairs of one region, atomically.
func (s *Server) RawBatchPut(ctx context.Context, req *kvrpcpb.RawBatchPutRequest) (*kvrpcpb.RawBatchPutResponse, error) {
	batch, err := s.batchPutModifies(req)
	f := s.write(ctx, rawBatchPut, req.ForCas, req.Context, batch, err)
	return &kvrpcpb.RawBatchPutResponse{RegionError: f.region, Error: f.text}, f.status
}

// RawBatchDelete deletes keys of one region, atomically.
func (s *Server) RawBatchDelete(ctx context.Context, req *kvrpcpb.RawBatchDeleteRequest) (*kvrpcpb.RawBatchDeleteResponse, error) {
	batch, err := s.batchDeleteModifies(req)
	f := s.write(ctx, rawBatchDelete, req.ForCas, req.Context, batch, err)
	return &kvrpcpb.RawBatchDeleteResponse{RegionError: f.region, Error: f.text}, f.status
}

// RawDeleteRange deletes [start_key, end_key) of one column family, all of it in one region.
func (s *Server) RawDeleteRange(ctx context.Context, req *kvrpcpb.RawDeleteRangeRequest) (*kvrpcpb.RawDeleteRangeResponse, error) {
	batch, err := s.deleteRangeModifies(req)
	f := s.write(ctx, rawDeleteRange, false, req.Context, batch, err)
	return &kvrpcpb.RawDeleteRangeResponse{RegionError: f.region, Error: f.text}, f.status
}

// write performs a unary request's batch, forCAS says under its keys' latches; invalid, when not nil, is why there is none.
func (s *Server) write(ctx context.Context, m method, forCAS bool, c *kvrpcpb.Context, batch []storage.Modify, invalid error) failure {
	start := time.Now()
	from, err := s.newCaller(c)
	switch {
	case err != nil:
		return s.finish(m, start, err, 0)
	case from.refusal != nil:
		return s.finish(m, start, from.refusal, 0)
	case invalid != nil:
		return s.finish(m, start, invalid, 0)
	}
	bounded, cancel := from.withDeadline(ctx)
	defer cancel()
	apply := s.apply
	if forCAS {
		apply = s.applyLatched
	}
	return s.finish(m, start, apply(bounded, from.at, batch), from.at.RegionID)
}

// apply hands the batch over and waits for its outcome, or for the end of ctx: then the outcome is undetermined.
func (s *Server) apply(ctx context.Context, at storage.Target, batch []storage.Modify) error {
	if len(batch) == 0 {
		return nil
	}
	outcome := make(chan error, 1)
	s.storage.Write(ctx, at, 0, batch, func(err error) { outcome <- err })
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return region.ErrUndetermined
	}
}
