package sim

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

func cacheRegion(id, version, confVer uint64, start, end string) *metapb.Region {
	return &metapb.Region{
		Id: id, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: confVer},
		Peers: []*metapb.Peer{{Id: id*10 + 1, StoreId: 1}, {Id: id*10 + 2, StoreId: 2}},
	}
}

// P9: what is late does not replace what is newer, and what is new replaces all that it overlaps.
func TestRegionCache(t *testing.T) {
	var x regionCache
	ids := func() (ids []uint64) {
		for _, r := range x.regions {
			ids = append(ids, r.Id)
		}
		return ids
	}
	require.Nil(t, x.find([]byte("a")))
	x.put(cacheRegion(1, 1, 1, "", ""), nil)
	x.put(cacheRegion(2, 2, 1, "m", ""), &metapb.Peer{Id: 22})
	require.Equal(t, []uint64{2}, ids(), "a split leaves a hole where nothing is known")
	require.Nil(t, x.find([]byte("a")))
	require.Equal(t, uint64(22), x.find([]byte("m")).target().Id)
	x.put(cacheRegion(1, 1, 1, "", ""), nil)
	require.Equal(t, []uint64{2}, ids(), "an older shape comes late")
	x.put(cacheRegion(1, 2, 1, "", "m"), nil)
	require.Equal(t, []uint64{1, 2}, ids())
	x.put(cacheRegion(2, 2, 3, "m", ""), nil)
	x.put(cacheRegion(2, 2, 2, "m", ""), nil)
	require.Equal(t, uint64(3), x.find([]byte("z")).RegionEpoch.ConfVer)
	r := x.find([]byte("z"))
	require.False(t, r.lead(&metapb.Peer{Id: 99}))
	require.True(t, r.lead(&metapb.Peer{Id: 22}))
	r.nextPeer()
	require.Equal(t, uint64(21), r.target().Id)
	x.drop(r)
	require.Equal(t, []uint64{1}, ids())
}
