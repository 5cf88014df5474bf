package paper

import (
	"bytes"
	"slices"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// obey does what a leader is told, if the region is still what the scheduler takes it for.
func (c *Cluster) obey(command *operator.Command) {
	if c.cfg.LoseCommand != nil && c.cfg.LoseCommand(command) {
		return
	}
	c.at(roundTrip, func() {
		r := c.regions[command.Region]
		if r == nil || r.Leader != command.Leader.Id || !sameEpoch(r.Meta, command.Epoch) {
			return
		}
		if name, done := c.carryOut(r, command.Order); done {
			c.Orders[name]++
			c.reportIfThere(r)
		}
	})
}

func (c *Cluster) carryOut(r *Region, order operator.Order) (string, bool) {
	switch o := order.(type) {
	case operator.ChangePeer:
		return c.change(r, []operator.ChangePeer{o})
	case operator.ChangePeers:
		if len(o.Changes) == 0 {
			return "", false // they leave joint configurations by themselves
		}
		name, ok := c.change(r, o.Changes)
		if ok && len(o.Changes) > 1 {
			name = "joint"
		}
		return name, ok
	case operator.LeadBy:
		if p := peerOf(r.Meta, o.To.Id); p != nil && p.Role == metapb.PeerRole_Voter && c.stores[p.StoreId].Alive && p.Id != r.Leader {
			r.Leader = p.Id
			r.Term++
			return "transfer", true
		}
	case operator.SplitRegion:
		return "split", c.split(r, o.Keys)
	case operator.MergeRegion:
		return "merge", c.merge(r, o.Target)
	}
	return "", false
}

// change makes the changes that fit: all of them or none.
func (c *Cluster) change(r *Region, changes []operator.ChangePeer) (name string, ok bool) {
	next := cloned(r.Meta)
	for _, change := range changes {
		p := peerOf(next, change.Peer.GetId())
		switch change.Type {
		case eraftpb.ConfChangeType_RemoveNode:
			if p == nil || p.Id == r.Leader {
				return "", false
			}
			next.Peers = slices.DeleteFunc(next.Peers, func(q *metapb.Peer) bool { return q == p })
			name = "remove"
		default:
			role := metapb.PeerRole_Voter
			if change.Type == eraftpb.ConfChangeType_AddLearnerNode {
				role = metapb.PeerRole_Learner
			}
			switch {
			case p != nil && p.Role == role, p == nil && peerOn(next, change.Peer.StoreId) != nil, p != nil && p.Id == r.Leader && role == metapb.PeerRole_Learner:
				return "", false
			case p != nil:
				*p = metapb.Peer{Id: p.Id, StoreId: p.StoreId, Role: role}
				name = "role"
			default:
				p = &metapb.Peer{Id: change.Peer.Id, StoreId: change.Peer.StoreId, Role: role}
				next.Peers = append(next.Peers, p)
				c.send(r, p)
				name = "add"
			}
		}
		next.RegionEpoch.ConfVer++
	}
	r.Meta = next
	return name, true
}

// send brings a new peer its data.
func (c *Cluster) send(r *Region, p *metapb.Peer) {
	s := c.stores[p.StoreId]
	if s.free.Before(c.now) {
		s.free = c.now
	}
	s.free = s.free.Add(roundTrip + time.Duration(float64(r.Load.Size)/c.cfg.Bandwidth*float64(time.Second)))
	r.pending = append(slices.Clip(r.pending), p)
	c.at(s.free.Sub(c.now), func() {
		if s.Alive {
			r.pending = slices.DeleteFunc(slices.Clone(r.pending), func(q *metapb.Peer) bool { return q.Id == p.Id })
			c.reportIfThere(r)
		}
	})
}

// split makes a region of each part before the last, which keeps the id.
func (c *Cluster) split(r *Region, keys [][]byte) bool {
	if len(keys) == 0 || r.merging {
		return false
	}
	ids, save, err := c.Term.Split(r.Meta, len(keys), c.moment())
	for save != nil {
		c.save(save, nil)
		ids, save, err = c.Term.Split(r.Meta, len(keys), c.moment())
	}
	if err != nil {
		return false
	}
	start, version := r.Meta.StartKey, r.Meta.RegionEpoch.Version+uint64(len(keys))
	load := r.Load
	load.Size /= uint64(len(keys) + 1)
	load.Keys /= uint64(len(keys) + 1)
	for i, key := range keys {
		if bytes.Compare(start, key) >= 0 {
			return false
		}
		m := cloned(r.Meta)
		m.Id, m.StartKey, m.EndKey, m.RegionEpoch.Version = ids[i].Region, start, key, version
		child := &Region{Meta: m, Term: 6, Load: load}
		for j, p := range m.Peers {
			if p.Id == r.Leader {
				child.Leader = ids[i].Peers[j]
			}
			p.Id = ids[i].Peers[j]
		}
		c.regions[m.Id] = child
		c.at(roundTrip, func() { c.beat(m.Id, true) })
		start = key
	}
	r.Meta = cloned(r.Meta)
	r.Meta.StartKey, r.Meta.RegionEpoch.Version, r.Load = start, version, load
	return true
}

// merge ends a region whose neighbour is as the scheduler takes it for.
func (c *Cluster) merge(r *Region, target *metapb.Region) bool {
	into := c.regions[target.Id]
	if r.merging || into == nil || !sameEpoch(into.Meta, target.RegionEpoch) || into.merging || len(r.Meta.Peers) != len(into.Meta.Peers) {
		return false
	}
	for _, p := range r.Meta.Peers {
		if peerOn(into.Meta, p.StoreId) == nil {
			return false
		}
	}
	m := cloned(into.Meta)
	switch {
	case bytes.Equal(r.Meta.EndKey, m.StartKey) && len(m.StartKey) > 0:
		m.StartKey = r.Meta.StartKey
	case bytes.Equal(m.EndKey, r.Meta.StartKey):
		m.EndKey = r.Meta.EndKey
	default:
		return false
	}
	r.merging = true
	m.RegionEpoch.Version = max(m.RegionEpoch.Version, r.Meta.RegionEpoch.Version) + 1
	into.Meta = m
	into.Load.Size += r.Load.Size
	into.Load.Keys += r.Load.Keys
	delete(c.regions, r.Meta.Id)
	c.at(roundTrip, func() { c.reportIfThere(into) })
	return true
}

func cloned(m *metapb.Region) *metapb.Region {
	next := &metapb.Region{
		Id: m.Id, StartKey: m.StartKey, EndKey: m.EndKey,
		RegionEpoch: &metapb.RegionEpoch{Version: m.RegionEpoch.Version, ConfVer: m.RegionEpoch.ConfVer},
	}
	for _, p := range m.Peers {
		next.Peers = append(next.Peers, &metapb.Peer{Id: p.Id, StoreId: p.StoreId, Role: p.Role})
	}
	return next
}

func sameEpoch(m *metapb.Region, e *metapb.RegionEpoch) bool {
	return m.RegionEpoch.Version == e.GetVersion() && m.RegionEpoch.ConfVer == e.GetConfVer()
}
