// Package recovery is the plan for regions that have lost a majority of their voters for good: who survives, who shall be the only member, what may be
// lost. Stores tell what they have (Replicas), Make draws the plan from it, and stores carry its orders out (Force; raftstore's op_recover.go). Making a plan
// changes nothing; an order names the shape of the region that it was made for, and is refused when that has changed, so a plan may be applied again.
package recovery

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
)

// Replica is what a store has of one region.
type Replica struct {
	Store  uint64         `json:"store"`
	Peer   uint64         `json:"peer"`
	Region *metapb.Region `json:"region"`
	// LastTerm and LastIndex are of the log's last entry; Committed and Applied are known to be.
	LastTerm  uint64 `json:"last_term"`
	LastIndex uint64 `json:"last_index"`
	Committed uint64 `json:"committed"`
	Applied   uint64 `json:"applied"`
	Leads     bool   `json:"leads"`
}

// Order makes one peer its region's only member.
type Order struct {
	Region uint64 `json:"region"`
	Store  uint64 `json:"store"`
	Peer   uint64 `json:"peer"`
	// Seen is the conf_ver that the store must find, Next the one that it sets.
	Seen uint64 `json:"seen_conf_ver"`
	Next uint64 `json:"next_conf_ver"`
}

// Outcome is what became of an order; an empty Error says that it is carried out.
type Outcome struct {
	Region uint64 `json:"region"`
	Error  string `json:"error,omitempty"`
}

// Rescue is what is planned for one region.
type Rescue struct {
	Order
	Base      Replica   `json:"base"`
	Survivors []Replica `json:"survivors"`
	MayLose   string    `json:"may_lose"`
}

// Plan is for a whole cluster.
type Plan struct {
	Lost    []uint64 `json:"lost_stores"`
	Rescues []Rescue `json:"rescues"`
	// Hopeless are regions of which no replica survives: their data is gone.
	Hopeless []uint64 `json:"hopeless,omitempty"`
}

// jump is how far an order takes the conf_ver ahead of the newest that is known: further than the lost stores can have come without the survivors.
const jump = 1000

// Make plans for the regions that cannot elect anybody without the lost stores. replicas are those of all other stores, known the ids of all regions.
func Make(lost []uint64, replicas []Replica, known []uint64) Plan {
	plan := Plan{Lost: lost, Rescues: []Rescue{}}
	byRegion := make(map[uint64][]Replica)
	for _, r := range replicas {
		if r.Region.GetRegionEpoch().GetConfVer() > 0 && region.FindPeer(r.Region, r.Peer) != nil { // else it was removed, knows it, and is about to go
			byRegion[r.Region.Id] = append(byRegion[r.Region.Id], r)
		}
	}
	ids := slices.Clone(known)
	for id := range byRegion { // order-free: sorted below
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		survivors := byRegion[id]
		if len(survivors) == 0 {
			plan.Hopeless = append(plan.Hopeless, id)
			continue
		}
		newest := slices.MaxFunc(survivors, func(a, b Replica) int {
			return cmp.Compare(a.Region.RegionEpoch.ConfVer, b.Region.RegionEpoch.ConfVer)
		}).Region
		if !canElect(newest, survivors) {
			plan.Rescues = append(plan.Rescues, rescue(newest, survivors))
		}
	}
	return plan
}

// canElect reports whether the survivors hold a majority of the region's voters: of both halves, while they change.
func canElect(r *metapb.Region, survivors []Replica) bool {
	for _, without := range [2]metapb.PeerRole{metapb.PeerRole_IncomingVoter, metapb.PeerRole_DemotingVoter} {
		voters, alive := 0, 0
		for _, p := range r.Peers {
			if p.Role == metapb.PeerRole_Learner || p.Role == without {
				continue
			}
			voters++
			if slices.ContainsFunc(survivors, func(s Replica) bool { return s.Peer == p.Id }) {
				alive++
			}
		}
		if alive <= voters/2 {
			return false
		}
	}
	return true
}

// rescue chooses the survivor with the longest log, as an election would: it holds everything that any of them has acknowledged.
func rescue(newest *metapb.Region, survivors []Replica) Rescue {
	slices.SortFunc(survivors, func(a, b Replica) int { return cmp.Compare(a.Store, b.Store) })
	base := slices.MaxFunc(survivors, func(a, b Replica) int {
		return cmp.Or(cmp.Compare(a.LastTerm, b.LastTerm), cmp.Compare(a.LastIndex, b.LastIndex), cmp.Compare(b.Store, a.Store))
	})
	return Rescue{
		Order: Order{
			Region: newest.Id, Store: base.Store, Peer: base.Peer, Seen: base.Region.RegionEpoch.ConfVer, Next: newest.RegionEpoch.ConfVer + jump,
		},
		Base: base, Survivors: survivors,
		MayLose: mayLose(base),
	}
}

func mayLose(base Replica) string {
	text := fmt.Sprintf("writes that the lost stores acknowledged after entry %d of term %d", base.LastIndex, base.LastTerm)
	if base.LastIndex > base.Committed {
		text += fmt.Sprintf("; entries %d to %d become true, whether they were acknowledged or not", base.Committed+1, base.LastIndex)
	}
	return text
}
