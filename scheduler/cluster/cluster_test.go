package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

var t0 = time.Unix(1_000_000, 0)

// region makes one with a peer on each store; peer ids are region*100+store, the first leads.
func region(id uint64, start, end string, version, confVer, term uint64, stores ...uint64) *Region {
	r := &Region{
		Meta: &metapb.Region{
			Id: id, StartKey: []byte(start), EndKey: []byte(end),
			RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: confVer},
		},
		Term: term,
	}
	for _, s := range stores {
		r.Meta.Peers = append(r.Meta.Peers, &metapb.Peer{Id: id*100 + s, StoreId: s})
	}
	if len(stores) > 0 {
		r.Leader = r.Meta.Peers[0]
	}
	return r
}

func put(t require.TestingT, p *Picture, r *Region) Change {
	change, err := p.CheckRegion(r)
	require.NoError(t, err)
	p.PutRegion(r, change)
	return change
}

func stale(t require.TestingT, p *Picture, r *Region) {
	_, err := p.CheckRegion(r)
	var staleErr *StaleError
	require.ErrorAs(t, err, &staleErr)
	require.NotEmpty(t, err.Error())
}

func withStores(n int) *Picture {
	p := NewPicture()
	p.SetCluster(&metapb.Cluster{Id: 1})
	for id := uint64(1); id <= uint64(n); id++ {
		p.PutStore(&metapb.Store{Id: id, Address: fmt.Sprintf("s%d", id), Version: "8.5.0"}, t0)
		p.HearStore(id, StoreStats{}, t0, t0)
	}
	return p
}

func TestStaleHeartbeatsAreRefused(t *testing.T) { // P3
	p := withStores(3)
	put(t, p, region(1, "", "", 5, 5, 7, 1, 2, 3))
	stale(t, p, region(1, "", "", 4, 5, 7, 1, 2, 3)) // version
	stale(t, p, region(1, "", "", 5, 4, 7, 1, 2, 3)) // conf version
	stale(t, p, region(1, "", "", 5, 5, 6, 1, 2, 3)) // a deposed leader, same epoch
	stale(t, p, region(1, "", "", 6, 4, 8, 1, 2, 3)) // newer in one way, older in another
	require.Equal(t, uint64(7), p.Region(1).Term)
	// A region whose term is unknown is judged by its epoch.
	_, err := p.CheckRegion(region(1, "", "", 5, 5, 0, 1, 2, 3))
	require.NoError(t, err)
	require.True(t, put(t, p, region(1, "", "", 5, 5, 8, 2, 1, 3)).Leader)
}

func TestOverlappingRegionsHigherVersionWins(t *testing.T) { // P3, P4
	p := withStores(1)
	put(t, p, region(1, "a", "m", 3, 1, 1, 1))
	put(t, p, region(2, "m", "z", 3, 1, 1, 1))
	stale(t, p, region(3, "k", "p", 2, 1, 1, 1))
	require.Equal(t, 2, p.RegionCount())
	change := put(t, p, region(3, "k", "p", 4, 1, 1, 1))
	require.Len(t, change.Overlapped, 2)
	require.Equal(t, 1, p.RegionCount())
	require.Nil(t, p.RegionOf([]byte("b")), "a hole until the others report again")
	require.Equal(t, uint64(3), p.RegionOf([]byte("k")).ID())
	// What was pushed out comes back with its new range.
	put(t, p, region(1, "a", "k", 4, 1, 1, 1))
	require.Equal(t, uint64(1), p.RegionOf([]byte("b")).ID())
}

func TestHolesAreNotFilledWithThePast(t *testing.T) { // P3, P4
	p := NewPicture()
	put(t, p, region(1, "", "m", 4, 2, 7, 1))
	put(t, p, region(2, "", "", 5, 1, 9, 1)) // it took region 1 in
	put(t, p, region(2, "m", "", 6, 1, 9, 1))
	stale(t, p, region(1, "", "m", 3, 2, 6, 2))
	stale(t, p, region(1, "", "m", 4, 2, 6, 2))
	stale(t, p, region(1, "", "m", 4, 1, 7, 2))
	put(t, p, region(1, "", "m", 6, 2, 7, 1))
	stale(t, p, region(1, "", "m", 5, 2, 7, 1))
}

// What is remembered of regions that were merged stays bounded, and is the latest.
func TestMergedRegionsAreForgottenInTheEnd(t *testing.T) {
	p := NewPicture()
	put(t, p, region(1, "a", "z", 1, 1, 6, 1, 2, 3))
	for i := range uint64(3 * mostDisplaced) {
		put(t, p, region(i+2, "a", "z", i+2, 1, 6, 1, 2, 3))
	}
	require.Len(t, p.displaced, mostDisplaced)
	require.LessOrEqual(t, len(p.displacedIDs), mostDisplaced)
	last := uint64(3*mostDisplaced) + 1
	require.NotNil(t, p.displaced[last-1])
	put(t, p, region(last-1, "a", "z", last+1, 1, 6, 1, 2, 3))
	require.Nil(t, p.displaced[last-1])
}

