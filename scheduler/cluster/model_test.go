package cluster

import (
	"bytes"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Random reports, stale and overlapping ones among them: whatever comes, the picture's regions stay disjoint, its two
// indexes and its tallies agree with each other, and lookups agree with looking at every region.
func TestPictureAgainstModel(t *testing.T) { // P3, P4
	rapid.Check(t, func(rt *rapid.T) {
		p := withStores(4)
		seen := map[uint64][3]uint64{} // id → highest version, conf version and term taken in since it was last in the picture
		for range rapid.IntRange(1, 120).Draw(rt, "reports") {
			bounds := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 2, 2, rapid.ID[int]).Draw(rt, "bounds")
			low, high := min(bounds[0], bounds[1]), max(bounds[0], bounds[1])
			start, end := string(rune('a'+low)), string(rune('a'+high))
			if low == 0 {
				start = ""
			}
			if high == 9 {
				end = ""
			}
			stores := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 4), 1, 3, rapid.ID[uint64]).Draw(rt, "stores")
			r := region(rapid.Uint64Range(1, 6).Draw(rt, "id"), start, end, rapid.Uint64Range(1, 5).Draw(rt, "version"),
				rapid.Uint64Range(1, 3).Draw(rt, "conf"), rapid.Uint64Range(1, 3).Draw(rt, "term"), stores...)
			r.Load.Size = rapid.Uint64Range(0, 3<<20).Draw(rt, "size")
			r.Load.BytesRead, r.Load.BytesWritten = rapid.Uint64Range(0, 1<<22).Draw(rt, "read"), rapid.Uint64Range(0, 1<<20).Draw(rt, "written")
			last := len(stores) - 1
			if last > 0 && rapid.Bool().Draw(rt, "learns") {
				r.Meta.Peers[last].Role = metapb.PeerRole_Learner
			}
			if rapid.Bool().Draw(rt, "lags") {
				r.Pending = r.Meta.Peers[last:]
			}
			change, err := p.CheckRegion(r)
			known, isKnown := seen[r.ID()]
			e := r.Meta.RegionEpoch
			if isKnown && (e.Version < known[0] || e.ConfVer < known[1] || r.Term < known[2]) {
				require.Error(rt, err, "older than what was taken in")
			}
			if err != nil {
				continue
			}
			for _, other := range change.Overlapped {
				require.LessOrEqual(rt, other.Meta.RegionEpoch.Version, e.Version)
				delete(seen, other.ID())
			}
			p.PutRegion(r, change)
			seen[r.ID()] = [3]uint64{e.Version, e.ConfVer, r.Term}
			checkPicture(rt, p)
		}
	})
}

func checkPicture(t require.TestingT, p *Picture) {
	all := p.Scan(nil, nil, 0)
	require.Len(t, all, p.RegionCount())
	require.Equal(t, p.RegionCount(), p.regions.byKey.Len())
	tallies := map[uint64]Tally{}
	for i, r := range all {
		require.Same(t, r, p.Region(r.ID()))
		if i > 0 {
			before := all[i-1].Meta.EndKey
			require.NotEmpty(t, before)
			require.LessOrEqual(t, bytes.Compare(before, r.Meta.StartKey), 0, "regions overlap")
		}
		for _, peer := range r.Meta.Peers {
			tally := tallies[peer.StoreId]
			tally.Regions++
			tally.RegionSize += r.Load.Size
			tally.RegionWeight += r.Weight()
			tally.Write.add(r.Flow.Write, +1)
			if peer.Role == metapb.PeerRole_Learner {
				tally.Learners++
			}
			if r.IsPending(peer.Id) {
				tally.Pending++
			}
			if peer.Id == r.Leader.Id {
				tally.Leaders++
				tally.LeaderSize += r.Load.Size
				tally.LeaderWeight += r.Weight()
				tally.Read.add(r.Flow.Read, +1)
				tally.LeaderWrite.add(r.Flow.Write, +1)
			}
			tallies[peer.StoreId] = tally
		}
	}
	for store := uint64(1); store <= 4; store++ {
		require.Equal(t, tallies[store], p.Tally(store))
		checkPlaces(t, p, all, store)
	}
	for _, key := range []string{"", "a", "b", "c5", "f", "i", "j", "z"} {
		var holds, before *Region
		for _, r := range all {
			if contains(r.Meta, []byte(key)) {
				holds = r
			}
		}
		for _, r := range all {
			if holds != nil && len(holds.Meta.StartKey) > 0 && bytes.Equal(r.Meta.EndKey, holds.Meta.StartKey) {
				before = r
			}
		}
		require.Equal(t, holds, p.RegionOf([]byte(key)))
		require.Equal(t, before, p.RegionBefore([]byte(key)))
	}
}

// checkPlaces compares the regions filed under a store's roles with what all regions say.
func checkPlaces(t require.TestingT, p *Picture, all []*Region, store uint64) {
	want := map[Role][]*Region{}
	for _, r := range all {
		peer := r.OnStore(store)
		if peer == nil {
			continue
		}
		role := Follows
		switch {
		case peer.Id == r.Leader.GetId():
			role = Leads
		case peer.Role == metapb.PeerRole_Learner:
			role = Learns
		}
		want[role] = append(want[role], r)
		if r.IsPending(peer.Id) {
			want[Lags] = append(want[Lags], r)
		}
		if role == Leads && r.Flow.ReadHeat >= hotAfter {
			want[ReadHot] = append(want[ReadHot], r)
		}
		if r.Flow.WriteHeat >= hotAfter {
			want[WriteHot] = append(want[WriteHot], r)
		}
	}
	for role := Leads; role <= WriteHot; role++ {
		require.ElementsMatch(t, want[role], p.RegionsOn(store, role), "role %d on store %d", role, store)
	}
}
