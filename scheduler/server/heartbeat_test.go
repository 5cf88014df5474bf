package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/shoal-kv/shoal/scheduler/server"
)

// regionAt is a region with one peer a store, led by the first.
func regionAt(id uint64, start, end string, version, confVer uint64, stores ...uint64) *metapb.Region {
	m := &metapb.Region{
		Id: id, StartKey: []byte(start), EndKey: []byte(end),
		RegionEpoch: &metapb.RegionEpoch{Version: version, ConfVer: confVer},
	}
	for _, s := range stores {
		m.Peers = append(m.Peers, &metapb.Peer{Id: 100*id + s, StoreId: s})
	}
	return m
}

func (r *rig) eventually(id uint64, check func(*pdpb.GetRegionResponse) bool) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return check(r.region(id)) }, soon, poll)
}

// The answer to a heartbeat adds what is missing: a learner, the same one again until it shows, which votes when it is caught up; and one at a time. P8
func TestHeartbeatAddsMissingReplicas(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	for id := uint64(4); id <= 5; id++ {
		r.putStore(id)
	}
	beats := r.heartbeats()
	region := firstRegion()
	r.report(beats, region) // no other store is known to live: no answer
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })

	next := func(kind eraftpb.ConfChangeType, store uint64) *pdpb.RegionHeartbeatResponse {
		t.Helper()
		for { // what was pushed meanwhile is repeated
			res, err := beats.Recv()
			require.NoError(t, err)
			require.Nil(t, res.GetHeader().GetError())
			require.Equal(t, uint64(2), res.GetRegionId())
			if c := res.GetChangePeer(); c.GetChangeType() == kind && c.GetPeer().GetStoreId() == store {
				return res
			}
		}
	}
	r.storeHeartbeat(4) // a store that comes up is used at once
	res := next(eraftpb.ConfChangeType_AddLearnerNode, 4)
	require.Equal(t, region.RegionEpoch, res.GetRegionEpoch())
	require.Equal(t, region.Peers[0], res.GetTargetPeer())
	added := res.GetChangePeer().GetPeer()
	require.NotZero(t, added.GetId())
	r.report(beats, region)
	require.Equal(t, added, next(eraftpb.ConfChangeType_AddLearnerNode, 4).GetChangePeer().GetPeer(), "not a second one")
	r.storeHeartbeat(5)
	r.report(beats, region)
	require.Equal(t, added, next(eraftpb.ConfChangeType_AddLearnerNode, 4).GetChangePeer().GetPeer(), "still not a second one")

	learns := &metapb.Region{Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 2}, Peers: []*metapb.Peer{region.Peers[0], added}}
	r.report(beats, learns, func(q *pdpb.RegionHeartbeatRequest) { q.PendingPeers = []*metapb.Peer{added} })
	r.report(beats, learns)
	res = next(eraftpb.ConfChangeType_AddNode, 4)
	require.Equal(t, added.GetId(), res.GetChangePeer().GetPeer().GetId())
	voter := &metapb.Peer{Id: added.GetId(), StoreId: 4}
	r.report(beats, &metapb.Region{Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 3}, Peers: []*metapb.Peer{region.Peers[0], voter}})
	res = next(eraftpb.ConfChangeType_AddLearnerNode, 5)
	require.Equal(t, uint64(3), res.GetRegionEpoch().GetConfVer())
	require.Greater(t, res.GetChangePeer().GetPeer().GetId(), added.GetId())
}

func TestStaleHeartbeatsAreRefused(t *testing.T) { // P3
	r := newRig(t)
	r.bootstrap()
	r.putStore(4)
	beats, deposed := r.heartbeats(), r.heartbeats()
	term := func(n uint64) func(*pdpb.RegionHeartbeatRequest) {
		return func(q *pdpb.RegionHeartbeatRequest) { q.Term = n }
	}
	r.report(beats, regionAt(2, "", "", 2, 2, 1, 4), term(7))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader().GetStoreId() == 1 })
	for _, old := range []struct {
		region *metapb.Region
		term   uint64
	}{
		{regionAt(2, "", "", 2, 2, 4, 1), 6}, // a leader cut off by a partition goes on reporting
		{regionAt(2, "", "", 1, 2, 4, 1), 8},
		{regionAt(2, "", "", 2, 1, 4, 1), 8},
	} {
		r.report(deposed, old.region, term(old.term))
		res, err := deposed.Recv()
		require.NoError(t, err)
		require.Contains(t, res.GetHeader().GetError().GetMessage(), "region is stale")
		require.Equal(t, uint64(2), res.GetRegionId())
		require.Equal(t, uint64(1), r.region(2).GetLeader().GetStoreId())
	}
	r.report(deposed, regionAt(2, "", "", 2, 2, 4, 1), term(8))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader().GetStoreId() == 4 })
}

