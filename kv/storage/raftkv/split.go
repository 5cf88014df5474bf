package raftkv

import (
	"bytes"
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// Split divides a region at keys, which must lie inside of it and ascend, and calls done exactly once: with the regions that its range belongs
// to now, in key order, or with an error of package region.
func (s *Storage) Split(at storage.Target, splitKeys [][]byte, done func([]*metapb.Region, error)) {
	v, err := s.view(at, false)
	if err != nil {
		done(nil, err)
		return
	}
	whole := v.Region
	s.router.Admin(&machine.AdminRequest{
		RegionID: at.RegionID, Epoch: whole.RegionEpoch, Op: machine.Split{Keys: splitKeys},
		Done: func(err error) {
			if err != nil {
				done(nil, err)
				return
			}
			done(s.parts(whole), nil)
		},
	})
}

// parts are the regions here that share keys with a former region.
func (s *Storage) parts(whole *metapb.Region) (parts []*metapb.Region) {
	s.router.Views(func(_ uint64, v *machine.RegionView) bool {
		if v.Initialized && region.Overlaps(v.Region, whole) {
			parts = append(parts, v.Region)
		}
		return true
	})
	slices.SortFunc(parts, func(a, b *metapb.Region) int { return bytes.Compare(a.StartKey, b.StartKey) })
	return parts
}
