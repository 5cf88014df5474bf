package raftstore

import (
	"bytes"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// measure finds out how large a region is and, when it is too large, where to split it. What the engine estimates is enough as long as it is far from the
// limit. Else all is read, but not more than one split can divide: what is behind that is left to the last part, which is measured next.
func (d *Disk) measure(t machine.MeasureRegion) (machine.Mail, error) {
	found := machine.Measured{RegionID: t.RegionID, PeerID: t.PeerID, Version: t.Region.RegionEpoch.GetVersion(), Half: t.Half}
	estimate, err := d.estimate(t.Region)
	if err != nil {
		return nil, err
	}
	snap := d.State.NewSnapshot()
	defer func() { _ = snap.Close() }()
	scan, err := newRegionScan(snap, t.Region)
	if err != nil {
		return nil, err
	}
	switch l := &t.Limits; {
	case t.Half:
		found.Size, found.Count, found.Keys = scan.middle(t.Region)
	case t.Exact || estimate >= l.MaxSize/4:
		found.Size, found.Count, found.Keys = scan.parts(t.Region, l)
	default:
		found.Size = estimate
		found.Count = scan.estimateKeys(estimate)
	}
	return found, scan.close()
}

// estimate is what the engine thinks a region holds, in bytes.
func (d *Disk) estimate(r *metapb.Region) (size uint64, err error) {
	for _, cf := range engine.DataCFs {
		n, err := d.State.ApproximateSize(cf, r.StartKey, rangeEnd(r))
		if err != nil {
			return 0, err
		}
		size += n
	}
	return size, nil
}

// regionScan walks over all families of a region together, in the order of keys.
type regionScan struct {
	its   []engine.Iterator
	valid []bool
	at    int // the iterator that is at the least key, -1 at the end
}

func newRegionScan(snap engine.Snapshot, r *metapb.Region) (*regionScan, error) {
	s := &regionScan{at: -1}
	for _, cf := range engine.DataCFs {
		it, err := snap.NewIterator(cf, engine.IterOptions{Lower: r.StartKey, Upper: rangeEnd(r)})
		if err != nil {
			_ = s.close() // the first error counts
			return nil, err
		}
		s.its = append(s.its, it)
		s.valid = append(s.valid, it.SeekGE(nil))
	}
	s.choose()
	return s, nil
}

// choose finds the iterator with the least key.
func (s *regionScan) choose() {
	s.at = -1
	for i, ok := range s.valid {
		if ok && (s.at < 0 || bytes.Compare(s.its[i].Key(), s.its[s.at].Key()) < 0) {
			s.at = i
		}
	}
}

func (s *regionScan) next() {
	s.valid[s.at] = s.its[s.at].Next()
	s.choose()
}

func (s *regionScan) more() bool  { return s.at >= 0 }
func (s *regionScan) key() []byte { return s.its[s.at].Key() }

func (s *regionScan) size() uint64 {
	it := s.its[s.at]
	return uint64(len(it.Key()) + len(it.Value()))
}

func (s *regionScan) close() (err error) {
	for _, it := range s.its {
		if e := it.Close(); err == nil {
			err = e
		}
	}
	return err
}

// parts cuts the region into parts of the size that a split shall make, and answers no keys when it is not too large. A last part that would be small
// stays with the one before it.
func (s *regionScan) parts(r *metapb.Region, l *machine.SplitLimits) (size, count uint64, at [][]byte) {
	var part, partKeys uint64
	start := r.StartKey
	for ; s.more(); s.next() {
		if part >= l.SplitSize || partKeys >= l.SplitKeys {
			if len(at) == l.Batch {
				break // more than one split can do: the last part is measured again
			}
			if k := keys.SplitKey(s.key()); bytes.Compare(k, start) > 0 {
				start = bytes.Clone(k)
				at = append(at, start)
				part, partKeys = 0, 0
			}
		}
		n := s.size()
		size, part = size+n, part+n
		count, partKeys = count+1, partKeys+1
	}
	if size < l.MaxSize && count < l.MaxKeys {
		return size, count, nil
	}
	if n := len(at); n > 1 && !s.more() && part < l.MaxSize-l.SplitSize && partKeys < max(1, l.MaxKeys-l.SplitKeys) {
		at = at[:n-1]
	}
	return size, count, at
}

// middle is a key with about half of the region in front of it, found in one pass: of evenly spread candidates every second is dropped when there are too
// many.
func (s *regionScan) middle(r *metapb.Region) (size, count uint64, at [][]byte) {
	type candidate struct {
		key    []byte
		before uint64
	}
	const enough = 1024
	var seen []candidate
	var last []byte
	stride := uint64(1)
	for ; s.more(); s.next() {
		k := keys.SplitKey(s.key())
		if count%stride == 0 && bytes.Compare(k, r.StartKey) > 0 && !bytes.Equal(k, last) {
			last = bytes.Clone(k)
			seen = append(seen, candidate{last, size})
		}
		if len(seen) == enough {
			for i := range enough / 2 {
				seen[i] = seen[2*i]
			}
			seen, stride = seen[:enough/2], 2*stride
		}
		size += s.size()
		count++
	}
	for i, c := range seen {
		if best := distance(c.before, size/2); i == 0 || best <= distance(seen[0].before, size/2) {
			seen[0] = c
		}
	}
	if len(seen) == 0 || seen[0].before == 0 {
		return size, count, nil
	}
	return size, count, [][]byte{seen[0].key}
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// estimateKeys says how many keys make up that many bytes, if the first ones are like the rest.
func (s *regionScan) estimateKeys(size uint64) uint64 {
	const sample = 1024
	var seen, bytes uint64
	for ; s.more() && seen < sample; s.next() {
		seen, bytes = seen+1, bytes+s.size()
	}
	if !s.more() {
		return seen
	}
	return max(seen, uint64(float64(size)/float64(bytes)*float64(seen)))
}
