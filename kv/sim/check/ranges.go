package check

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// A key changes hands: a split or a merge gives it to another region, and each time the region that has it is of a higher version than all that
// had it before. So two regions that share keys are never of the same version, and of two that both believe they own a key the one of the lower
// version is mistaken. It may be for a while, but it must not answer by itself then (S14).

// owns takes in a range that a region has at a version.
func (c *Checker) owns(st *store, r *metapb.Region) {
	version := r.RegionEpoch.Version
	for _, other := range c.ranges[version] {
		if other.Id == r.Id {
			return // at one version a region has one range, whoever its peers are: takeShape looks after that
		}
	}
	for _, other := range c.ranges[version] {
		if region.Overlaps(other, r) {
			c.fail("store %d: regions %d and %d own the same keys at version %d: [%q, %q) and [%q, %q)",
				st.id, r.Id, other.Id, version, r.StartKey, r.EndKey, other.StartKey, other.EndKey)
		}
	}
	c.ranges[version] = append(c.ranges[version], r)
}

// begins looks for a lease over keys that belong to a newer region which has a leader: that one may have acknowledged writes. It is asked
// when a lease or a leadership begins, or a range changes; nothing else makes two of them meet.
func (c *Checker) begins(st *store, v *machine.RegionView) {
	var worst string
	doubt := func(on *store, leased *machine.RegionView, newer *machine.RegionView, where *store) {
		what := fmt.Sprintf("store %d holds a lease of region %d at version %d over [%q, %q) while store %d leads region %d at version %d over [%q, %q) (S14)",
			on.id, leased.Region.Id, versionOf(leased), leased.Region.StartKey, leased.Region.EndKey,
			where.id, newer.Region.Id, versionOf(newer), newer.Region.StartKey, newer.Region.EndKey)
		if worst == "" || what < worst {
			worst = what
		}
	}
	leased := v.HasLease(st.clock())
	for _, other := range c.order {
		for id, q := range other.peers { // order-free: the least is told
			if id == v.Region.Id || q.view == nil || !q.view.IsLeader || q.region == nil || !region.Overlaps(q.view.Region, v.Region) {
				continue
			}
			if leased && q.view.Ready && versionOf(v) < versionOf(q.view) {
				doubt(st, v, q.view, other)
			}
			if v.Ready && versionOf(q.view) < versionOf(v) && q.view.HasLease(other.clock()) {
				doubt(other, q.view, v, st)
			}
		}
	}
	if worst != "" {
		c.fail("%s", worst)
	}
}

// goesOn says that a leader's view changes nothing that begins looks at.
func goesOn(before, v *machine.RegionView, now machine.Instant) bool {
	return before != nil && before.IsLeader && before.Term == v.Term && before.Ready == v.Ready && versionOf(before) == versionOf(v) &&
		(before.HasLease(now) || !v.HasLease(now))
}

func versionOf(v *machine.RegionView) uint64 { return v.Region.GetRegionEpoch().GetVersion() }

// Holds takes in which regions a store's state engine has, not counting tombstones: they are disjoint after every batch (S3, S4).
func (c *Checker) Holds(id uint64, regions []*metapb.Region) {
	sorted := slices.SortedFunc(slices.Values(regions), func(a, b *metapb.Region) int { return bytes.Compare(a.StartKey, b.StartKey) })
	for i := range len(sorted) - 1 {
		if a, b := sorted[i], sorted[i+1]; region.Overlaps(a, b) {
			c.fail("store %d: the engine has regions %d and %d, which overlap: [%q, %q) and [%q, %q) (S3)",
				id, a.Id, b.Id, a.StartKey, a.EndKey, b.StartKey, b.EndKey)
		}
	}
}
