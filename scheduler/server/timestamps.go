package server

import (
	"context"
	"encoding/binary"
	stderrors "errors"
	"io"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/oracle"
)

const renewalsPerWindow = 6

// timestamps is the shell around the oracle: it feeds it time and makes its bounds durable.
type timestamps struct {
	t      *term
	window time.Duration
	mu     sync.Mutex
	oracle *oracle.Timestamps
	// saving serialises writes of the bound; persisted is the largest, and the durable one never goes back.
	saving    sync.Mutex
	persisted int64
}

// loadTimestamps starts the term's oracle above all bounds that were ever persisted.
func loadTimestamps(ctx context.Context, t *term, window time.Duration) (*timestamps, error) {
	value, err := t.store.Load(ctx, timestampKey)
	if err != nil {
		return nil, err
	}
	var saved int64
	if value != nil {
		if len(value) != 8 {
			return nil, errors.Errorf("the persisted bound of timestamps has %d bytes, want 8", len(value))
		}
		saved = int64(binary.BigEndian.Uint64(value))
	}
	wall := t.clocks.Wall().UnixMilli()
	if ahead := time.Duration(saved-wall) * time.Millisecond; ahead > 2*window {
		t.log.Warn("the clock stepped back: timestamps stand still until it has caught up", zap.Duration("by", ahead))
	}
	ts := &timestamps{t: t, window: window, oracle: oracle.NewTimestamps(saved, wall, window), persisted: saved}
	if _, _, err := ts.next(1); err != nil { // persists the first bound before anybody waits for it
		return nil, err
	}
	return ts, nil
}

// next hands out count timestamps and returns the last. Errors are gRPC statuses.
func (ts *timestamps) next(count uint32) (physical, logical int64, err error) {
	for {
		ts.mu.Lock()
		g := ts.oracle.Next(count, ts.t.clocks.Wall().UnixMilli(), ts.t.clocks.Monotonic(), ts.t.leadership.End())
		ts.mu.Unlock()
		switch g.Verdict {
		case oracle.Granted:
			// The lease may have ended while we were busy; then the next leader may be past these already.
			if !ts.t.leadership.Holds() {
				return 0, 0, errNotLeader
			}
			return g.Physical, g.Logical, nil
		case oracle.SaveFirst:
			ts.t.metrics.tsoEvent("save_on_demand")
			if err := ts.save(g.Save); err != nil {
				return 0, 0, asStatus(err)
			}
		case oracle.TooMany:
			if count == 0 {
				return 0, 0, status.Error(codes.Unknown,
					"[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count should be positive")
			}
			return 0, 0, status.Errorf(codes.Unknown,
				"[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count %d is above the limit of %d",
				count, oracle.MaxLogical-1)
		default:
			return 0, 0, errNotLeader
		}
	}
}

func (ts *timestamps) save(bound int64) error {
	ts.saving.Lock()
	defer ts.saving.Unlock()
	if bound <= ts.persisted {
		return nil // another request was here first
	}
	if err := writeUint64(ts.t, timestampKey, uint64(bound)); err != nil {
		ts.t.metrics.tsoEvent("err_save_tso")
		return err
	}
	ts.t.metrics.tsoEvent("save")
	ts.persisted = bound
	ts.mu.Lock()
	ts.oracle.Saved(bound)
	ts.mu.Unlock()
	return nil
}

// keepAhead persists new bounds before they are needed.
func (ts *timestamps) keepAhead(lost <-chan struct{}) {
	tick := time.NewTicker(ts.window / renewalsPerWindow)
	defer tick.Stop()
	for {
		select {
		case <-lost:
			return
		case <-tick.C:
		}
		ts.mu.Lock()
		bound := ts.oracle.Renew(ts.t.clocks.Wall().UnixMilli())
		ts.mu.Unlock()
		if bound == 0 {
			continue
		}
		if err := ts.save(bound); err != nil {
			return // every failed write ends the term
		}
	}
}

// Tso serves one stream of timestamps. Each request is a batch already: clients gather theirs while one is on the way.
// Errors end the stream, because clients do not look at this stream's header errors.
func (s *service) Tso(stream pdpb.PD_TsoServer) error {
	for {
		req, err := stream.Recv()
		if stderrors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := s.leads(req.GetHeader())
		if err != nil {
			return err
		}
		physical, logical, err := t.timestamps.next(req.GetCount())
		if err != nil {
			return err
		}
		t.metrics.tsoBatch.Observe(float64(req.GetCount()))
		err = stream.Send(&pdpb.TsoResponse{
			Header:    t.header(),
			Count:     req.GetCount(),
			Timestamp: &pdpb.Timestamp{Physical: physical, Logical: logical},
		})
		if err != nil {
			return err
		}
	}
}

// GetMinTS is a timestamp below which none is handed out any more.
func (s *service) GetMinTS(_ context.Context, req *pdpb.GetMinTSRequest) (*pdpb.GetMinTSResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	physical, logical, err := t.timestamps.next(1)
	if err != nil {
		return nil, err
	}
	return &pdpb.GetMinTSResponse{
		Header:    t.header(),
		Timestamp: &pdpb.Timestamp{Physical: physical, Logical: logical},
	}, nil
}
