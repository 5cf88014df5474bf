package server

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/replication_modepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// PutStore registers a store, or takes in its new address, version or labels when it comes back.
func (s *service) PutStore(_ context.Context, req *pdpb.PutStoreRequest) (*pdpb.PutStoreResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.PutStoreResponse{Header: h}, nil
	}
	if req.GetStore() == nil {
		return nil, status.Error(codes.Unknown, "invalid put store command")
	}
	err = t.desk.change(func(machine.Moment) (*machine.Save, error) { return t.machine.PutStore(req.Store) })
	if err != nil {
		h, err := t.refused(err)
		return &pdpb.PutStoreResponse{Header: h}, err
	}
	return &pdpb.PutStoreResponse{Header: t.header(), ReplicationStatus: &replication_modepb.ReplicationStatus{}}, nil
}

// GetStore returns one store; a tombstone too, marked as such.
func (s *service) GetStore(_ context.Context, req *pdpb.GetStoreRequest) (*pdpb.GetStoreResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetStoreResponse{Header: h}, nil
	}
	store := read(t, func(p *cluster.Picture) *cluster.Store { return p.Store(req.GetStoreId()) })
	if store == nil {
		message := fmt.Sprintf("invalid store ID %d, not found", req.GetStoreId())
		return &pdpb.GetStoreResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, message)}, nil
	}
	return &pdpb.GetStoreResponse{Header: t.header(), Store: store.Meta, Stats: wire.StoreStats(store.Stats)}, nil
}

// GetAllStores lists the stores by id.
func (s *service) GetAllStores(_ context.Context, req *pdpb.GetAllStoresRequest) (*pdpb.GetAllStoresResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.GetAllStoresResponse{Header: h}, nil
	}
	res := &pdpb.GetAllStoresResponse{Header: t.header()}
	for _, store := range t.stores() {
		if req.GetExcludeTombstoneStores() && store.Meta.State == metapb.StoreState_Tombstone {
			continue
		}
		res.Stores = append(res.Stores, store.Meta)
	}
	return res, nil
}

func (t *term) stores() []*cluster.Store {
	return read(t, (*cluster.Picture).Stores)
}

// StoreHeartbeat takes in what a store says of itself and tells it the cluster's version.
func (s *service) StoreHeartbeat(_ context.Context, req *pdpb.StoreHeartbeatRequest) (*pdpb.StoreHeartbeatResponse, error) {
	t, err := s.leads(req.GetHeader())
	if err != nil {
		return nil, err
	}
	if req.GetStats() == nil {
		return nil, status.Errorf(codes.Unknown, "invalid store heartbeat command, but %v", req)
	}
	began := time.Now()
	_, err = t.desk.ask(func(at machine.Moment) (*machine.Save, error) {
		return nil, t.machine.StoreHeartbeat(req.Stats.StoreId, wire.Stats(req.Stats), at)
	})
	if err != nil {
		h, err := t.refused(err)
		return &pdpb.StoreHeartbeatResponse{Header: h}, err
	}
	t.metrics.storeHeartbeatSeconds.WithLabelValues(label(req.Stats.StoreId)).Observe(time.Since(began).Seconds())
	t.metrics.storeHeard(req.Stats.StoreId)
	return &pdpb.StoreHeartbeatResponse{
		Header:            t.header(),
		ReplicationStatus: &replication_modepb.ReplicationStatus{},
		ClusterVersion:    read(t, (*cluster.Picture).Version),
	}, nil
}
