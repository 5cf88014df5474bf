package server

import (
	"errors"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// The texts below are what clients look for; see the message-by-message notes on the protocol.
var (
	errNotLeader  = status.Error(codes.Unavailable, "not leader")
	errNotStarted = status.Error(codes.Unavailable, "server not started")
)

// running is the node, or an error while etcd does not serve yet.
func (s *Server) running() (*meta.Node, error) {
	if node := s.node.Load(); node != nil {
		return node, nil
	}
	return nil, errNotStarted
}

// leads is the term that serves a request, provided the request is meant for this cluster.
func (s *Server) leads(h *pdpb.RequestHeader) (*term, error) {
	t := s.term.Load()
	if t == nil {
		return nil, errNotLeader
	}
	if h.GetClusterId() != t.clusterID {
		return nil, status.Errorf(codes.FailedPrecondition, "mismatch cluster id, need %d but got %d",
			t.clusterID, h.GetClusterId())
	}
	return t, nil
}

// header is that of an answer without an error.
func (t *term) header() *pdpb.ResponseHeader { return &pdpb.ResponseHeader{ClusterId: t.clusterID} }

func (t *term) failed(kind pdpb.ErrorType, message string) *pdpb.ResponseHeader {
	return &pdpb.ResponseHeader{ClusterId: t.clusterID, Error: &pdpb.Error{Type: kind, Message: message}}
}

// needsBootstrap is the header that says so, or nil once the cluster is bootstrapped.
func (t *term) needsBootstrap() *pdpb.ResponseHeader {
	if read(t, func(p *cluster.Picture) bool { return p.Cluster() != nil }) {
		return nil
	}
	return t.failed(pdpb.ErrorType_NOT_BOOTSTRAPPED, machine.ErrNotBootstrapped.Error())
}

// refused turns the machine's error into what a client acts on: a header that says what is wrong, or, when the leadership is lost, a status
// that sends it to look for the next leader.
func (t *term) refused(err error) (*pdpb.ResponseHeader, error) {
	var buried *cluster.TombstoneError
	switch {
	case err == machine.ErrNotLeader:
		return nil, errNotLeader
	case endsTerm(err):
		return nil, status.Error(codes.Unavailable, err.Error())
	case err == machine.ErrNotBootstrapped:
		return t.failed(pdpb.ErrorType_NOT_BOOTSTRAPPED, err.Error()), nil
	case err == machine.ErrAlreadyBootstrapped:
		return t.failed(pdpb.ErrorType_ALREADY_BOOTSTRAPPED, err.Error()), nil
	case errors.As(err, &buried):
		return t.failed(pdpb.ErrorType_STORE_TOMBSTONE, err.Error()), nil
	}
	return t.failed(pdpb.ErrorType_UNKNOWN, err.Error()), nil
}
