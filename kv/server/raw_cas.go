package server

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// Compare and swap: latch the key, take a snapshot, compare, and write in the snapshot's term. On this store the latch keeps every other compare-and-swap,
// and every write that says for_cas, away between the snapshot and the end of the write; a leader elsewhere is kept away by the term: when it changed,
// the write is rejected. Writes that do not say for_cas are atomic by themselves only.
//
// Clients repeat what was answered with a region error, and a swap that is repeated would meet its own outcome and report that it
// failed. So an undetermined swap is answered in the response's error, which clients hand to their user.

// RawCompareAndSwap writes value if the key's value is previous_value, or if the key does not exist when previous_not_exist says so. It answers what was there.
func (s *Server) RawCompareAndSwap(ctx context.Context, req *kvrpcpb.RawCASRequest) (*kvrpcpb.RawCASResponse, error) {
	start, resp := time.Now(), &kvrpcpb.RawCASResponse{}
	from, err := s.newCaller(req.Context)
	regionID := uint64(0)
	if err == nil {
		regionID = from.at.RegionID
		err = s.compareAndSwap(ctx, from, req, resp)
	}
	f := s.finish(rawCompareAndSwap, start, final(err), regionID)
	if f != (failure{}) {
		resp = &kvrpcpb.RawCASResponse{RegionError: f.region, Error: f.text}
	}
	return resp, f.status
}

// final turns an undetermined outcome into an error that no client retries.
func final(err error) error {
	if errors.Is(err, region.ErrUndetermined) {
		return errors.New(err.Error())
	}
	return err
}

func (s *Server) compareAndSwap(ctx context.Context, from *caller, req *kvrpcpb.RawCASRequest, resp *kvrpcpb.RawCASResponse) error {
	if from.refusal != nil {
		return from.refusal
	}
	m, err := s.putModify(req.Cf, req.Key, req.Value, req.Ttl)
	if err != nil {
		return err
	}
	bounded, cancel := from.withDeadline(ctx)
	defer cancel()
	batch := []storage.Modify{m}
	release, err := s.latch(bounded, batch)
	if err != nil {
		return err
	}
	term := uint64(0)
	err = s.withSnapshot(bounded, from, func(_ context.Context, snap rawSnapshot) error {
		term = snap.Term()
		value, _, err := snap.get(m.CF, m.Key)
		resp.PreviousNotExist, resp.PreviousValue = value == nil, value
		resp.Succeed = resp.PreviousNotExist == req.PreviousNotExist && (value == nil || bytes.Equal(value, req.PreviousValue))
		return err
	})
	if err != nil || !resp.Succeed {
		release()
		return err
	}
	batch[0].Value = s.clock.store(req.Value, req.Ttl) // anew: the latch may have taken its time
	return s.applyAndRelease(bounded, from.at, term, batch, release)
}
