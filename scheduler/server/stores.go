package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/replication_modepb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/meta"
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
	rejected, err := t.putStore(req.Store)
	if err != nil {
		return nil, asStatus(err)
	}
	if rejected != nil {
		return &pdpb.PutStoreResponse{Header: t.rejectedStore(rejected)}, nil
	}
	return &pdpb.PutStoreResponse{Header: t.header(), ReplicationStatus: &replication_modepb.ReplicationStatus{}}, nil
}

// putStore makes a store durable, then takes it into the picture. rejected says why it may not be; err that the write
// failed, and with it the term.
func (t *term) putStore(store *metapb.Store) (rejected, err error) {
	t.admin.Lock()
	defer t.admin.Unlock()
	t.mu.RLock()
	rejected = t.picture.CheckStore(store)
	old := t.picture.Store(store.Id)
	t.mu.RUnlock()
	if rejected != nil {
		return rejected, nil
	}
	if old != nil { // what operators decide is not the store's to change
		next := *store
		next.State, next.NodeState, next.PhysicallyDestroyed = old.Meta.State, old.Meta.NodeState, old.Meta.PhysicallyDestroyed
		store = &next
	}
	value, err := store.Marshal()
	if err != nil {
		return err, nil
	}
	if old != nil {
		if known, err := old.Meta.Marshal(); err == nil && bytes.Equal(known, value) {
			return nil, nil
		}
	}
	if err := t.store.Write(meta.Put(storeKey(store.Id), value)); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.picture.PutStore(store, t.clocks.Monotonic())
	t.log.Info("store registered", zap.Stringer("store", store))
	return nil, nil
}

// rejectedStore is the header for a store that may not register or heartbeat.
func (t *term) rejectedStore(why error) *pdpb.ResponseHeader {
	var buried *cluster.TombstoneError
	if errors.As(why, &buried) {
		return t.failed(pdpb.ErrorType_STORE_TOMBSTONE, why.Error())
	}
	return t.failed(pdpb.ErrorType_UNKNOWN, why.Error())
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
	t.mu.RLock()
	store := t.picture.Store(req.GetStoreId())
	t.mu.RUnlock()
	if store == nil {
		message := fmt.Sprintf("invalid store ID %d, not found", req.GetStoreId())
		return &pdpb.GetStoreResponse{Header: t.failed(pdpb.ErrorType_UNKNOWN, message)}, nil
	}
	return &pdpb.GetStoreResponse{Header: t.header(), Store: store.Meta, Stats: statsPB(store.Stats)}, nil
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
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.picture.Stores()
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
	if h := t.needsBootstrap(); h != nil {
		return &pdpb.StoreHeartbeatResponse{Header: h}, nil
	}
	refused, cameUp := t.hear(req.Stats)
	if refused != nil {
		return &pdpb.StoreHeartbeatResponse{Header: refused}, nil
	}
	if cameUp {
		if err := t.welcome(t.clocks.Monotonic()); err != nil {
			return nil, err
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &pdpb.StoreHeartbeatResponse{
		Header:            t.header(),
		ReplicationStatus: &replication_modepb.ReplicationStatus{},
		ClusterVersion:    t.picture.Version(),
	}, nil
}

// hear takes a store's report in, or says why not; cameUp says that the store was not Up before.
func (t *term) hear(stats *pdpb.StoreStats) (refused *pdpb.ResponseHeader, cameUp bool) {
	id, now := stats.StoreId, t.clocks.Monotonic()
	t.mu.Lock()
	defer t.mu.Unlock()
	store := t.picture.Store(id)
	switch {
	case store == nil:
		return t.failed(pdpb.ErrorType_UNKNOWN, fmt.Sprintf("store %d not found", id)), false
	case store.Meta.State == metapb.StoreState_Tombstone:
		return t.rejectedStore(&cluster.TombstoneError{Store: store.Meta}), false
	}
	cameUp = store.State(now) != cluster.Up
	t.picture.HearStore(id, statsOf(stats), now, t.clocks.Wall())
	return nil, cameUp
}

func statsOf(s *pdpb.StoreStats) cluster.StoreStats {
	return cluster.StoreStats{
		Capacity: s.Capacity, Available: s.Available, UsedSize: s.UsedSize,
		RegionCount: s.RegionCount, StartTime: s.StartTime,
		SendingSnapshots: s.SendingSnapCount, ReceivingSnapshots: s.ReceivingSnapCount,
		IsBusy: s.IsBusy,
	}
}

func statsPB(s cluster.StoreStats) *pdpb.StoreStats {
	return &pdpb.StoreStats{
		Capacity: s.Capacity, Available: s.Available, UsedSize: s.UsedSize,
		RegionCount: s.RegionCount, StartTime: s.StartTime,
		SendingSnapCount: s.SendingSnapshots, ReceivingSnapCount: s.ReceivingSnapshots,
		IsBusy: s.IsBusy,
	}
}
