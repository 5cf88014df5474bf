package cluster

import "bytes"

// Region is nil if the id is unknown.
func (p *Picture) Region(id uint64) *Region {
	if e := p.regions.byID[id]; e != nil {
		return e.region
	}
	return nil
}

// RegionCount is the number of known regions.
func (p *Picture) RegionCount() int { return len(p.regions.byID) }

// Heard is how many regions have reported in this term; the others are known from the durable map only.
func (p *Picture) Heard() int { return p.heard }

// RegionOf is the region that holds key; nil if the key lies in a hole, which happens while the halves of a split report
// one after the other (PITFALLS P4).
func (p *Picture) RegionOf(key []byte) *Region { return p.regions.containing(key) }

// RegionBefore is the region just before the one that holds key; nil if that is the first, or if either is not known.
func (p *Picture) RegionBefore(key []byte) *Region {
	at := p.regions.containing(key)
	if at == nil {
		return nil
	}
	return p.regions.endingAt(at.Meta.StartKey)
}

// RegionAfter is the region that begins where r ends; nil if r is the last, or its neighbour is not known.
func (p *Picture) RegionAfter(r *Region) *Region {
	if len(r.Meta.EndKey) == 0 {
		return nil
	}
	next := p.regions.containing(r.Meta.EndKey)
	if next == nil || string(next.Meta.StartKey) != string(r.Meta.EndKey) {
		return nil
	}
	return next
}

// Scan lists in key order at most limit regions (all, if limit is not positive) that overlap [start, end); an empty end
// is the end of the key space.
func (p *Picture) Scan(start, end []byte, limit int) []*Region {
	var list []*Region
	p.regions.ascend(start, end, func(r *Region) bool {
		list = append(list, r)
		return limit <= 0 || len(list) < limit
	})
	return list
}

// Range is a range of keys; an empty End is the end of the key space.
type Range struct{ Start, End []byte }

// ScanRanges lists the regions that overlap any of the ranges, which must be in order, each region once and at most limit
// in all (no limit if it is not positive). whole says that, as far as the limit let it go, no key of the ranges lies in a
// hole.
func (p *Picture) ScanRanges(ranges []Range, limit int) (list []*Region, whole bool) {
	whole = true
	for _, rg := range ranges {
		left := 0
		if limit > 0 {
			if left = limit - len(list); left == 0 {
				return list, whole
			}
			left++ // the first may be the last of the range before
		}
		found := p.Scan(rg.Start, rg.End, left)
		whole = whole && covers(found, rg, left > 0 && len(found) == left)
		if len(list) > 0 && len(found) > 0 && list[len(list)-1] == found[0] {
			found = found[1:]
		}
		if limit > 0 && len(list)+len(found) > limit {
			found = found[:limit-len(list)]
		}
		list = append(list, found...)
	}
	return list, whole
}

// covers reports whether regions leave no hole in rg; cut says that there may be more of them.
func covers(regions []*Region, rg Range, cut bool) bool {
	at := rg.Start
	for i, r := range regions {
		if bytes.Compare(r.Meta.StartKey, at) > 0 {
			return false
		}
		at = r.Meta.EndKey
		if len(at) == 0 {
			return i == len(regions)-1
		}
	}
	return cut || (len(rg.End) > 0 && bytes.Compare(at, rg.End) >= 0)
}