func TestBadHeartbeatsAreRefused(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	for text, spoil := range map[string]func(*pdpb.RegionHeartbeatRequest){
		"invalid request region": func(q *pdpb.RegionHeartbeatRequest) { q.Region = &metapb.Region{} },
		"invalid request leader": func(q *pdpb.RegionHeartbeatRequest) { q.Leader = &metapb.Peer{StoreId: 1} },
		"reports no epoch":       func(q *pdpb.RegionHeartbeatRequest) { q.Region.RegionEpoch = nil },
		"reports an empty range": func(q *pdpb.RegionHeartbeatRequest) {
			q.Region.StartKey, q.Region.EndKey = []byte("b"), []byte("a")
		},
	} {
		beats := r.heartbeats()
		r.report(beats, firstRegion(), spoil)
		res, err := beats.Recv()
		require.NoError(t, err)
		require.Contains(t, res.GetHeader().GetError().GetMessage(), text)
	}
	beats := r.heartbeats()
	r.report(beats, regionAt(2, "", "", 1, 1, 9))
	res, err := beats.Recv()
	require.NoError(t, err)
	require.Equal(t, "invalid store ID 9, not found", res.GetHeader().GetError().GetMessage())
}

// A stream ends with the leadership, so that its store looks for the next leader and reports all again.
func TestHeartbeatStreamEndsWithTheTerm(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	beats := r.heartbeats()
	r.report(beats, firstRegion())
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
	giveBack := r.usurp()
	_, err := beats.Recv()
	requireCode(t, codes.Unavailable, "not leader", err)
	giveBack()
	require.Nil(t, r.region(2).GetLeader(), "the new term knows the region, but not yet who leads it")
	r.report(r.heartbeats(), firstRegion())
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })
}

// Regions are saved behind their heartbeats: a scheduler that starts again knows them before they report.
func TestRegionsAreThereAfterRestart(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	beats := r.heartbeats()
	r.report(beats, regionAt(7, "", "m", 2, 1, 1))
	r.report(beats, regionAt(2, "m", "", 2, 1, 1))
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetStartKey()) > 0 })
	saved := func() bool {
		res, err := r.etcd().Get(r.ctx, r.regionKey(2))
		require.NoError(t, err)
		var m metapb.Region
		require.NoError(t, m.Unmarshal(res.Kvs[0].Value))
		return string(m.StartKey) == "m"
	}
	require.Eventually(t, saved, soon, poll)
	r.restart()
	require.Equal(t, "m", string(r.region(7).GetRegion().GetEndKey()))
	require.Equal(t, "m", string(r.region(2).GetRegion().GetStartKey()))

	// A merged region's record goes too, and with it the danger that it comes back.
	beats = r.heartbeats()
	r.report(beats, regionAt(2, "", "", 3, 1, 1))
	require.Eventually(t, func() bool {
		res, err := r.etcd().Get(r.ctx, r.regionKey(7))
		require.NoError(t, err)
		return len(res.Kvs) == 0
	}, soon, poll)
}

func TestQueryRegionOrder(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	beats := r.heartbeats()
	r.report(beats, regionAt(7, "", "g", 2, 1, 1))
	r.report(beats, regionAt(8, "g", "m", 2, 1, 1))
	r.report(beats, regionAt(2, "p", "", 2, 1, 1)) // m to p is a hole
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetStartKey()) > 0 })
	stream, err := r.pd.QueryRegion(r.ctx)
	require.NoError(t, err)
	keys := func(s ...string) (list [][]byte) {
		for _, k := range s {
			list = append(list, []byte(k))
		}
		return list
	}
	require.NoError(t, stream.Send(&pdpb.QueryRegionRequest{
		Header: r.header(), Ids: []uint64{8, 99},
		Keys: keys("z", "a", "n", "h", "a"), PrevKeys: keys("h", "a", "z", "n"),
	}))
	res, err := stream.Recv()
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 7, 0, 8, 7}, res.GetKeyIdMap())
	require.Equal(t, []uint64{7, 0, 0, 0}, res.GetPrevKeyIdMap())
	require.Len(t, res.GetRegionsById(), 4)
	require.Equal(t, uint64(7), res.GetRegionsById()[7].GetRegion().GetId())
	require.NotNil(t, res.GetRegionsById()[99])
	require.Nil(t, res.GetRegionsById()[99].GetRegion())
	require.NoError(t, stream.CloseSend())
}

