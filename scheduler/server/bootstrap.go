package server

import (
	"context"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/replication_modepb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// IsBootstrapped says whether the cluster has its first store and region.
func (s *service) IsBootstrapped(_ context.Context, req *pdpb.IsBootstrappedRequest) (*pdpb.IsBootstrappedResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	return &pdpb.IsBootstrappedResponse{Header: t.header(), Bootstrapped: t.needsBootstrap() == nil}, nil
}

// Bootstrap takes in the first store and region, both and the cluster's meta in one durable step: a crash in the middle
// leaves nothing, and a repeated call is told that it is done.
func (s *service) Bootstrap(_ context.Context, req *pdpb.BootstrapRequest) (*pdpb.BootstrapResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	t.admin.Lock()
	defer t.admin.Unlock()
	already := &pdpb.BootstrapResponse{Header: t.failed(pdpb.ErrorType_ALREADY_BOOTSTRAPPED, alreadyBootstrapped)}
	if t.needsBootstrap() == nil {
		return already, nil
	}
	if err := cluster.CheckBootstrap(req.GetStore(), req.GetRegion()); err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	first := &metapb.Cluster{Id: t.clusterID, MaxPeerCount: uint32(t.replicas())}
	ops, err := bootstrapOps(first, req, t.clocks.Wall().UnixNano())
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	created, err := t.store.WriteIfAbsent(clusterKey, ops...)
	if err != nil {
		return nil, asStatus(err)
	}
	if !created {
		return already, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.picture.SetCluster(first)
	t.picture.PutStore(req.Store, t.clocks.Monotonic())
	region := &cluster.Region{Meta: req.Region}
	change, err := t.picture.CheckRegion(region)
	if err != nil {
		panic("the first region of the cluster is not the first: " + err.Error())
	}
	t.picture.PutRegion(region, change)
	t.log.Info("cluster bootstrapped", zap.Stringer("store", req.Store), zap.Stringer("region", req.Region))
	return &pdpb.BootstrapResponse{Header: t.header(), ReplicationStatus: &replication_modepb.ReplicationStatus{}}, nil
}

func bootstrapOps(c *metapb.Cluster, req *pdpb.BootstrapRequest, now int64) ([]meta.Op, error) {
	clusterValue, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	storeValue, err := req.Store.Marshal()
	if err != nil {
		return nil, err
	}
	regionValue, err := req.Region.Marshal()
	if err != nil {
		return nil, err
	}
	return []meta.Op{
		meta.Put(clusterKey, clusterValue),
		meta.Put(bootstrapTimeKey, bigEndian(uint64(now))),
		meta.Put(storeKey(req.Store.Id), storeValue),
		meta.Put(regionKey(req.Region.Id), regionValue),
	}, nil
}

func (t *term) replicas() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.picture.Replicas()
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &pdpb.GetClusterConfigResponse{Header: t.header(), Cluster: t.picture.Cluster()}, nil
}

// PutClusterConfig replaces the cluster's meta. Its replica count is a record only: the configuration decides.
func (s *service) PutClusterConfig(_ context.Context, req *pdpb.PutClusterConfigRequest) (*pdpb.PutClusterConfigResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.PutClusterConfigResponse{Header: h}, nil
	}
	next := req.GetCluster()
	if next.GetId() != t.clusterID {
		return nil, status.Errorf(codes.Unknown, "invalid cluster %v, mismatch cluster id %d", next, t.clusterID)
	}
	value, err := next.Marshal()
	if err != nil {
		return nil, status.Error(codes.Unknown, err.Error())
	}
	t.admin.Lock()
	defer t.admin.Unlock()
	if err := t.store.Write(meta.Put(clusterKey, value)); err != nil {
		return nil, asStatus(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.picture.SetCluster(next)
	return &pdpb.PutClusterConfigResponse{Header: t.header()}, nil
}
