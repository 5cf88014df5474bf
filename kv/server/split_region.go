package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
)

// Splitter divides regions; a storage of replicated regions does.
type Splitter interface {
	// Split divides a region at keys, and calls done exactly once, with the regions that its range belongs to then.
	Split(at storage.Target, splitKeys [][]byte, done func([]*metapb.Region, error))
}

// SplitRegion divides a region at the request's keys: those of raw pairs as they are, others in their memcomparable form. The answer's regions are in key order.
func (s *Server) SplitRegion(ctx context.Context, req *kvrpcpb.SplitRegionRequest) (*kvrpcpb.SplitRegionResponse, error) {
	splitter, ok := s.storage.(Splitter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "this server's storage has one region")
	}
	from, err := s.newCaller(req.Context)
	if err != nil {
		return nil, err
	}
	wanted := req.SplitKeys
	if len(wanted) == 0 {
		wanted = [][]byte{req.SplitKey} //nolint:staticcheck // old clients set it
	}
	if !req.IsRawKv {
		encoded := make([][]byte, len(wanted))
		for i, k := range wanted {
			encoded[i] = keys.EncodeBytes(nil, k)
		}
		wanted = encoded
	}
	bounded, cancel := from.withDeadline(ctx)
	defer cancel()
	type outcome struct {
		regions []*metapb.Region
		err     error
	}
	ended := make(chan outcome, 1)
	splitter.Split(from.at, wanted, func(regions []*metapb.Region, err error) { ended <- outcome{regions, err} })
	select {
	case o := <-ended:
		f := newFailure(o.err, from.at.RegionID)
		if f.text != "" && f.status == nil {
			f.status = status.Error(codes.InvalidArgument, f.text)
		}
		return &kvrpcpb.SplitRegionResponse{RegionError: f.region, Regions: o.regions}, f.status
	case <-bounded.Done():
		return nil, status.FromContextError(bounded.Err()).Err()
	}
}
