package server

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/storage"
)

// caller is what a request's Context says, read once. It is immutable, and shared by all requests with an equal Context.
type caller struct {
	at storage.Target
	// maxDuration is how long the request may take, 0 when it is not bounded.
	maxDuration time.Duration
	// refusal, when not nil, is why no request of this caller can be served.
	refusal error
}

// newCaller reads a Context. The error is a gRPC status: the caller belongs to another cluster.
func (s *Server) newCaller(c *kvrpcpb.Context) (*caller, error) {
	if theirs := c.GetClusterId(); theirs != 0 && s.clusterID != 0 && theirs != s.clusterID {
		return nil, status.Errorf(codes.InvalidArgument,
			"cluster id mismatch: the request is for cluster %d, this is cluster %d", theirs, s.clusterID)
	}
	from := &caller{
		at: storage.Target{
			RegionID: c.GetRegionId(),
			PeerID:   c.GetPeer().GetId(),
			StoreID:  c.GetPeer().GetStoreId(),
			Epoch:    c.GetRegionEpoch(),
			Term:     c.GetTerm(),
			Replica:  c.GetReplicaRead(),
		},
		maxDuration: time.Duration(c.GetMaxExecutionDurationMs()) * time.Millisecond,
	}
	if v := c.GetApiVersion(); v != kvrpcpb.APIVersion_V1 {
		from.refusal = &InvalidError{
			Reason: fmt.Sprintf("api version in request does not match with the storage: request %s, storage %s", v, kvrpcpb.APIVersion_V1),
		}
	}
	return from, nil
}

// withDeadline bounds ctx by what the caller allows. The cancel function must be called.
func (c *caller) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.maxDuration == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.maxDuration)
}
