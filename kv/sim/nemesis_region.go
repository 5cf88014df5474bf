package sim

import (
	"bytes"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// Regions divide at any keys and grow together again, whatever their size says. Key says which region is meant. What is asked may be refused, or come to
// nothing.

func regionNemeses() []nemesis {
	return []nemesis{
		{name: "split", every: 4 * time.Second, draw: drawSplit, do: doSplit, aimed: true},
		{name: "merge", every: 3 * time.Second, draw: drawMerge, do: doMerge, aimed: true},
	}
}

// drawSplit: at one key of those that are in use, or at several; Amount in [0, 1) says at which.
func drawSplit(d *draft) Step {
	s := Step{How: "one", Amount: d.rng.Float64()}
	if d.rng.IntN(4) == 0 {
		s.How = "batch"
	}
	return s
}

func doSplit(c *Cluster, s Step) (func(), bool) {
	v, at := c.leadership([]byte(s.Key))
	if v == nil || !at.runs() {
		return nil, false
	}
	keys := c.keys.between(v.Region.StartKey, v.Region.EndKey)
	slices.SortFunc(keys, bytes.Compare)
	if len(keys) > 0 && bytes.Equal(keys[0], v.Region.StartKey) {
		keys = keys[1:]
	}
	if len(keys) == 0 {
		return nil, false
	}
	from := int(s.Amount * float64(len(keys)))
	chosen := keys[from : from+1]
	if s.How == "batch" {
		for i := from + 3; i < len(keys) && len(chosen) < 4; i += 3 {
			chosen = append(slices.Clip(chosen), keys[i])
		}
	}
	at.order(v.Region, &pdpb.RegionHeartbeatResponse{SplitRegion: &pdpb.SplitRegion{Policy: pdpb.CheckPolicy_USEKEY, Keys: chosen}})
	return nil, true
}

// drawMerge: the region and its neighbour to the right, or to the left. They must be on the same stores: where they are not, the
// region's peers are moved first, which may take some of For.
func drawMerge(d *draft) Step {
	return Step{How: pick(d.rng, "right", "left"), Amount: d.rng.Float64(), For: d.between(time.Second, 10*time.Second)}
}

func doMerge(c *Cluster, s Step) (func(), bool) {
	m := &merging{c: c, step: s}
	if !m.court() {
		return nil, false
	}
	return func() { m.over = true }, true
}

// merging brings two neighbours together.
type merging struct {
	c    *Cluster
	step Step
	over bool
}

const courtEvery = 300 * time.Millisecond

// court takes the next step: it moves a peer of the source, or asks for the merge, and comes back later. It answers false when there is nobody to ask.
func (m *merging) court() bool {
	c := m.c
	if m.over || c.w.Halted() {
		return false
	}
	source, at := c.leadership([]byte(m.step.Key))
	if source == nil || !at.runs() {
		return false
	}
	target := c.neighbour(source.Region, m.step.How == "right")
	if target == nil {
		return false
	}
	if region.IsJoint(source.Region) || region.IsJoint(target.Region) {
		// it will be over soon
	} else if stray, missing := strays(source.Region, target.Region); stray != nil && missing != 0 {
		if c.storeWith(missing) != nil && c.bears(source.Region, stray) {
			c.movePeer(source, at, stray, missing)
		}
	} else {
		at.order(source.Region, &pdpb.RegionHeartbeatResponse{Merge: &pdpb.Merge{Target: target.Region}})
	}
	c.w.After(courtEvery, func() { m.court() })
	return true
}

// neighbour is the region that begins where r ends, or ends where it begins, as its leader shows it; nil when nobody leads it, or there is none.
func (c *Cluster) neighbour(r *metapb.Region, right bool) *machine.RegionView {
	if right {
		if len(r.EndKey) == 0 {
			return nil
		}
		v, _ := c.leadership(r.EndKey)
		return v
	}
	if len(r.StartKey) == 0 {
		return nil
	}
	before := slices.Clone(r.StartKey)
	if last := len(before) - 1; before[last] > 0 {
		before[last]--
		before = append(before, 0xff)
	} else {
		before = before[:last]
	}
	v, _ := c.leadership(before)
	if v == nil || !bytes.Equal(v.Region.EndKey, r.StartKey) {
		return nil
	}
	return v
}

// strays finds a peer of r that is on none of other's stores, and one of those that r is not on; nil, or 0, when there is none.
func strays(r, other *metapb.Region) (stray *metapb.Peer, missing uint64) {
	for _, p := range r.Peers {
		if region.FindPeerOn(other, p.StoreId) == nil {
			stray = p
		}
	}
	for _, p := range other.Peers {
		if region.FindPeerOn(r, p.StoreId) == nil {
			missing = p.StoreId
		}
	}
	return stray, missing
}
