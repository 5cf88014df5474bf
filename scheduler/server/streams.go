package server

import (
	"sync"

	"github.com/pingcap/kvproto/pkg/pdpb"
)

// streamQueue bounds the commands that wait for one store. More are dropped: heartbeats ask for them again.
const streamQueue = 1024

// streams is where commands for each store go: the queue of its newest heartbeat stream.
type streams struct {
	mu      sync.Mutex
	byStore map[uint64]chan *pdpb.RegionHeartbeatResponse
}

func newStreams() *streams {
	return &streams{byStore: make(map[uint64]chan *pdpb.RegionHeartbeatResponse)}
}

func (s *streams) bind(store uint64, out chan *pdpb.RegionHeartbeatResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byStore[store] = out
}

// unbind forgets a stream that ended, unless a newer one took its place.
func (s *streams) unbind(store uint64, out chan *pdpb.RegionHeartbeatResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byStore[store] == out {
		delete(s.byStore, store)
	}
}

// push never blocks; false if the store has no stream or its queue is full.
func (s *streams) push(store uint64, res *pdpb.RegionHeartbeatResponse) bool {
	s.mu.Lock()
	out := s.byStore[store]
	s.mu.Unlock()
	select {
	case out <- res: // a nil channel is never ready
		return true
	default:
		return false
	}
}
