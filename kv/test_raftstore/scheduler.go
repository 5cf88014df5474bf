package test_raftstore

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/proto/region"
)

// Scheduler is the control plane's stand-in: ids, a table of regions from heartbeats, and the adding of missing peers.
type Scheduler struct {
	mu          sync.Mutex
	stores      int
	maxReplicas int
	nextID      uint64
	begun       bool
	regions     map[uint64]*known
	answer      func(storeID uint64, resp *pdpb.RegionHeartbeatResponse)
	beats       map[uint64]int // store heartbeats, by store
	splits      int            // how many were reported
}

type known struct {
	region *metapb.Region
	leader *metapb.Peer
	term   uint64
	// adding is the peer that a leader was told to add.
	adding *metapb.Peer
}

const testClusterID = 77

func newScheduler(stores int) *Scheduler {
	return &Scheduler{stores: stores, maxReplicas: stores, nextID: 1000, regions: make(map[uint64]*known), beats: make(map[uint64]int)}
}

func (s *Scheduler) onAnswer(f func(uint64, *pdpb.RegionHeartbeatResponse)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// setReplicas changes how many voters a region should have.
func (s *Scheduler) setReplicas(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxReplicas = n
}

// AllocID returns a number that was never returned before.
func (s *Scheduler) AllocID(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	return s.nextID, nil
}

// ClusterID implements raftstore.Registry.
func (s *Scheduler) ClusterID() uint64 { return testClusterID }

// IsBootstrapped implements raftstore.Registry.
func (s *Scheduler) IsBootstrapped(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun, nil
}

// Bootstrap implements raftstore.Registry.
func (s *Scheduler) Bootstrap(_ context.Context, _ *metapb.Store, first *metapb.Region) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun {
		return errors.New("already bootstrapped")
	}
	s.begun = true
	s.regions[first.Id] = &known{region: first}
	return nil
}

// GetRegionByID implements raftstore.Registry.
func (s *Scheduler) GetRegionByID(_ context.Context, id uint64) (*metapb.Region, *metapb.Peer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.regions[id]; k != nil {
		return k.region, k.leader, nil
	}
	return nil, nil, nil
}

// RegionOf returns the region that covers key and its leader, as far as heartbeats told.
func (s *Scheduler) RegionOf(key []byte) (*metapb.Region, *metapb.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.regions {
		if bytes.Compare(k.region.StartKey, key) <= 0 && region.Contains(k.region, key) {
			return k.region, k.leader
		}
	}
	return nil, nil
}

// StoreHeartbeat implements raftstore.Scheduler.
func (s *Scheduler) StoreHeartbeat(_ context.Context, stats *pdpb.StoreStats) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats[stats.StoreId]++
	return nil
}

// heard is how many heartbeats a store has sent.
func (s *Scheduler) heard(store uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats[store]
}

// RegionHeartbeat implements raftstore.Scheduler.
func (s *Scheduler) RegionHeartbeat(hb *pdpb.RegionHeartbeatRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.regions[hb.Region.Id]
	if k == nil {
		k = &known{}
		s.regions[hb.Region.Id] = k
	} else if region.IsEpochStale(hb.Region.RegionEpoch, k.region.RegionEpoch) || hb.Term < k.term {
		return
	}
	k.region, k.leader, k.term = hb.Region, hb.Leader, hb.Term
	s.evict(hb.Region)
	if k.adding != nil && region.FindPeerOn(k.region, k.adding.StoreId) != nil {
		k.adding = nil // it is there; should it be removed, the next one has another id
	}
	if len(hb.Region.Peers) >= s.maxReplicas || len(hb.PendingPeers) > 0 || s.answer == nil {
		return
	}
	resp := &pdpb.RegionHeartbeatResponse{
		RegionId: hb.Region.Id, RegionEpoch: hb.Region.RegionEpoch, TargetPeer: hb.Leader,
		ChangePeer: &pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_AddNode, Peer: s.missing(k)},
	}
	go s.answer(hb.Leader.StoreId, resp)
}

// AskBatchSplit implements raftstore.Scheduler.
func (s *Scheduler) AskBatchSplit(r *metapb.Region, count int, answer func([]*pdpb.SplitID, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []*pdpb.SplitID
	for range count {
		s.nextID++
		id := &pdpb.SplitID{NewRegionId: s.nextID}
		for range r.Peers {
			s.nextID++
			id.NewPeerIds = append(id.NewPeerIds, s.nextID)
		}
		ids = append(ids, id)
	}
	go answer(ids, nil)
}

// ReportBatchSplit implements raftstore.Scheduler. Heartbeats tell the rest.
func (s *Scheduler) ReportBatchSplit([]*metapb.Region) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.splits++
}

// evict forgets the regions that a newer one has taken some of the range of, until they report what they have kept.
func (s *Scheduler) evict(r *metapb.Region) {
	for id, k := range s.regions {
		if id != r.Id && region.Overlaps(k.region, r) && k.region.RegionEpoch.GetVersion() <= r.RegionEpoch.GetVersion() {
			delete(s.regions, id)
		}
	}
}

// regionIDs are the regions that were heard of, in order.
func (s *Scheduler) regionIDs() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]uint64, 0, len(s.regions))
	for id := range s.regions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// missing is the peer that a region lacks; the same one until it has it.
func (s *Scheduler) missing(k *known) *metapb.Peer {
	if k.adding != nil && region.FindPeerOn(k.region, k.adding.StoreId) == nil {
		return k.adding
	}
	for id := uint64(1); id <= uint64(s.stores); id++ {
		if region.FindPeerOn(k.region, id) == nil {
			s.nextID++
			k.adding = &metapb.Peer{Id: s.nextID, StoreId: id}
			return k.adding
		}
	}
	return nil
}

// registry is the scheduler as one store meets it first: store ids are given in the order that the test wants.
type registry struct {
	*Scheduler
	next uint64 // the first id that is asked for is the store's
}

func (r *registry) AllocID(ctx context.Context) (uint64, error) {
	if id := r.next; id != 0 {
		r.next = 0
		return id, nil
	}
	return r.Scheduler.AllocID(ctx)
}
