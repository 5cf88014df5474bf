package sim

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/sim/world"
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

// Each region error leads to what a real client does: ask the one it names, the next peer, the scheduler, or wait.
func TestClientsFollowRegionErrors(t *testing.T) {
	meta := cacheRegion(1, 3, 3, "", "")
	older, newer := cacheRegion(1, 3, 2, "", ""), cacheRegion(1, 4, 3, "", "m")
	for name, tc := range map[string]struct {
		failed errorpb.Error
		// peer is who is asked next, 0 when the region is forgotten; waits is what the client waits for, -1 for nothing.
		peer  uint64
		waits wait
	}{
		"a leader that is known":     {errorpb.Error{NotLeader: &errorpb.NotLeader{Leader: meta.Peers[1]}}, 12, -1},
		"a leader that is not":       {errorpb.Error{NotLeader: &errorpb.NotLeader{Leader: &metapb.Peer{Id: 99}}}, 0, waitRegion},
		"no leader":                  {errorpb.Error{NotLeader: &errorpb.NotLeader{}}, 12, waitLeader},
		"a newer shape":              {errorpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: []*metapb.Region{newer}}}, 11, -1},
		"a store that knows less":    {errorpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: []*metapb.Region{older}}}, 11, waitRegion},
		"a shape that is not told":   {errorpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{}}, 0, waitRegion},
		"busy":                       {errorpb.Error{ServerIsBusy: &errorpb.ServerIsBusy{}}, 11, waitBusy},
		"leadership changed":         {errorpb.Error{StaleCommand: &errorpb.StaleCommand{}}, 11, waitStale},
		"no data yet":                {errorpb.Error{RegionNotInitialized: &errorpb.RegionNotInitialized{}}, 11, waitReady},
		"a read that cannot be yet":  {errorpb.Error{ReadIndexNotReady: &errorpb.ReadIndexNotReady{}}, 11, waitReady},
		"a full disk":                {errorpb.Error{DiskFull: &errorpb.DiskFull{}}, 11, waitSpace},
		"no such region":             {errorpb.Error{RegionNotFound: &errorpb.RegionNotFound{}}, 0, waitRegion},
		"a key of another region":    {errorpb.Error{KeyNotInRegion: &errorpb.KeyNotInRegion{}}, 0, waitRegion},
		"another store at this name": {errorpb.Error{StoreNotMatch: &errorpb.StoreNotMatch{}}, 0, waitRegion},
		"another peer on this store": {errorpb.Error{MismatchPeerId: &errorpb.MismatchPeerId{}}, 0, waitRegion},
	} {
		c := New(Default(1), nil)
		cl := newClient(c, 0)
		cl.p.Start()
		cl.cache.put(meta, nil)
		given := false
		e := &errand{cl: cl, task: cl.get([]byte("a")), deadline: world.Time(clientPatience), done: func(bool) { given = true }, asked: meta.Peers[0]}
		e.refused(cl.cache.find([]byte("a")), &tc.failed)
		r := cl.cache.find([]byte("a"))
		if tc.peer == 0 {
			require.Nil(t, r, name)
		} else {
			require.Equal(t, tc.peer, r.target().Id, name)
		}
		for kind, n := range e.waits {
			require.Equal(t, wait(kind) == tc.waits, n == 1, "%s: %v", name, e.waits)
		}
		require.False(t, given, name)
		e.deadline = 0
		e.wait(waitRegion, 0)
		require.True(t, given, "patience ends")
	}
}
