package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// mergedMost bounds what comes of a merge, as a multiple of what counts as small: it must stay well below the size at which stores split (96 MiB, 960,000 keys against 20
// MiB and 200,000 keys), or regions would be merged and split for ever (P7).
const mergedMost = 4

// checkMerge merges a region that is very small with a neighbour, when neither was split lately.
func (c *Coordinator) checkMerge(r *cluster.Region, now time.Time) {
	interval := time.Duration(c.cfg.SplitMergeInterval)
	if c.cfg.MaxMergeRegionSize == 0 || c.cfg.MergeScheduleLimit == 0 || now.Sub(c.born) < interval || !c.Prepared(now) ||
		c.ctl.Room(operator.MergeRegions) < 2 || c.ctl.Has(r.ID()) || !c.small(r) || !c.mergeable(r, now) {
		return
	}
	var best *cluster.Region
	neighbours := []*cluster.Region{c.pic.RegionAfter(r)}
	if !c.cfg.EnableOneWayMerge {
		neighbours = append(neighbours, c.pic.RegionBefore(r.Meta.StartKey))
	}
	for _, n := range neighbours {
		if n != nil && c.mergeable(n, now) && c.fits(r, n) && (best == nil || n.Load.Size < best.Load.Size) {
			best = n
		}
	}
	if best == nil {
		return
	}
	if err := c.Merge(r, best, operator.MergeRegions, operator.Low, now); err != nil {
		c.reasons.note(r.ID(), "merge-checker", err.Error(), now)
	}
}

func (c *Coordinator) small(r *cluster.Region) bool {
	return r.Load.Size <= uint64(c.cfg.MaxMergeRegionSize)<<20 && r.Load.Keys <= uint64(c.cfg.MaxMergeRegionKeys)
}

// mergeable says that a region is well and has been left alone for a while.
func (c *Coordinator) mergeable(r *cluster.Region, now time.Time) bool {
	at, split := c.split[r.ID()]
	return (!split || now.Sub(at) >= time.Duration(c.cfg.SplitMergeInterval)) && c.settled(r)
}

// fits says that two neighbours may become one: the rules are the same for both, and they are far from being split again.
func (c *Coordinator) fits(a, b *cluster.Region) bool {
	if a.Load.Size+b.Load.Size > mergedMost*uint64(c.cfg.MaxMergeRegionSize)<<20 || a.Load.Keys+b.Load.Keys > mergedMost*uint64(c.cfg.MaxMergeRegionKeys) {
		return false
	}
	left, right := a, b
	if string(b.Meta.EndKey) == string(a.Meta.StartKey) && len(a.Meta.StartKey) > 0 {
		left, right = b, a
	}
	return len(c.rules.Boundaries(left.Meta.StartKey, right.Meta.EndKey)) == 0 && len(left.Meta.Peers) == len(right.Meta.Peers)
}

// Merge merges a region into its neighbour: its peers move to the neighbour's stores first.
func (c *Coordinator) Merge(from, to *cluster.Region, kind operator.Kind, priority operator.Priority, now time.Time) error {
	steps, err := operator.Build(from, present(to), c.options())
	if err != nil {
		return err
	}
	brief := fmt.Sprintf("merge: region %d to %d", from.ID(), to.ID())
	steps = append(slices.Clip(steps), operator.Merge{From: from.Meta, To: to.Meta})
	a := operator.New("merge-region", brief, kind, priority, from, steps...)
	b := operator.New("merge-region", brief, kind, priority, to, operator.Merge{From: from.Meta, To: to.Meta, Passive: true})
	operator.Pair(a, b)
	return c.ctl.Add(now, a, b)
}
