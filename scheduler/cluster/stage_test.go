package cluster

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

// The scenarios of stage 3C that are about taking heartbeats in. What the scheduler decides of them is in scheduler/schedule.

// three is a picture of n regions on three stores each, of which the i-th holds the keys from its number to the next.
func three(n int) (*Picture, []*Region) {
	p := withStores(5)
	var list []*Region
	for i := range n {
		r := keyed(uint64(i+1), i, i+1, 1, 1, 1, 1, 2, 3)
		put(p2t{}, p, r)
		list = append(list, r)
	}
	return p, list
}

// p2t fails the test by panicking: for set-up.
type p2t struct{}

func (p2t) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (p2t) FailNow()                          { panic("set-up failed") }

func keyed(id uint64, from, to int, version, confVer, term uint64, stores ...uint64) *Region {
	return region(id, fmt.Sprintf("%03d", from), fmt.Sprintf("%03d", to), version, confVer, term, stores...)
}

// next is a copy of a region that may be changed.
func next(r *Region, change func(*Region)) *Region {
	c := *r
	c.Meta = &metapb.Region{Id: r.Meta.Id, StartKey: r.Meta.StartKey, EndKey: r.Meta.EndKey, Peers: r.Meta.Peers}
	e := *r.Meta.RegionEpoch
	c.Meta.RegionEpoch = &e
	change(&c)
	return &c
}

func TestRegionNotUpdate3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		require.Equal(t, Change{}, put(t, p, next(r, func(*Region) {})))
		require.Same(t, r.Meta, p.Region(r.ID()).Meta, "what did not change is shared")
	}
	require.Equal(t, 3, p.RegionCount())
}

func TestRegionUpdateVersion3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		require.True(t, put(t, p, next(r, func(r *Region) { r.Meta.RegionEpoch.Version++ })).Meta)
		require.Equal(t, uint64(2), p.Region(r.ID()).Meta.RegionEpoch.Version)
	}
}

func TestRegionWithStaleVersion3C(t *testing.T) { // P3
	p, list := three(3)
	for _, r := range list {
		newer := next(r, func(r *Region) { r.Meta.RegionEpoch.Version++ })
		put(t, p, newer)
		stale(t, p, next(r, func(r *Region) { r.Meta.RegionEpoch.ConfVer++ }))
		require.Same(t, newer, p.Region(r.ID()))
	}
}

func TestRegionUpdateVersionAndConfver3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		require.True(t, put(t, p, next(r, func(r *Region) { r.Meta.RegionEpoch.Version, r.Meta.RegionEpoch.ConfVer = 3, 4 })).Meta)
		e := p.Region(r.ID()).Meta.RegionEpoch
		require.Equal(t, []uint64{3, 4}, []uint64{e.Version, e.ConfVer})
	}
}

func TestRegionWithStaleConfVer3C(t *testing.T) { // P3
	p, list := three(3)
	for _, r := range list {
		newer := next(r, func(r *Region) { r.Meta.RegionEpoch.ConfVer++ })
		put(t, p, newer)
		stale(t, p, r)
		require.Same(t, newer, p.Region(r.ID()))
	}
}

func TestRegionAddPendingPeer3C(t *testing.T) {
	p, list := three(3)
	for i, r := range list {
		lags := r.Meta.Peers[1+i%2]
		put(t, p, next(r, func(r *Region) { r.Pending = []*metapb.Peer{lags} }))
		require.True(t, p.Region(r.ID()).IsPending(lags.Id))
		require.Equal(t, []*Region{p.Region(r.ID())}, p.RegionsOn(lags.StoreId, Lags)[p.CountOn(lags.StoreId, Lags)-1:])
	}
	require.Equal(t, []int{0, 2, 1}, []int{p.Tally(1).Pending, p.Tally(2).Pending, p.Tally(3).Pending})
}

func TestRegionRemovePendingPeer3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		put(t, p, next(r, func(r *Region) { r.Pending = r.Meta.Peers[1:2] }))
		put(t, p, next(r, func(*Region) {}))
		require.Empty(t, p.Region(r.ID()).Pending)
	}
	require.Zero(t, p.CountOn(2, Lags))
	require.Zero(t, p.Tally(2).Pending)
}

