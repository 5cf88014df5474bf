package machine

import (
	"bytes"

	"github.com/petar/GoLLRB/llrb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// regionIndex finds a store's regions by key: an ordered tree of disjoint ranges, by start key.
type regionIndex struct {
	tree *llrb.LLRB
	byID map[uint64]*metapb.Region
	// changes counts what was put and removed.
	changes uint64
}

type rangeItem struct{ *metapb.Region }

func (a rangeItem) Less(b llrb.Item) bool {
	return bytes.Compare(a.StartKey, b.(rangeItem).StartKey) < 0
}

func newRegionIndex() *regionIndex {
	return &regionIndex{tree: llrb.New(), byID: make(map[uint64]*metapb.Region)}
}

// put gives a region its (new) range. Tree and map change together (S4).
func (x *regionIndex) put(r *metapb.Region) {
	if old := x.byID[r.Id]; old != nil && region.IsEpochStale(r.RegionEpoch, old.RegionEpoch) {
		return // the news was overtaken: not all of it comes from the same machine
	}
	x.remove(r.Id)
	x.tree.ReplaceOrInsert(rangeItem{r})
	x.byID[r.Id] = r
	x.changes++
}

func (x *regionIndex) remove(id uint64) {
	if old := x.byID[id]; old != nil {
		if at, ok := x.tree.Get(rangeItem{old}).(rangeItem); ok && at.Id == id {
			x.tree.Delete(rangeItem{old})
		}
		delete(x.byID, id)
		x.changes++
	}
}

// overlapping returns a region other than r itself that shares a key with r, or nil.
func (x *regionIndex) overlapping(r *metapb.Region) (found *metapb.Region) {
	x.eachOverlapping(r, func(o *metapb.Region) bool {
		found = o
		return false
	})
	return found
}

// eachOverlapping calls visit with the regions other than r itself that share a key with r, until it answers false.
func (x *regionIndex) eachOverlapping(r *metapb.Region, visit func(*metapb.Region) bool) {
	more := true
	look := func(i llrb.Item) bool {
		o := i.(rangeItem).Region
		if o.Id != r.Id && region.Overlaps(o, r) {
			more = visit(o)
		}
		return more && (len(r.EndKey) == 0 || bytes.Compare(o.StartKey, r.EndKey) < 0)
	}
	// The one before may reach into r; all others begin in it.
	x.tree.DescendLessOrEqual(rangeItem{r}, func(i llrb.Item) bool {
		o := i.(rangeItem).Region
		if o.Id == r.Id || bytes.Equal(o.StartKey, r.StartKey) {
			return true
		}
		look(i)
		return false
	})
	if more {
		x.tree.AscendGreaterOrEqual(rangeItem{r}, look)
	}
}
