package server

import (
	"context"
	"fmt"
	"hash/crc64"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/engine"
)

// RawChecksum answers, over the pairs of the ranges in the default column family, the exclusive or of their CRC-64 (ECMA) digests, each taken over key
// and value; the number of pairs; and the bytes of their keys and values. Each range must start in the region and is clamped to it:
// results of neighbouring regions combine into that of the whole.
func (s *Server) RawChecksum(ctx context.Context, req *kvrpcpb.RawChecksumRequest) (*kvrpcpb.RawChecksumResponse, error) {
	resp := &kvrpcpb.RawChecksumResponse{}
	f := s.read(ctx, rawChecksum, req.Context, func(ctx context.Context, snap rawSnapshot) error {
		if req.Algorithm != kvrpcpb.ChecksumAlgorithm_Crc64_Xor {
			return &InvalidError{Reason: fmt.Sprintf("unknown checksum algorithm %s: there is %s", req.Algorithm, kvrpcpb.ChecksumAlgorithm_Crc64_Xor)}
		}
		table := crc64.MakeTable(crc64.ECMA)
		for _, r := range req.Ranges {
			opts, empty, err := scanRange(snap, &kvrpcpb.RawScanRequest{StartKey: r.GetStartKey(), EndKey: r.GetEndKey()})
			if err == nil && !empty {
				err = checksumRange(ctx, snap, opts, table, resp)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if f != (failure{}) {
		resp = &kvrpcpb.RawChecksumResponse{RegionError: f.region, Error: f.text}
	}
	return resp, f.status
}

// checksumRange adds one range to the sums.
func checksumRange(ctx context.Context, snap rawSnapshot, opts engine.IterOptions, table *crc64.Table, sums *kvrpcpb.RawChecksumResponse) error {
	return snap.each(ctx, engine.Default, opts, false, func(key, value []byte) (bool, error) {
		sums.Checksum ^= crc64.Update(crc64.Checksum(key, table), table, value)
		sums.TotalKvs++
		sums.TotalBytes += uint64(len(key) + len(value))
		return true, nil
	})
}