func TestRegionRemovePeers3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		require.True(t, put(t, p, next(r, func(r *Region) { r.Meta.Peers, r.Meta.RegionEpoch.ConfVer = r.Meta.Peers[:1], 3 })).Meta)
		require.Len(t, p.Region(r.ID()).Meta.Peers, 1)
	}
	require.Zero(t, p.Tally(2))
	require.Zero(t, p.CountOn(3, Follows))
	require.Equal(t, 3, p.CountOn(1, Leads))
}

func TestRegionAddBackPeers3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		put(t, p, next(r, func(r *Region) { r.Meta.Peers, r.Meta.RegionEpoch.ConfVer = r.Meta.Peers[:1], 3 }))
		require.True(t, put(t, p, next(r, func(r *Region) { r.Meta.RegionEpoch.ConfVer = 5 })).Meta)
		require.Len(t, p.Region(r.ID()).Meta.Peers, 3)
	}
	require.Equal(t, 3, p.Tally(2).Regions)
}

func TestRegionChangeLeader3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		change := put(t, p, next(r, func(r *Region) { r.Leader, r.Term = r.Meta.Peers[1], 2 }))
		require.Equal(t, Change{Leader: true}, change, "nothing has to be saved for that")
		require.Equal(t, uint64(2), p.Region(r.ID()).LeaderStore())
	}
	require.Equal(t, []int{0, 3}, []int{p.Tally(1).Leaders, p.Tally(2).Leaders})
	require.Equal(t, 3, p.CountOn(1, Follows))
}

func TestRegionChangeApproximateSize3C(t *testing.T) {
	p, list := three(3)
	for _, r := range list {
		require.Equal(t, Change{}, put(t, p, next(r, func(r *Region) { r.Load.Size = 144 << 20 })))
	}
	for _, store := range []uint64{1, 2, 3} {
		require.Equal(t, uint64(3*144<<20), p.Tally(store).RegionSize)
		require.Equal(t, int64(3*144), p.Tally(store).RegionWeight)
	}
}

func TestRegionCounts3C(t *testing.T) {
	p, list := three(10)
	require.Equal(t, 10, p.RegionCount())
	put(t, p, next(list[0], func(r *Region) { r.Leader = r.Meta.Peers[2] }))
	require.Equal(t, []int{9, 0, 1}, []int{p.CountOn(1, Leads), p.CountOn(2, Leads), p.CountOn(3, Leads)})
	require.Equal(t, []int{1, 10, 9}, []int{p.CountOn(1, Follows), p.CountOn(2, Follows), p.CountOn(3, Follows)})
	for store := uint64(1); store <= 3; store++ {
		require.Equal(t, Tally{Regions: 10, Leaders: p.CountOn(store, Leads), RegionWeight: 10, LeaderWeight: int64(p.CountOn(store, Leads))}, p.Tally(store))
	}
	require.Zero(t, p.Tally(4))
}

func TestRegionGetRegions3C(t *testing.T) {
	p, list := three(5)
	require.Equal(t, list, p.Scan(nil, nil, 0))
	for i, r := range list {
		require.Same(t, r, p.Region(r.ID()))
		require.Same(t, r, p.RegionOf(fmt.Appendf(nil, "%03d", i)))
		require.Same(t, r, p.RegionOf(fmt.Appendf(nil, "%03d-within", i)))
		if i > 0 {
			require.Same(t, list[i-1], p.RegionBefore(r.Meta.StartKey))
			require.Same(t, r, p.RegionAfter(list[i-1]))
		}
	}
	require.Nil(t, p.RegionOf([]byte("005")), "P4: no answer, but no crash")
	require.Nil(t, p.RegionAfter(list[4]))
}

func TestRegionGetStores3C(t *testing.T) {
	p, list := three(2)
	for i := range 3 {
		require.Equal(t, list[0].Meta.Peers[i], p.Region(1).OnStore(uint64(i+1)))
	}
	require.Nil(t, p.Region(1).OnStore(4))
	require.ElementsMatch(t, list, p.RegionsOn(2, Leads, Follows, Learns))
	require.Empty(t, p.RegionsOn(4, Leads, Follows, Learns))
}

