package server

import (
	"bytes"
	"context"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/machine"
)

const (
	// splitBy is how long a call waits for the regions that it asked for, and splitPoll how often it looks.
	splitBy, splitPoll = 10 * time.Second, 50 * time.Millisecond
	// splitRetries is how often refused keys are asked for again, if the call does not say.
	splitRetries = 5
)

// SplitRegions splits regions at keys and waits, for some seconds, until there are regions that begin with them.
func (s *service) SplitRegions(ctx context.Context, req *pdpb.SplitRegionsRequest) (*pdpb.SplitRegionsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.SplitRegionsResponse{Header: h}, nil
	}
	ids, done := t.presplit(ctx, req.GetSplitKeys(), req.GetRetryLimit())
	return &pdpb.SplitRegionsResponse{Header: t.header(), RegionsId: ids, FinishedPercentage: percentage(done, len(req.GetSplitKeys()))}, nil
}

// SplitAndScatterRegions is both, one after the other.
func (s *service) SplitAndScatterRegions(ctx context.Context, req *pdpb.SplitAndScatterRegionsRequest) (*pdpb.SplitAndScatterRegionsResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.SplitAndScatterRegionsResponse{Header: h}, nil
	}
	ids, done := t.presplit(ctx, req.GetSplitKeys(), req.GetRetryLimit())
	return &pdpb.SplitAndScatterRegionsResponse{
		Header: t.header(), RegionsId: ids, SplitFinishedPercentage: percentage(done, len(req.GetSplitKeys())),
		ScatterFinishedPercentage: t.scatter(ids, req.GetGroup()),
	}, nil
}

// presplit lists the regions that begin with the keys, of those that do in the end, and counts the keys.
func (t *term) presplit(ctx context.Context, keys [][]byte, retries uint64) (ids []uint64, done int) {
	if retries == 0 {
		retries = splitRetries
	}
	ctx, cancel := context.WithTimeout(ctx, splitBy)
	defer cancel()
	for ask := true; ; {
		if ask {
			refused := 0
			_, _ = t.desk.ask(func(at machine.Moment) (_ *machine.Save, err error) { // what is refused is asked for again
				if refused, err = t.machine.Schedule.Split(keys, at.Now); err != nil {
					t.log.Info("not all regions can be split now", zap.Int("keys", refused), zap.Error(err))
				}
				return nil, nil
			})
			retries--
			ask = refused > 0 && retries > 0
		}
		ids, done = t.beginning(keys)
		if done == len(keys) {
			return ids, done
		}
		select {
		case <-ctx.Done():
			return ids, done
		case <-t.leadership.Lost():
			return ids, done
		case <-time.After(splitPoll):
		}
	}
}

// beginning lists the regions that begin with keys, and counts those keys.
func (t *term) beginning(keys [][]byte) (ids []uint64, n int) {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	for _, key := range keys {
		if r := t.machine.Picture.RegionOf(key); r != nil && bytes.Equal(r.Meta.StartKey, key) {
			ids, n = append(ids, r.ID()), n+1
		}
	}
	return ids, n
}
