package server

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
)

// Splitter divides regions.
type Splitter interface {
	// Split divides a region at keys, which are stored ones, ascending and strictly inside of it; without keys in the middle of what it holds. It
	// answers what became of the region, in the order of keys.
	Split(ctx context.Context, at storage.Target, keys [][]byte) ([]*metapb.Region, error)
}

// WithSplitter sets who splits regions; without it SplitRegion is Unimplemented.
func WithSplitter(p Splitter) Option { return func(s *Server) { s.splitter = p } }

// splitPatience is how long a split may take whose caller sets no limit.
const splitPatience = 20 * time.Second

// SplitRegion divides a region at the given keys: users' keys of transactions, which are stored in memcomparable form, or raw ones. Keys at which
// nothing is to be divided, because the region begins there, are passed over. Without keys, which no client of the family sends, it divides the
// region in the middle.
func (s *Server) SplitRegion(ctx context.Context, req *kvrpcpb.SplitRegionRequest) (*kvrpcpb.SplitRegionResponse, error) {
	if s.splitter == nil {
		return nil, status.Error(codes.Unimplemented, "method SplitRegion not implemented: this storage has no regions to split")
	}
	start := time.Now()
	from, err := s.newCaller(req.Context)
	regionID := uint64(0)
	var parts []*metapb.Region
	if err == nil {
		regionID = from.at.RegionID
		parts, err = s.splitRegion(ctx, from, req)
	}
	f := s.finish(splitRegion, start, err, regionID).retryable()
	if f != (failure{}) {
		return &kvrpcpb.SplitRegionResponse{RegionError: f.region}, f.status
	}
	resp := &kvrpcpb.SplitRegionResponse{Regions: parts}
	if len(parts) == 2 {
		resp.Left, resp.Right = parts[0], parts[1] // old clients read nothing else
	}
	return resp, nil
}

func (s *Server) splitRegion(ctx context.Context, from *caller, req *kvrpcpb.SplitRegionRequest) ([]*metapb.Region, error) {
	if from.refusal != nil {
		return nil, from.refusal
	}
	at, err := s.splitKeys(req)
	if err != nil {
		return nil, err
	}
	bounded, cancel := from.withDeadline(ctx)
	defer cancel()
	bounded, end := context.WithTimeout(bounded, splitPatience)
	defer end()
	return s.splitter.Split(bounded, from.at, at)
}

// splitKeys are the keys of a request as they are stored, in order and without repetitions.
func (s *Server) splitKeys(req *kvrpcpb.SplitRegionRequest) ([][]byte, error) {
	list := slices.Clone(req.SplitKeys)
	if len(req.SplitKey) > 0 { // old clients write nothing else
		list = append(list, req.SplitKey)
	}
	for i, k := range list {
		if err := s.limits.checkKey(k); err != nil {
			return nil, err
		}
		if !req.IsRawKv {
			list[i] = keys.EncodeBytes(nil, k)
		}
	}
	slices.SortFunc(list, bytes.Compare)
	return slices.CompactFunc(list, bytes.Equal), nil
}
