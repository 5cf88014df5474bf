package cluster

import (
	"bytes"

	"github.com/google/btree"
	"github.com/pingcap/kvproto/pkg/metapb"
)

const treeDegree = 64

// regionTree indexes disjoint regions by id and by start key. An empty end key is the end of the key space.
type regionTree struct {
	byID  map[uint64]*entry
	byKey *btree.BTreeG[treeItem]
}

type treeItem struct {
	start []byte
	entry *entry
}

func newRegionTree() regionTree {
	return regionTree{
		byID: make(map[uint64]*entry),
		byKey: btree.NewG(treeDegree, func(a, b treeItem) bool {
			return bytes.Compare(a.start, b.start) < 0
		}),
	}
}

// put replaces the region of the same id. Regions of other ids that overlap must have been removed.
func (t *regionTree) put(r *Region) *entry {
	e := t.byID[r.ID()]
	if e == nil {
		e = &entry{region: r}
		t.byID[r.ID()] = e
	} else {
		old := e.region.Meta
		e.region = r
		switch {
		case old == r.Meta:
			return e
		case !bytes.Equal(old.StartKey, r.Meta.StartKey):
			t.byKey.Delete(treeItem{start: old.StartKey})
		}
	}
	t.byKey.ReplaceOrInsert(treeItem{start: r.Meta.StartKey, entry: e})
	return e
}

func (t *regionTree) remove(r *Region) {
	delete(t.byID, r.ID())
	t.byKey.Delete(treeItem{start: r.Meta.StartKey})
}

// containing is the region that holds key, or nil in a hole.
func (t *regionTree) containing(key []byte) *Region {
	var found *Region
	t.byKey.DescendLessOrEqual(treeItem{start: key}, func(it treeItem) bool {
		if contains(it.entry.region.Meta, key) {
			found = it.entry.region
		}
		return false
	})
	return found
}

// ascend visits, in key order, the regions that overlap [start, end) until visit returns false.
func (t *regionTree) ascend(start, end []byte, visit func(*Region) bool) {
	from := start
	if first := t.containing(start); first != nil {
		from = first.Meta.StartKey
	}
	t.byKey.AscendGreaterOrEqual(treeItem{start: from}, func(it treeItem) bool {
		if len(end) > 0 && bytes.Compare(it.start, end) >= 0 {
			return false
		}
		return visit(it.entry.region)
	})
}

func (t *regionTree) overlapping(start, end []byte) []*Region {
	var list []*Region
	t.ascend(start, end, func(r *Region) bool {
		list = append(list, r)
		return true
	})
	return list
}

// endingAt is the region whose end key is the given start key, or nil if there is a hole before it.
func (t *regionTree) endingAt(start []byte) *Region {
	if len(start) == 0 {
		return nil
	}
	var found *Region
	t.byKey.DescendLessOrEqual(treeItem{start: start}, func(it treeItem) bool {
		if bytes.Equal(it.start, start) {
			return true
		}
		if bytes.Equal(it.entry.region.Meta.EndKey, start) {
			found = it.entry.region
		}
		return false
	})
	return found
}

func contains(m *metapb.Region, key []byte) bool {
	return bytes.Compare(m.StartKey, key) <= 0 && (len(m.EndKey) == 0 || bytes.Compare(key, m.EndKey) < 0)
}

func sameRange(a, b *metapb.Region) bool {
	return bytes.Equal(a.StartKey, b.StartKey) && bytes.Equal(a.EndKey, b.EndKey)
}
