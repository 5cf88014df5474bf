package raftkv

import (
	"errors"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/storage/loadsplit"
	"github.com/shoal-kv/shoal/proto/region"
)

// snapshot is the engine's, with two eyes on what is read: it may be sampled, and it may turn out to be damaged.
type snapshot struct {
	engine.Snapshot
	storage *Storage
	region  *metapb.Region
	peerID  uint64
	term    uint64
}

// Get reads one key, and may sample that.
func (s *snapshot) Get(cf engine.CF, key []byte) ([]byte, error) {
	value, err := s.Snapshot.Get(cf, key)
	if load := s.storage.load; load.Chosen() {
		load.Add(s.region, loadsplit.Sample{Start: key}, len(key)+len(value))
	}
	return value, s.judge(err)
}

// NewIterator reads a range, and may sample that; how many bytes it will be nobody knows yet.
func (s *snapshot) NewIterator(cf engine.CF, opts engine.IterOptions) (engine.Iterator, error) {
	if load := s.storage.load; load.Chosen() {
		r := loadsplit.Sample{Start: opts.Lower, End: opts.Upper}
		if len(r.End) == 0 {
			r.End = s.region.EndKey
		}
		load.Add(s.region, r, 0)
	}
	it, err := s.Snapshot.NewIterator(cf, opts)
	if err != nil {
		return nil, s.judge(err)
	}
	return iterator{it, s}, nil
}

// iterator is the engine's, whose end is judged.
type iterator struct {
	engine.Iterator
	snap *snapshot
}

// Close releases the iterator; what ended it early may have been damage.
func (i iterator) Close() error { return i.snap.judge(i.Iterator.Close()) }

// judge makes of damage a region error, which sends the client to another replica, and tells the region's owner.
func (s *snapshot) judge(err error) error {
	if !engine.IsCorruption(err) {
		return err
	}
	if !errors.Is(err, engine.ErrHealed) {
		s.storage.router.Damaged(s.region.Id, s.peerID, err)
	}
	refused := &region.DamagedError{RegionID: s.region.Id}
	if v := s.storage.router.View(s.region.Id); v != nil && v.Leader.GetId() != s.peerID {
		refused.Leader = v.Leader
	}
	return refused
}

func (s *snapshot) Region() *metapb.Region { return s.region }
func (s *snapshot) Term() uint64           { return s.term }
