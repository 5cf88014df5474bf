package server

import (
	"context"
	stderrors "errors"
	"io"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/oracle"
)

// timestamps are a desk of their own: whoever asks for the time waits for nothing else.
type timestamps struct {
	desk    desk
	machine *machine.Timestamps
}

// timestamp hands out count timestamps and returns the last. Errors are gRPC statuses.
func (t *term) timestamp(count uint32) (*pdpb.Timestamp, error) {
	ts := new(pdpb.Timestamp)
	err := t.timestamps.desk.allocate(func(at machine.Moment) (save *machine.Save, err error) {
		ts.Physical, ts.Logical, save, err = t.timestamps.machine.Next(count, at)
		if save != nil {
			t.metrics.tsoEvent("save_on_demand")
		}
		return save, err
	})
	switch {
	case err == nil:
		return ts, nil
	case stderrors.Is(err, machine.ErrTooMany) && count == 0:
		return nil, status.Error(codes.Unknown,
			"[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count should be positive")
	case stderrors.Is(err, machine.ErrTooMany):
		return nil, status.Errorf(codes.Unknown,
			"[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count %d is above the limit of %d",
			count, oracle.MaxLogical-1)
	}
	_, err = t.refused(err)
	return nil, err
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
		began := time.Now()
		ts, err := t.timestamp(req.GetCount())
		if err != nil {
			return err
		}
		t.metrics.tsoSeconds.WithLabelValues("default").Observe(time.Since(began).Seconds())
		t.metrics.tsoBatch.Observe(float64(req.GetCount()))
		err = stream.Send(&pdpb.TsoResponse{
			Header:    t.header(),
			Count:     req.GetCount(),
			Timestamp: ts,
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
	ts, err := t.timestamp(1)
	if err != nil {
		return nil, err
	}
	return &pdpb.GetMinTSResponse{
		Header:    t.header(),
		Timestamp: ts,
	}, nil
}