func TestSplitReportsInAnyOrder(t *testing.T) { // P4
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		p := withStores(1)
		put(t, p, region(1, "", "", 1, 1, 1, 1))
		halves := []*Region{region(2, "", "m", 2, 1, 1, 1), region(1, "m", "", 2, 1, 1, 1)}
		for _, i := range order {
			put(t, p, halves[i])
		}
		require.Equal(t, uint64(2), p.RegionOf([]byte("a")).ID())
		require.Equal(t, uint64(1), p.RegionOf([]byte("m")).ID())
		require.Equal(t, uint64(2), p.RegionBefore([]byte("m")).ID())
		require.Nil(t, p.RegionBefore([]byte("a")))
		stale(t, p, region(1, "", "", 1, 1, 9, 1))
		require.Equal(t, Tally{Regions: 2, Leaders: 2, RegionWeight: 2, LeaderWeight: 2}, p.Tally(1))
	}
}

func TestChangeSaysWhatToSave(t *testing.T) {
	p := withStores(3)
	require.Equal(t, Change{Meta: true, Leader: true, New: true}, put(t, p, region(1, "", "", 1, 1, 1, 1, 2)))
	require.Equal(t, Change{}, put(t, p, region(1, "", "", 1, 1, 1, 1, 2)), "nothing changed, nothing is saved")
	require.Equal(t, Change{Leader: true}, put(t, p, region(1, "", "", 1, 1, 2, 2, 1)).withoutMeta())
	require.True(t, put(t, p, region(1, "", "", 1, 2, 2, 2, 1, 3)).Meta)
}

// withoutMeta forgets Meta: the helper's peers come in another order when another leads.
func (c Change) withoutMeta() Change {
	c.Meta = false
	return c
}

func TestTallyFollowsHeartbeats(t *testing.T) {
	p := withStores(3)
	r := region(1, "", "", 1, 1, 1, 1, 2)
	r.Load.Size = 100
	put(t, p, r)
	r = region(1, "", "", 1, 2, 1, 2, 3)
	r.Load.Size = 40
	put(t, p, r)
	require.Equal(t, Tally{}, p.Tally(1))
	require.Equal(t, Tally{Regions: 1, Leaders: 1, RegionSize: 40, LeaderSize: 40, RegionWeight: 1, LeaderWeight: 1}, p.Tally(2))
	require.Equal(t, Tally{Regions: 1, RegionSize: 40, RegionWeight: 1}, p.Tally(3))
}

func TestStoreStates(t *testing.T) {
	p := NewPicture()
	p.PutStore(&metapb.Store{Id: 1}, t0)
	require.Equal(t, Disconnected, p.Store(1).State(t0), "registered, but not heard of")
	require.Equal(t, Down, p.Store(1).State(t0.Add(DownAfter+1)))
	require.False(t, p.HearStore(2, StoreStats{}, t0, t0))
	require.True(t, p.HearStore(1, StoreStats{Capacity: 5}, t0, t0))
	require.Equal(t, Up, p.Store(1).State(t0.Add(DisconnectedAfter)))
	require.Equal(t, Disconnected, p.Store(1).State(t0.Add(DisconnectedAfter+1)))
	require.Equal(t, Disconnected, p.Store(1).State(t0.Add(DownAfter)))
	require.Equal(t, Down, p.Store(1).State(t0.Add(DownAfter+1)))
	p.PutStore(&metapb.Store{Id: 1, State: metapb.StoreState_Offline}, t0)
	require.Equal(t, uint64(5), p.Store(1).Stats.Capacity, "what heartbeats told stays")
	require.Equal(t, Offline, p.Store(1).State(t0))
	p.PutStore(&metapb.Store{Id: 1, State: metapb.StoreState_Tombstone}, t0)
	require.Equal(t, Tombstone, p.Store(1).State(t0))
	require.Equal(t, "Tombstone", Tombstone.String())
}

