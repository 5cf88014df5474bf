package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
)

// RawGetKeyTTL answers how many seconds a key has left, 0 when it never expires, or not_found. It is for TTL mode only.
func (s *Server) RawGetKeyTTL(ctx context.Context, req *kvrpcpb.RawGetKeyTTLRequest) (*kvrpcpb.RawGetKeyTTLResponse, error) {
	resp := &kvrpcpb.RawGetKeyTTLResponse{}
	f := s.read(ctx, rawGetKeyTTL, req.Context, func(_ context.Context, snap rawSnapshot) error {
		if !snap.expire {
			return errTTLUnknown
		}
		cf, err := parseCF(req.Cf)
		if err != nil {
			return err
		}
		value, expiry, err := snap.get(cf, req.Key)
		resp.NotFound = value == nil
		if expiry != 0 {
			resp.Ttl = expiry - snap.now // at least 1, or it had expired
		}
		return err
	})
	if f != (failure{}) {
		resp = &kvrpcpb.RawGetKeyTTLResponse{RegionError: f.region, Error: f.text}
	}
	return resp, f.status
}

var errTTLUnknown = &InvalidError{
	Reason: "get ttl on non-ttl store: values expire only in a cluster whose stores were made with storage.enable-ttl = true",
}