func TestRegionGetStoresInfo3C(t *testing.T) {
	p, _ := three(1)
	require.Len(t, p.Stores(), 5)
	for i, s := range p.Stores() {
		require.Equal(t, uint64(i+1), s.ID())
		require.Same(t, s, p.Store(s.ID()))
		require.Equal(t, Up, s.State(t0))
	}
	require.Nil(t, p.Store(6))
}

// The halves of a split report in either order, each half more than once, and the parent late. P4
func TestHeartbeatSplit3C(t *testing.T) {
	p := withStores(3)
	parent := region(1, "", "", 1, 1, 1, 1, 2, 3)
	put(t, p, parent)
	left, right := region(2, "", "m", 2, 1, 1, 1, 2, 3), region(1, "m", "", 2, 1, 1, 1, 2, 3)
	put(t, p, left)
	require.Same(t, left, p.RegionOf([]byte("foo")))
	require.Nil(t, p.RegionOf([]byte("zoo")), "a hole until the right half reports")
	put(t, p, right)
	require.Same(t, right, p.RegionOf([]byte("zoo")))
	stale(t, p, parent)
	// Once more, the other way round.
	second, third := region(3, "m", "q", 3, 1, 1, 1, 2, 3), region(1, "q", "", 3, 1, 1, 1, 2, 3)
	put(t, p, third)
	require.Nil(t, p.RegionOf([]byte("n")))
	put(t, p, second)
	require.Same(t, second, p.RegionOf([]byte("n")))
	require.Equal(t, 3, p.RegionCount())
}

func TestRegionSplitAndMerge3C(t *testing.T) {
	p := withStores(3)
	put(t, p, keyed(1, 0, 64, 1, 1, 1, 1, 2, 3))
	version, id := uint64(1), uint64(1)
	whole := []*Region{p.Region(1)}
	for range 6 { // every region is split in two
		version++
		var halves []*Region
		for i := range whole {
			width := 64 / len(whole)
			id++
			left := keyed(id, i*width, i*width+width/2, version, 1, 1, 1, 2, 3)
			right := keyed(whole[i].ID(), i*width+width/2, (i+1)*width, version, 1, 1, 1, 2, 3)
			put(t, p, left)
			put(t, p, right)
			halves = append(halves, left, right)
		}
		whole = halves
		require.Equal(t, len(whole), p.RegionCount())
		require.Equal(t, whole, p.Scan(nil, nil, 0))
	}
	for len(whole) > 1 { // and merged again: the right one stays
		version++
		var joined []*Region
		for i := 0; i < len(whole); i += 2 {
			width := 128 / len(whole)
			r := keyed(whole[i+1].ID(), i/2*width, (i/2+1)*width, version, 1, 1, 1, 2, 3)
			require.Equal(t, []*Region{whole[i]}, put(t, p, r).Overlapped)
			joined = append(joined, r)
		}
		whole = joined
		require.Equal(t, whole, p.Scan(nil, nil, 0))
	}
	require.Equal(t, 1, p.RegionCount())
	require.Equal(t, 1, p.Tally(1).Regions)
}

// A term's shell lets heartbeats in one after the other, and readers in between: what readers hold never changes.
func TestConcurrentHandleRegion3C(t *testing.T) {
	p, list := three(50)
	var desk sync.RWMutex
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for round := range uint64(50) {
				for i := worker; i < len(list); i += 4 {
					r := next(list[i], func(r *Region) { r.Meta.RegionEpoch.Version, r.Load.Size = 2+round, round<<20 })
					desk.Lock()
					put(p2t{}, p, r)
					desk.Unlock()
				}
			}
		})
		all.Go(func() {
			for round := range 200 {
				desk.RLock()
				r := p.RegionOf(fmt.Appendf(nil, "%03d", round%50))
				stores, version := p.Stores(), r.Meta.RegionEpoch.Version
				desk.RUnlock()
				if len(stores) != 5 || r.Meta.RegionEpoch.Version != version {
					panic("what a reader holds has changed")
				}
			}
		})
	}
	all.Wait()
	for _, r := range p.Scan(nil, nil, 0) {
		require.Equal(t, uint64(51), r.Meta.RegionEpoch.Version)
	}
	checkPicture(t, p)
}