func TestScans(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	beats := r.heartbeats()
	r.report(beats, regionAt(7, "", "g", 2, 1, 1))
	r.report(beats, regionAt(8, "g", "m", 2, 1, 1))
	r.report(beats, regionAt(2, "m", "", 2, 1, 1), func(q *pdpb.RegionHeartbeatRequest) {
		q.DownPeers = []*pdpb.PeerStats{{Peer: q.Leader, DownSeconds: 3}}
		q.PendingPeers = []*metapb.Peer{q.Leader}
	})
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return len(g.GetRegion().GetStartKey()) > 0 })
	scan, err := r.pd.ScanRegions(r.ctx, &pdpb.ScanRegionsRequest{ //nolint:staticcheck // clients still call it
		Header: r.header(), StartKey: []byte("h"), Limit: 5,
	})
	require.NoError(t, err)
	require.Len(t, scan.GetRegions(), 2)
	require.Len(t, scan.GetRegionMetas(), 2)
	require.Len(t, scan.GetLeaders(), 2)
	require.Equal(t, uint64(3), scan.GetRegions()[1].GetDownPeers()[0].GetDownSeconds())
	require.Len(t, scan.GetRegions()[1].GetPendingPeers(), 1)

	batch := func(whole bool, limit int32, ranges ...*pdpb.KeyRange) *pdpb.BatchScanRegionsResponse {
		res, err := r.pd.BatchScanRegions(r.ctx, &pdpb.BatchScanRegionsRequest{
			Header: r.header(), Ranges: ranges, Limit: limit, ContainAllKeyRange: whole,
		})
		require.NoError(t, err)
		return res
	}
	a, b := &pdpb.KeyRange{StartKey: []byte("a"), EndKey: []byte("h")}, &pdpb.KeyRange{StartKey: []byte("i")}
	require.Len(t, batch(true, 0, a, b).GetRegions(), 3)
	require.Len(t, batch(true, 2, a, b).GetRegions(), 2)
	r.report(beats, regionAt(8, "g", "k", 3, 1, 1))
	r.eventually(8, func(g *pdpb.GetRegionResponse) bool { return string(g.GetRegion().GetEndKey()) == "k" })
	require.Equal(t, pdpb.ErrorType_REGIONS_NOT_CONTAIN_ALL_KEY_RANGE, batch(true, 0, a, b).GetHeader().GetError().GetType())
	require.Len(t, batch(false, 0, a, b).GetRegions(), 3)

	prev, err := r.pd.GetPrevRegion(context.Background(), &pdpb.GetRegionRequest{Header: r.header(), RegionKey: []byte("h")})
	require.NoError(t, err)
	require.Equal(t, uint64(7), prev.GetRegion().GetId())
}

// Heartbeats in which only the load changes write nothing.
func TestUnchangedHeartbeatsDoNotTouchEtcd(t *testing.T) {
	r := newRig(t, func(cfg *server.Config) { cfg.TSOSaveInterval = time.Hour })
	r.bootstrap()
	beats, etcd := r.heartbeats(), r.etcd()
	revision := func() int64 {
		res, err := etcd.Get(r.ctx, "x")
		require.NoError(t, err)
		return res.Header.Revision
	}
	before := revision()
	for i := range uint64(100) {
		r.report(beats, firstRegion(), func(q *pdpb.RegionHeartbeatRequest) { q.BytesWritten, q.Term = i, 5+i })
		r.storeHeartbeat(1)
	}
	r.report(beats, regionAt(2, "", "", 1, 2, 1)) // refused for its term; its answer says that all before were taken in
	_, err := beats.Recv()
	require.NoError(t, err)
	require.Equal(t, before, revision())
}
