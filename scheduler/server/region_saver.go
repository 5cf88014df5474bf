package server

import (
	"sync"

	"github.com/pingcap/kvproto/pkg/metapb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// regionSaver writes region metas behind the heartbeats that brought them, so that the next leader knows the regions
// before their heartbeats come. While one write is under way the next gathers, the newest meta of each region only. What
// is lost with a term comes back with the heartbeats.
type regionSaver struct {
	store *meta.Store
	log   *zap.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending map[uint64]*metapb.Region // nil: to be deleted
}

func newRegionSaver(store *meta.Store, log *zap.Logger) *regionSaver {
	return &regionSaver{store: store, log: log, wake: make(chan struct{}, 1), pending: make(map[uint64]*metapb.Region)}
}

// changed notes what a heartbeat changed; nothing if the meta is as known.
func (s *regionSaver) changed(r *cluster.Region, change cluster.Change) {
	if !change.Meta && len(change.Overlapped) == 0 {
		return
	}
	s.mu.Lock()
	for _, other := range change.Overlapped {
		s.pending[other.ID()] = nil
	}
	s.pending[r.ID()] = r.Meta
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run saves until the leadership is lost.
func (s *regionSaver) run(lost <-chan struct{}) {
	for {
		select {
		case <-lost:
			return
		case <-s.wake:
		}
		s.mu.Lock()
		batch := s.pending
		s.pending = make(map[uint64]*metapb.Region)
		s.mu.Unlock()
		if err := s.save(batch); err != nil {
			s.log.Warn("regions were not saved; heartbeats will bring them back", zap.Error(err))
			return // every failed write ends the term
		}
	}
}

func (s *regionSaver) save(batch map[uint64]*metapb.Region) error {
	ops := make([]meta.Op, 0, min(len(batch), meta.MaxWrite))
	for id, m := range batch {
		op := meta.Delete(regionKey(id))
		if m != nil {
			value, err := m.Marshal()
			if err != nil {
				return err
			}
			op = meta.Put(regionKey(id), value)
		}
		if ops = append(ops, op); len(ops) == meta.MaxWrite {
			if err := s.store.Write(ops...); err != nil {
				return err
			}
			ops = ops[:0]
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return s.store.Write(ops...)
}
