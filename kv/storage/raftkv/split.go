package raftkv

import (
	"bytes"
	"context"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// maxSplit is how many regions one split makes at most; more keys take several splits.
const maxSplit = 1024

// Split divides a region at keys, which ascend; those at its very beginning are passed over. Without keys it divides the region in the middle. The
// answer is what became of the region, in the order of keys. When ctx ends first, the split may still come about.
func (s *Storage) Split(ctx context.Context, at storage.Target, keys [][]byte) ([]*metapb.Region, error) {
	v, err := s.view(at, false)
	if err != nil {
		return nil, err
	}
	half := len(keys) == 0
	for len(keys) > 0 && bytes.Equal(keys[0], v.Region.StartKey) {
		keys = keys[1:]
	}
	for _, k := range keys {
		if !region.Contains(v.Region, k) {
			return nil, &region.KeyNotInRegionError{Key: k, Region: v.Region}
		}
	}
	parts := []*metapb.Region{v.Region}
	for half || len(keys) > 0 {
		// The region itself is the last part, and keeps what is behind the first keys.
		n, last := min(len(keys), maxSplit), parts[len(parts)-1]
		more, err := s.splitOnce(ctx, last, keys[:n])
		if err != nil {
			return nil, err
		}
		parts, keys, half = append(parts[:len(parts)-1], more...), keys[n:], false
	}
	return parts, nil
}

func (s *Storage) splitOnce(ctx context.Context, r *metapb.Region, keys [][]byte) ([]*metapb.Region, error) {
	type result struct {
		parts []*metapb.Region
		err   error
	}
	done := make(chan result, 1)
	var parts []*metapb.Region // written before Done, by the same caller
	s.router.Admin(&machine.AdminRequest{
		RegionID: r.Id, Epoch: r.RegionEpoch,
		Op:   machine.Split{Keys: keys, Parts: func(p []*metapb.Region) { parts = p }},
		Done: func(err error) { done <- result{parts, err} },
	})
	select {
	case res := <-done:
		return res.parts, res.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
