package transport

import (
	"context"
	"strconv"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/proto/region"
)

// The metadata of a stream between stores; RaftMessage has no room for it.
const (
	clusterHeader = "shoal-cluster-id"
	fromHeader    = "shoal-from-store-id"
	toHeader      = "shoal-to-store-id"
)

// identify returns a context for streams to that store.
func (t *Transport) identify(ctx context.Context, to uint64) context.Context {
	return metadata.AppendToOutgoingContext(ctx,
		clusterHeader, strconv.FormatUint(t.opts.ClusterID, 10),
		fromHeader, strconv.FormatUint(t.opts.StoreID, 10),
		toHeader, strconv.FormatUint(to, 10))
}

// admit returns the store that an incoming stream is from, or why the stream is refused: PITFALLS S19.
func (t *Transport) admit(ctx context.Context) (from uint64, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	number := func(header string) uint64 {
		values := md.Get(header)
		if err == nil && len(values) != 1 {
			err = t.refuse(reasonMalformed, codes.InvalidArgument, "the stream's metadata has no "+header)
		}
		if err != nil {
			return 0
		}
		n, failed := strconv.ParseUint(values[0], 10, 64)
		if failed != nil {
			err = t.refuse(reasonMalformed, codes.InvalidArgument, "the stream's metadata has a malformed "+header)
		}
		return n
	}
	cluster, from, to := number(clusterHeader), number(fromHeader), number(toHeader)
	switch {
	case err != nil:
		return 0, err
	case cluster != t.opts.ClusterID:
		return 0, t.refuse(reasonCluster, codes.FailedPrecondition, "mismatch cluster id, need "+
			strconv.FormatUint(t.opts.ClusterID, 10)+" but got "+strconv.FormatUint(cluster, 10))
	case to != t.opts.StoreID:
		return 0, t.refuseStore(to)
	}
	return from, nil
}

// check refuses a message that may not arrive on a stream from that store.
func (t *Transport) check(m *raft_serverpb.RaftMessage, from uint64) error {
	switch {
	case m.GetToPeer() == nil || m.FromPeer == nil:
		return t.refuse(reasonMalformed, codes.InvalidArgument, "the raft message does not say from which peer to which it goes")
	case m.ToPeer.StoreId != t.opts.StoreID:
		return t.refuseStore(m.ToPeer.StoreId)
	case m.FromPeer.StoreId != from:
		return t.refuse(reasonStore, codes.InvalidArgument, "store not match: a message from store "+
			strconv.FormatUint(m.FromPeer.StoreId, 10)+" came on a stream from store "+strconv.FormatUint(from, 10))
	}
	return nil
}

func (t *Transport) refuseStore(to uint64) error {
	reason := &region.StoreNotMatchError{Requested: to, Actual: t.opts.StoreID}
	return t.refuse(reasonStore, codes.FailedPrecondition, "store not match: "+reason.Error())
}

func (t *Transport) refuse(reason string, code codes.Code, text string) error {
	t.metrics.refused.WithLabelValues(reason).Inc()
	return status.Error(code, text)
}
