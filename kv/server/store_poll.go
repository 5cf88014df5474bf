package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// What clients poll of a store, whatever its regions do.

// GetStoreSafeTS answers 0, which clients take for "not known": no replica serves stale reads.
func (s *Server) GetStoreSafeTS(context.Context, *kvrpcpb.StoreSafeTSRequest) (*kvrpcpb.StoreSafeTSResponse, error) {
	return &kvrpcpb.StoreSafeTSResponse{}, nil
}

// GetHealthFeedback answers as the command of the same name in a stream does.
func (s *Server) GetHealthFeedback(_ context.Context, req *kvrpcpb.GetHealthFeedbackRequest) (*kvrpcpb.GetHealthFeedbackResponse, error) {
	if _, err := s.newCaller(req.GetContext()); err != nil {
		return nil, err
	}
	return &kvrpcpb.GetHealthFeedbackResponse{HealthFeedback: s.healthFeedback()}, nil
}
