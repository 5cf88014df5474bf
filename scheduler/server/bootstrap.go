package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/replication_modepb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// IsBootstrapped says whether the cluster has its first store and region.
func (s *service) IsBootstrapped(_ context.Context, req *pdpb.IsBootstrappedRequest) (*pdpb.IsBootstrappedResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	return &pdpb.IsBootstrappedResponse{Header: t.header(), Bootstrapped: t.needsBootstrap() == nil}, nil
}

// Bootstrap takes in the first store and region. A repeated call is told that it is done.
func (s *service) Bootstrap(_ context.Context, req *pdpb.BootstrapRequest) (*pdpb.BootstrapResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	err = t.desk.change(func(at machine.Moment) (*machine.Save, error) { return t.machine.Bootstrap(req.Store, req.Region, at) })
	switch {
	case err == nil:
	case err == machine.ErrAlreadyBootstrapped || endsTerm(err):
		h, err := t.refused(err)
		return &pdpb.BootstrapResponse{Header: h}, err
	default:
		return nil, status.Error(codes.Unknown, err.Error())
	}
	t.log.Info("cluster bootstrapped", zap.Stringer("store", req.Store), zap.Stringer("region", req.Region))
	return &pdpb.BootstrapResponse{Header: t.header(), ReplicationStatus: &replication_modepb.ReplicationStatus{}}, nil
}

func (t *term) replicas() int {
	return t.config().MaxReplicas
}

// GetClusterConfig returns the cluster's meta.
func (s *service) GetClusterConfig(_ context.Context, req *pdpb.GetClusterConfigRequest) (*pdpb.GetClusterConfigResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetClusterConfigResponse{Header: h}, nil
	}
	return &pdpb.GetClusterConfigResponse{Header: t.header(), Cluster: read(t, (*cluster.Picture).Cluster)}, nil
}

// PutClusterConfig replaces the cluster's meta.
func (s *service) PutClusterConfig(_ context.Context, req *pdpb.PutClusterConfigRequest) (*pdpb.PutClusterConfigResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	err = t.desk.change(func(machine.Moment) (*machine.Save, error) { return t.machine.SetCluster(req.GetCluster()) })
	switch {
	case err == nil:
		return &pdpb.PutClusterConfigResponse{Header: t.header()}, nil
	case err == machine.ErrNotBootstrapped || endsTerm(err):
		h, err := t.refused(err)
		return &pdpb.PutClusterConfigResponse{Header: h}, err
	}
	return nil, status.Error(codes.Unknown, err.Error())
}
