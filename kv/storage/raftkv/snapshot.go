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
	if flow := s.storage.flow; flow.Chosen() {
		flow.Read(s.region.Id, 1, uint64(len(key)+len(value)))
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
	if s.storage.flow.Chosen() {
		it = &counted{Iterator: it, snap: s}
	}
	return iterator{it, s}, nil
}

// counted is an iterator that tells, when it is closed, how much was read with it.
type counted struct {
	engine.Iterator
	snap        *snapshot
	keys, bytes uint64
}

func (c *counted) SeekGE(key []byte) bool { return c.see(c.Iterator.SeekGE(key)) }
func (c *counted) SeekLT(key []byte) bool { return c.see(c.Iterator.SeekLT(key)) }
func (c *counted) Next() bool             { return c.see(c.Iterator.Next()) }
func (c *counted) Prev() bool             { return c.see(c.Iterator.Prev()) }

func (c *counted) see(ok bool) bool {
	if ok {
		c.keys++
		c.bytes += uint64(len(c.Key()) + len(c.Value()))
	}
	return ok
}

// Close tells what was read, too.
func (c *counted) Close() error {
	c.snap.storage.flow.Read(c.snap.region.Id, c.keys, c.bytes)
	return c.Iterator.Close()
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