func TestCheckStore(t *testing.T) { // S19
	p := withStores(2)
	p.PutStore(&metapb.Store{Id: 3, Address: "s3", Version: "8.5.0", State: metapb.StoreState_Tombstone}, t0)
	check := func(id uint64, addr, version string) error {
		return p.CheckStore(&metapb.Store{Id: id, Address: addr, Version: version})
	}
	require.NoError(t, check(4, "s4", "8.5.0"))
	require.NoError(t, check(4, "s3", "8.5.0"), "a buried store's address is free")
	require.NoError(t, check(1, "elsewhere", "8.5.0"), "a store may move")
	require.NoError(t, check(4, "s4", "8.5.0-alpha"))
	require.NoError(t, check(4, "s4", "v9.0.0"))
	require.ErrorContains(t, check(4, "s1", "8.5.0"), "duplicated store address: ")
	require.ErrorContains(t, check(2, "s1", "8.5.0"), "already registered by ")
	require.EqualError(t, check(4, "s4", "8.4.9"), "version should compatible with version  8.5.0, got 8.4.9")
	require.EqualError(t, check(4, "s4", ""), "version should compatible with version  8.5.0, got 1.0.0")
	require.ErrorContains(t, check(4, "s4", "new"), "must look like 8.5.0")
	require.ErrorContains(t, check(4, "", "8.5.0"), "no address")
	require.ErrorContains(t, check(0, "s4", "8.5.0"), "invalid put store")
	var buried *TombstoneError
	require.ErrorAs(t, check(3, "s3", "8.5.0"), &buried)
	require.Equal(t, "8.5.0", p.Version())
	require.Empty(t, NewPicture().Version())
}

func TestCheckBootstrap(t *testing.T) {
	good := func() (*metapb.Store, *metapb.Region) {
		return &metapb.Store{Id: 1, Address: "a", Version: "8.5.0"},
			&metapb.Region{Id: 2, Peers: []*metapb.Peer{{Id: 3, StoreId: 1}}}
	}
	s, r := good()
	require.NoError(t, CheckBootstrap(s, r))
	for _, spoil := range []func(*metapb.Store, *metapb.Region){
		func(s *metapb.Store, _ *metapb.Region) { s.Id = 0 },
		func(s *metapb.Store, _ *metapb.Region) { s.Address = "" },
		func(s *metapb.Store, _ *metapb.Region) { s.Version = "x" },
		func(_ *metapb.Store, r *metapb.Region) { r.Id = 0 },
		func(_ *metapb.Store, r *metapb.Region) { r.StartKey = []byte("a") },
		func(_ *metapb.Store, r *metapb.Region) { r.EndKey = []byte("a") },
		func(_ *metapb.Store, r *metapb.Region) { r.Peers = nil },
		func(_ *metapb.Store, r *metapb.Region) { r.Peers[0].Id = 0 },
		func(_ *metapb.Store, r *metapb.Region) { r.Peers[0].StoreId = 9 },
	} {
		s, r := good()
		spoil(s, r)
		require.Error(t, CheckBootstrap(s, r))
	}
	require.Error(t, CheckBootstrap(nil, r))
	require.Error(t, CheckBootstrap(s, nil))
}

func TestCheckSplit(t *testing.T) {
	p := withStores(1)
	put(t, p, region(1, "", "", 2, 2, 1, 1))
	require.NoError(t, p.CheckSplit(region(1, "", "", 2, 2, 1, 1).Meta))
	require.EqualError(t, p.CheckSplit(region(1, "", "", 1, 2, 1, 1).Meta),
		"invalid region epoch, request: conf_ver:2 version:1 , current: conf_ver:2 version:2 ")
	require.ErrorContains(t, p.CheckSplit(region(9, "", "", 1, 2, 1, 1).Meta), "region 9 not found")
}

func TestScanRanges(t *testing.T) {
	p := withStores(1)
	for i, r := range []string{"ac", "ce", "eg", "ik"} {
		put(t, p, region(uint64(i+1), r[:1], r[1:], 1, 1, 1, 1))
	}
	scan := func(limit int, ranges ...string) ([]uint64, bool) {
		var list []Range
		for _, r := range ranges {
			list = append(list, Range{Start: []byte(r[:1]), End: []byte(r[1:])})
		}
		found, whole := p.ScanRanges(list, limit)
		var ids []uint64
		for _, r := range found {
			ids = append(ids, r.ID())
		}
		return ids, whole
	}
	for _, c := range []struct {
		limit  int
		ranges []string
		ids    []uint64
		whole  bool
	}{
		{0, []string{"ag"}, []uint64{1, 2, 3}, true},
		{0, []string{"bd", "df"}, []uint64{1, 2, 3}, true},
		{2, []string{"bd", "df"}, []uint64{1, 2}, true},
		{3, []string{"bd", "df"}, []uint64{1, 2, 3}, true},
		{1, []string{"ag"}, []uint64{1}, true},
		{0, []string{"ah"}, []uint64{1, 2, 3}, false},
		{0, []string{"fj"}, []uint64{3, 4}, false},
		{0, []string{"gh"}, nil, false},
		{0, []string{"i"}, []uint64{4}, false},
		{0, nil, nil, true},
	} {
		ids, whole := scan(c.limit, c.ranges...)
		require.Equal(t, c.ids, ids, "%v", c)
		require.Equal(t, c.whole, whole, "%v", c)
	}
}
