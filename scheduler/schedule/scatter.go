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
	// placed is where each region was put, and counted: when it is scattered again it does not stand in its own way, so that asking again moves nothing that is spread.
	placed map[uint64]spot
	used   time.Time
}

// spot is the stores of a region's peers, and of its leader, or 0.
type spot struct {
	peers []uint64
	lead  uint64
}

// What is remembered is bounded: of more groups, or regions in all of them, the group that was used longest ago is forgotten.
const (
	mostGroups    = 256
	mostScattered = 1 << 20
)

func (g scatterGroups) of(name string, now time.Time) *scatterGroup {
	at := g[name]
	if at == nil {
		at = &scatterGroup{peers: make(map[uint64]int), leaders: make(map[uint64]int), placed: make(map[uint64]spot)}
		g[name] = at
	}
	at.used = now
	for len(g) > 1 && (len(g) > mostGroups || g.regions() > mostScattered) {
		oldest := ""
		for _, n := range sortedKeys(g) {
			if n != name && (oldest == "" || g[n].used.Before(g[oldest].used)) {
				oldest = n
			}
		}
		delete(g, oldest)
	}
	return at
}

func (g scatterGroups) regions() int {
	n := 0
	for _, at := range g { // order-free: a sum
		n += len(at.placed)
	}
	return n
}

// count takes note of where a region is put, by = 1, or takes that back, by = -1.
func (g *scatterGroup) count(at spot, by int) {
	for _, s := range at.peers {
		g.peers[s] += by
	}
	if at.lead != 0 {
		g.leaders[at.lead] += by
	}
}

// Scatter puts a region's peers where its group has the fewest, and its lead likewise. The error says why a region cannot be moved now; one that is where it should be, or
// on its way there, is done.
func (c *Coordinator) Scatter(region uint64, group string, now time.Time) error {
	r, err := c.led(region)
	if err != nil {
		return err
	}
	g := c.scatter.of(group, now)
	before, again := g.placed[region]
	if op, ok := c.ctl.Of(region); ok && again && op.Desc == scatterRegion {
		return nil
	}
	if !c.settled(r) {
		return errors.Errorf("region %d is not fully replicated, or is being changed", region)
	}
	g.count(before, -1)
	at, err := c.scatterTo(r, g, now)
	if err != nil {
		g.count(before, 1)
		return err
	}
	g.count(at, 1)
	g.placed[region] = at
	return nil
}

const scatterRegion = "scatter-region"

// scatterTo starts what brings a region to where its group has the fewest, and says where that is.
func (c *Coordinator) scatterTo(r *cluster.Region, g *scatterGroup, now time.Time) (at spot, err error) {
	targets := present(r)
	taken := make(map[uint64]bool)
	for i := range targets {
		targets[i].Store = c.scatterPeer(r, targets[i].Store, taken, g, now)
		taken[targets[i].Store] = true
		at.peers = append(at.peers, targets[i].Store)
	}
	fewest := 0
	for _, t := range targets {
		s := c.pic.Store(t.Store)
		if t.Role != metapb.PeerRole_Voter || s == nil || !c.choices.target(scatterRegion, c.mayLead(s, now), s.ID()) {
			continue
		}
		if n := g.leaders[t.Store]; at.lead == 0 || n < fewest {
			at.lead, fewest = t.Store, n
		}
	}
	opts := c.options()
	opts.Lead = at.lead
	steps, err := operator.Build(r, targets, opts)
	if err != nil || len(steps) == 0 {
		return at, err
	}
	return at, c.ctl.Add(now, operator.New(scatterRegion, fmt.Sprintf("scatter region %d", r.ID()), operator.Scatter, operator.Medium, r, steps...))
}

// scatterPeer is the store for a peer: where its group has the fewest, and where it is if that is as good.
func (c *Coordinator) scatterPeer(r *cluster.Region, at uint64, taken map[uint64]bool, g *scatterGroup, now time.Time) uint64 {
	best, fewest := at, g.peers[at]
	from := c.pic.Store(at)
	rules := c.rules.For(r.Meta.StartKey)
	for _, s := range c.alive() {
		if taken[s.ID()] || r.OnStore(s.ID()) != nil || g.peers[s.ID()] >= fewest || !c.choices.target(scatterRegion, c.mayTake(s, r, now), s.ID()) || !c.asGood(r, rules, from, s) {
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
