package cluster

import (
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"
)

// Role is what a region is to a store.
type Role uint8

// The roles by which regions on a store can be found. A region may have several there.
const (
	// Leads: the store's peer leads; Follows: it votes and does not lead; Learns: it is a learner.
	Leads Role = iota
	Follows
	Learns
	// Lags: the store's peer is not caught up.
	Lags
	// ReadHot: the store's peer leads, and much is read of it; WriteHot: much is written to it.
	ReadHot
	WriteHot
)

// hotAfter is the heat from which on a region counts as hot.
const hotAfter = 2

// places finds regions by store and role. Each pair has its regions in an array, in no particular order, and each region remembers where it
// stands: so coming, going and drawing one at random cost the same for ten regions as for a million.
type places map[placeKey]*place

type placeKey struct {
	store uint64
	role  Role
}

type place struct{ entries []*entry }

// entry is one region in the picture, whatever its latest report.
type entry struct {
	region *Region
	at     []standing
}

// standing is one place of a region, and its index there.
type standing struct {
	place *place
	index int32
}

// move puts a region where its latest report says it belongs; old is the report before, or nil.
func (ps places) move(e *entry, old *Region) {
	r := e.region
	if old != nil && old.Meta == r.Meta && old.Leader == r.Leader && len(old.Pending) == 0 && len(r.Pending) == 0 &&
		(old.Flow.ReadHeat >= hotAfter) == (r.Flow.ReadHeat >= hotAfter) && (old.Flow.WriteHeat >= hotAfter) == (r.Flow.WriteHeat >= hotAfter) {
		return
	}
	ps.clear(e)
	for _, peer := range r.Meta.Peers {
		leads := r.Leader != nil && r.Leader.Id == peer.Id
		switch {
		case leads:
			ps.stand(e, peer.StoreId, Leads)
		case peer.Role == metapb.PeerRole_Learner:
			ps.stand(e, peer.StoreId, Learns)
		default:
			ps.stand(e, peer.StoreId, Follows)
		}
		if r.IsPending(peer.Id) {
			ps.stand(e, peer.StoreId, Lags)
		}
		if leads && r.Flow.ReadHeat >= hotAfter {
			ps.stand(e, peer.StoreId, ReadHot)
		}
		if r.Flow.WriteHeat >= hotAfter {
			ps.stand(e, peer.StoreId, WriteHot)
		}
	}
	e.at = slices.Clip(e.at)
}

func (ps places) stand(e *entry, store uint64, role Role) {
	key := placeKey{store, role}
	p := ps[key]
	if p == nil {
		p = new(place)
		ps[key] = p
	}
	e.at = append(e.at, standing{p, int32(len(p.entries))})
	p.entries = append(p.entries, e)
}

// clear takes a region out of all its places; the last of each takes its index there.
func (ps places) clear(e *entry) {
	for _, s := range e.at {
		list := s.place.entries
		last := len(list) - 1
		moved := list[last]
		list[s.index] = moved
		for i := range moved.at {
			if moved.at[i].place == s.place {
				moved.at[i].index = s.index
			}
		}
		list[last] = nil
		s.place.entries = list[:last]
	}
	e.at = e.at[:0]
}

// CountOn is how many regions play a role on a store.
func (p *Picture) CountOn(store uint64, role Role) int {
	if at := p.places[placeKey{store, role}]; at != nil {
		return len(at.entries)
	}
	return 0
}

// RegionOn is the i-th of the CountOn regions with a role on a store. The order means nothing and changes with every report: it is for drawing one
// at random.
func (p *Picture) RegionOn(store uint64, role Role, i int) *Region {
	return p.places[placeKey{store, role}].entries[i].region
}

// RegionsOn lists the regions with any of the roles on a store, in no particular order.
func (p *Picture) RegionsOn(store uint64, roles ...Role) []*Region {
	var list []*Region
	for _, role := range roles {
		for i := range p.CountOn(store, role) {
			list = append(list, p.RegionOn(store, role, i))
		}
	}
	return list
}
