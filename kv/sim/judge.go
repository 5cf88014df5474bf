package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// patience is how long a healed cluster has to come right, in virtual time.
const patience = 60 * time.Second

// judge lets time pass until the cluster is whole and every region has answered a write, and returns how long that took. That it takes longer than patience is
// a violation.
func (c *Cluster) judge() time.Duration {
	begin := c.w.Now()
	j := &judgement{c: c, targets: make(map[uint64]uint64), answered: make(map[uint64]bool)}
	for !c.w.Halted() {
		lack := j.look()
		if lack == "" {
			break
		}
		if c.w.Now() >= begin+world.Time(patience) {
			c.violate("%s after everything works again, %s", patience, lack)
			break
		}
		c.w.RunUntil(c.w.Now() + world.Time(100*time.Millisecond))
	}
	return time.Duration(c.w.Now() - begin)
}

// judgement is what was seen of a cluster that should come right.
type judgement struct {
	c *Cluster
	// targets are where each leader stood when it was first seen: its followers have to get there.
	targets  map[uint64]uint64
	answered map[uint64]bool
}

// look says what is missing, or nothing.
func (j *judgement) look() string {
	views := j.c.views()
	if len(views) == 0 {
		return "there is no region"
	}
	for _, id := range slices.Sorted(maps.Keys(views)) {
		if lack := j.lookAt(id, views[id]); lack != "" {
			return lack
		}
	}
	return j.c.sched.settled()
}

func (j *judgement) lookAt(id uint64, views map[uint64]*machine.RegionView) string {
	lead, at := leading(views)
	if lead == nil || !lead.Ready {
		return fmt.Sprintf("region %d has no leader that could serve", id)
	}
	if want := min(j.c.cfg.Replicas, j.c.cfg.Stores); len(lead.Region.Peers) != want {
		return fmt.Sprintf("region %d has %d peers instead of %d", id, len(lead.Region.Peers), want)
	}
	if j.targets[id] == 0 {
		j.targets[id] = lead.Log.Applied
	}
	for _, q := range lead.Region.Peers {
		v := views[q.StoreId]
		if v == nil || v.PeerID != q.Id || !v.Initialized || v.Log.Applied < j.targets[id] || !region.SameEpoch(v.Region.RegionEpoch, lead.Region.RegionEpoch) {
			return fmt.Sprintf("peer %d of region %d, on store %d, is not where its leader was (%d)", q.Id, id, q.StoreId, j.targets[id])
		}
	}
	for _, storeID := range slices.Sorted(maps.Keys(views)) {
		if v := views[storeID]; region.FindPeer(lead.Region, v.PeerID) == nil {
			return fmt.Sprintf("store %d keeps peer %d of region %d, which is not a member any more", storeID, v.PeerID, id)
		}
	}
	if !j.answered[id] {
		j.ask(id, lead, j.c.stores[at-1])
		return fmt.Sprintf("region %d does not answer", id)
	}
	return ""
}

// ask writes a key that no client uses.
func (j *judgement) ask(id uint64, v *machine.RegionView, s *store) {
	req := &kvrpcpb.RawPutRequest{
		Context: &kvrpcpb.Context{RegionId: id, RegionEpoch: v.Region.RegionEpoch, Peer: region.FindPeer(v.Region, v.PeerID)},
		Key:     append(slices.Clone(v.Region.StartKey), "\x00judge"...), Value: []byte("answered"),
	}
	s.front.handle(req, func(resp any) {
		if r, ok := resp.(*kvrpcpb.RawPutResponse); ok && r.RegionError == nil && r.Error == "" {
			j.answered[id] = true
		}
	})
}

// views are what the stores that run publish, by region and store.
func (c *Cluster) views() map[uint64]map[uint64]*machine.RegionView {
	all := make(map[uint64]map[uint64]*machine.RegionView)
	for _, s := range c.stores {
		if !s.p.Up() {
			continue
		}
		s.st.Views(func(id uint64, v *machine.RegionView) bool {
			if all[id] == nil {
				all[id] = make(map[uint64]*machine.RegionView)
			}
			all[id][s.id] = v
			return true
		})
	}
	return all
}

// leading is the leader of the newest term.
func leading(views map[uint64]*machine.RegionView) (best *machine.RegionView, store uint64) {
	for id, v := range views { // order-free: one leader a term
		if v.IsLeader && (best == nil || v.Term > best.Term) {
			best, store = v, id
		}
	}
	return best, store
}

// leadership is who leads the region that holds a key, and where; nil when nobody does, as far as the stores that run know.
func (c *Cluster) leadership(key []byte) (*machine.RegionView, *store) {
	all := c.views()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if v, at := leading(all[id]); v != nil && region.Contains(v.Region, key) {
			return v, c.stores[at-1]
		}
	}
	return nil, nil
}
