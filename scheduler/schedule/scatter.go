package schedule

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// scatterGroups count, for each group of regions that are scattered together, where their peers and leaders went.
type scatterGroups map[string]*scatterGroup

type scatterGroup struct {
	peers, leaders map[uint64]int
	used           time.Time
}

// mostGroups bounds the groups that are remembered; the one that was used longest ago is forgotten.
const mostGroups = 256

func (g scatterGroups) of(name string, now time.Time) *scatterGroup {
	if at := g[name]; at != nil {
		at.used = now
		return at
	}
	if len(g) >= mostGroups {
		oldest := ""
		for _, n := range sortedKeys(g) {
			if oldest == "" || g[n].used.Before(g[oldest].used) {
				oldest = n
			}
		}
		delete(g, oldest)
	}
	at := &scatterGroup{peers: make(map[uint64]int), leaders: make(map[uint64]int), used: now}
	g[name] = at
	return at
}

// Scatter puts a region's peers where its group has the fewest, and its lead likewise. The error says why a region cannot be moved now; one that is where it should be is done.
func (c *Coordinator) Scatter(region uint64, group string, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	if !c.settled(r) {
		return errors.Errorf("region %d is not fully replicated, or is being changed", region)
	}
	g := c.scatter.of(group, now)
	targets := present(r)
	taken := make(map[uint64]bool)
	for i := range targets {
		targets[i].Store = c.scatterTo(r, targets[i].Store, taken, g, now)
		taken[targets[i].Store] = true
	}
	lead, fewest := uint64(0), 0
	for _, t := range targets {
		s := c.pic.Store(t.Store)
		if t.Role != metapb.PeerRole_Voter || s == nil || c.mayLead(s, now) != "" {
			continue
		}
		if n := g.leaders[t.Store]; lead == 0 || n < fewest {
			lead, fewest = t.Store, n
		}
	}
	opts := c.options()
	opts.Lead = lead
	steps, err := operator.Build(r, targets, opts)
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		op := operator.New("scatter-region", fmt.Sprintf("scatter region %d", region), operator.Scatter, operator.Medium, r, steps...)
		if err := c.ctl.Add(now, op); err != nil {
			return err
		}
	}
	for _, t := range targets {
		g.peers[t.Store]++
	}
	if lead != 0 {
		g.leaders[lead]++
	}
	return nil
}

// scatterTo is the store for a peer: where its group has the fewest, and where it is if that is as good.
func (c *Coordinator) scatterTo(r *cluster.Region, at uint64, taken map[uint64]bool, g *scatterGroup, now time.Time) uint64 {
	best, fewest := at, g.peers[at]
	from := c.pic.Store(at)
	rules := c.rules.For(r.Meta.StartKey)
	for _, s := range c.alive() {
		if taken[s.ID()] || r.OnStore(s.ID()) != nil || g.peers[s.ID()] >= fewest || c.mayTake(s, r, now) != "" || !c.asGood(r, rules, from, s) {
			continue
		}
		best, fewest = s.ID(), g.peers[s.ID()]
	}
	return best
}

// Split splits regions at keys, as they are in the picture, and says how many keys it could not take: those that no region holds, or whose region has an operator already. A key at which a region
// begins is done.
func (c *Coordinator) Split(keys [][]byte, now time.Time) (refused int, why error) {
	byRegion := make(map[uint64][][]byte)
	for _, key := range keys {
		r := c.pic.RegionOf(key)
		if r == nil {
			refused, why = refused+1, errors.Errorf("no region is known that holds the key %X", key)
			continue
		}
		if !bytes.Equal(r.Meta.StartKey, key) {
			byRegion[r.ID()] = append(byRegion[r.ID()], key)
		}
	}
	for _, id := range sortedKeys(byRegion) {
		at := byRegion[id]
		slices.SortFunc(at, bytes.Compare)
		at = slices.CompactFunc(at, bytes.Equal)
		r, err := c.led(id)
		if err == nil {
			step := operator.Split{Start: r.Meta.StartKey, End: r.Meta.EndKey, Keys: at}
			err = c.ctl.Add(now, operator.New("admin-split-region", fmt.Sprintf("split: region %d use policy USEKEY", id), operator.Admin, operator.Urgent, r, step))
		}
		if err != nil {
			refused, why = refused+len(at), err
		}
	}
	return refused, why
}
