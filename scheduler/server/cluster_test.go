package server_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/meta_storagepb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

type answer interface{ GetHeader() *pdpb.ResponseHeader }

// ask makes a call without caring about its answer's type.
func ask[Q any, A answer](call func(context.Context, Q, ...grpc.CallOption) (A, error), req Q) func() (answer, error) {
	return func() (answer, error) {
		res, err := call(context.Background(), req)
		return res, err
	}
}

// needBootstrap are the calls that mean nothing before the cluster is bootstrapped.
func (r *rig) needBootstrap() map[string]func() (answer, error) {
	h, region := r.header(), firstRegion()
	return map[string]func() (answer, error){
		"GetClusterConfig":         ask(r.pd.GetClusterConfig, &pdpb.GetClusterConfigRequest{Header: h}),
		"PutClusterConfig":         ask(r.pd.PutClusterConfig, &pdpb.PutClusterConfigRequest{Header: h}),
		"GetStore":                 ask(r.pd.GetStore, &pdpb.GetStoreRequest{Header: h}),
		"PutStore":                 ask(r.pd.PutStore, &pdpb.PutStoreRequest{Header: h}),
		"GetAllStores":             ask(r.pd.GetAllStores, &pdpb.GetAllStoresRequest{Header: h}),
		"StoreHeartbeat":           ask(r.pd.StoreHeartbeat, &pdpb.StoreHeartbeatRequest{Header: h, Stats: &pdpb.StoreStats{}}),
		"GetRegion":                ask(r.pd.GetRegion, &pdpb.GetRegionRequest{Header: h}),
		"GetPrevRegion":            ask(r.pd.GetPrevRegion, &pdpb.GetRegionRequest{Header: h}),
		"GetRegionByID":            ask(r.pd.GetRegionByID, &pdpb.GetRegionByIDRequest{Header: h}),
		"ScanRegions":              ask(r.pd.ScanRegions, &pdpb.ScanRegionsRequest{Header: h}), //nolint:staticcheck // clients still call it
		"BatchScanRegions":         ask(r.pd.BatchScanRegions, &pdpb.BatchScanRegionsRequest{Header: h}),
		"AskSplit":                 ask(r.pd.AskSplit, &pdpb.AskSplitRequest{Header: h, Region: region}),
		"AskBatchSplit":            ask(r.pd.AskBatchSplit, &pdpb.AskBatchSplitRequest{Header: h, Region: region}),
		"ReportBatchSplit":         ask(r.pd.ReportBatchSplit, &pdpb.ReportBatchSplitRequest{Header: h}),
		"ScatterRegion":            ask(r.pd.ScatterRegion, &pdpb.ScatterRegionRequest{Header: h}),
		"GetOperator":              ask(r.pd.GetOperator, &pdpb.GetOperatorRequest{Header: h}),
		"GetGCSafePoint":           ask(r.pd.GetGCSafePoint, &pdpb.GetGCSafePointRequest{Header: h}),
		"UpdateGCSafePoint":        ask(r.pd.UpdateGCSafePoint, &pdpb.UpdateGCSafePointRequest{Header: h}),
		"UpdateServiceGCSafePoint": ask(r.pd.UpdateServiceGCSafePoint, &pdpb.UpdateServiceGCSafePointRequest{Header: h}),
		"ReportMinResolvedTS":      ask(r.pd.ReportMinResolvedTS, &pdpb.ReportMinResolvedTsRequest{Header: h}),
	}
}

func TestNotBootstrapped(t *testing.T) {
	r := newRig(t)
	want := &pdpb.Error{Type: pdpb.ErrorType_NOT_BOOTSTRAPPED, Message: "cluster is not bootstrapped"}
	for name, call := range r.needBootstrap() {
		res, err := call()
		require.NoError(t, err, name)
		require.Equal(t, want, res.GetHeader().GetError(), name)
	}
	query, err := r.pd.QueryRegion(r.ctx)
	require.NoError(t, err)
	require.NoError(t, query.Send(&pdpb.QueryRegionRequest{Header: r.header(), Ids: []uint64{1}}))
	res, err := query.Recv()
	require.NoError(t, err)
	require.Equal(t, want, res.GetHeader().GetError())

	beats := r.heartbeats()
	r.report(beats, firstRegion())
	require.NoError(t, beats.CloseSend()) // the stream ends, but what was sent before is answered or dropped: both are fine
	code, body := r.get("/pd/api/v1/stores")
	require.Equal(t, 500, code)
	require.Equal(t, "\"[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first\"\n", body)
}

// TestCheckClusterID: a request that is meant for another cluster, or names none, is refused by every call but those that
// tell the id.
func TestCheckClusterID(t *testing.T) {
	r := newRig(t)
	for _, id := range []uint64{0, r.s.ClusterID() + 1} {
		text := fmt.Sprintf("mismatch cluster id, need %d but got %d", r.s.ClusterID(), id)
		h := &pdpb.RequestHeader{ClusterId: id}
		_, err := r.pd.AllocID(r.ctx, &pdpb.AllocIDRequest{Header: h})
		requireCode(t, codes.FailedPrecondition, text, err)
		_, err = r.pd.IsBootstrapped(r.ctx, &pdpb.IsBootstrappedRequest{Header: h})
		requireCode(t, codes.FailedPrecondition, text, err)
		tso, err := r.pd.Tso(r.ctx)
		require.NoError(t, err)
		require.NoError(t, tso.Send(&pdpb.TsoRequest{Header: h, Count: 1}))
		_, err = tso.Recv()
		requireCode(t, codes.FailedPrecondition, text, err)
		query, err := r.pd.QueryRegion(r.ctx)
		require.NoError(t, err)
		require.NoError(t, query.Send(&pdpb.QueryRegionRequest{Header: h}))
		_, err = query.Recv()
		requireCode(t, codes.FailedPrecondition, text, err)
		beats := r.heartbeats()
		require.NoError(t, beats.Send(&pdpb.RegionHeartbeatRequest{Header: h}))
		_, err = beats.Recv()
		requireCode(t, codes.FailedPrecondition, text, err)
		_, err = r.pd.GetMembers(r.ctx, &pdpb.GetMembersRequest{Header: h})
		require.NoError(t, err)
	}
}

// TestBootstrap: it happens once, whole or not at all, and lasts. S20
func TestBootstrap(t *testing.T) {
	r := newRig(t)
	bad := firstRegion()
	bad.StartKey = []byte("a")
	_, err := r.pd.Bootstrap(r.ctx, &pdpb.BootstrapRequest{Header: r.header(), Store: firstStore(), Region: bad})
	requireCode(t, codes.Unknown, "invalid first region key range, must all be empty for bootstrap", err)
	res, err := r.pd.IsBootstrapped(r.ctx, &pdpb.IsBootstrappedRequest{Header: r.header()})
	require.NoError(t, err)
	require.False(t, res.GetBootstrapped())
	r.bootstrap()
	for range 2 {
		again, err := r.pd.Bootstrap(r.ctx, &pdpb.BootstrapRequest{
			Header: r.header(), Store: &metapb.Store{Id: 9, Address: "x"}, Region: firstRegion(),
		})
		require.NoError(t, err)
		require.Equal(t, pdpb.ErrorType_ALREADY_BOOTSTRAPPED, again.GetHeader().GetError().GetType())
		stores, err := r.pd.GetAllStores(r.ctx, &pdpb.GetAllStoresRequest{Header: r.header()})
		require.NoError(t, err)
		require.Equal(t, []*metapb.Store{firstStore()}, stores.GetStores())
		require.Equal(t, firstRegion(), r.region(2).GetRegion())
		r.restart()
	}
	config, err := r.pd.GetClusterConfig(r.ctx, &pdpb.GetClusterConfigRequest{Header: r.header()})
	require.NoError(t, err)
	require.Equal(t, &metapb.Cluster{Id: r.s.ClusterID(), MaxPeerCount: 3}, config.GetCluster())
}

func TestClusterConfigIsDurable(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	_, err := r.pd.PutClusterConfig(r.ctx, &pdpb.PutClusterConfigRequest{Header: r.header(), Cluster: &metapb.Cluster{Id: 1}})
	require.ErrorContains(t, err, "mismatch cluster id")
	want := &metapb.Cluster{Id: r.s.ClusterID(), MaxPeerCount: 5}
	_, err = r.pd.PutClusterConfig(r.ctx, &pdpb.PutClusterConfigRequest{Header: r.header(), Cluster: want})
	require.NoError(t, err)
	r.restart()
	got, err := r.pd.GetClusterConfig(r.ctx, &pdpb.GetClusterConfigRequest{Header: r.header()})
	require.NoError(t, err)
	require.Equal(t, want, got.GetCluster())
}

// TestStores: registering, moving, refusing duplicates, and tombstones. S19, P10
func TestStores(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	put := func(s *metapb.Store) *pdpb.Error {
		res, err := r.pd.PutStore(r.ctx, &pdpb.PutStoreRequest{Header: r.header(), Store: s})
		require.NoError(t, err)
		return res.GetHeader().GetError()
	}
	get := func(id uint64) *metapb.Store {
		res, err := r.pd.GetStore(r.ctx, &pdpb.GetStoreRequest{Header: r.header(), StoreId: id})
		require.NoError(t, err)
		return res.GetStore()
	}
	two := &metapb.Store{Id: 4, Address: "127.0.0.1:20161", Version: "8.5.0", Labels: []*metapb.StoreLabel{{Key: "zone", Value: "z"}}}
	require.Nil(t, put(two))
	require.Equal(t, two, get(4))
	taken := put(&metapb.Store{Id: 5, Address: "127.0.0.1:20161", Version: "8.5.0"})
	require.Equal(t, pdpb.ErrorType_UNKNOWN, taken.GetType())
	require.Contains(t, taken.GetMessage(), "duplicated store address: id:5 ")

	moved := *two
	moved.Address = "127.0.0.1:30000"
	moved.State, moved.NodeState = metapb.StoreState_Offline, metapb.NodeState_Removing
	require.Nil(t, put(&moved))
	require.Equal(t, "127.0.0.1:30000", get(4).GetAddress())
	require.Equal(t, metapb.StoreState_Up, get(4).GetState(), "a store does not decide its own state")
	require.Nil(t, put(&metapb.Store{Id: 5, Address: "127.0.0.1:20161", Version: "8.5.0"}), "the old address is free")

	buried := &metapb.Store{Id: 6, Address: "127.0.0.1:20161", Version: "8.5.0", State: metapb.StoreState_Tombstone}
	value, err := buried.Marshal()
	require.NoError(t, err)
	_, err = r.etcd().Put(r.ctx, fmt.Sprintf("/pd/%d/raft/s/%020d", r.s.ClusterID(), 6), string(value))
	require.NoError(t, err)
	r.restart()
	require.Equal(t, "127.0.0.1:30000", get(4).GetAddress(), "moved for good")
	require.Equal(t, metapb.StoreState_Tombstone, get(6).GetState())
	require.Equal(t, pdpb.ErrorType_STORE_TOMBSTONE, put(buried).GetType())
	require.Equal(t, pdpb.ErrorType_STORE_TOMBSTONE, r.storeHeartbeat(6).GetHeader().GetError().GetType())
	for exclude, want := range map[bool]int{false: 4, true: 3} {
		res, err := r.pd.GetAllStores(r.ctx, &pdpb.GetAllStoresRequest{Header: r.header(), ExcludeTombstoneStores: exclude})
		require.NoError(t, err)
		require.Len(t, res.GetStores(), want)
	}
	_, err = r.pd.PutStore(r.ctx, &pdpb.PutStoreRequest{Header: r.header()})
	require.ErrorContains(t, err, "invalid put store command")
}

// TestStoreHeartbeat: a store's figures are kept, and an unknown one is refused.
func TestStoreHeartbeat(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	res := r.storeHeartbeat(1)
	require.Nil(t, res.GetHeader().GetError())
	require.Equal(t, "8.5.0", res.GetClusterVersion())
	got, err := r.pd.GetStore(r.ctx, &pdpb.GetStoreRequest{Header: r.header(), StoreId: 1})
	require.NoError(t, err)
	require.Equal(t, uint64(1<<30), got.GetStats().GetCapacity())
	require.Equal(t, "store 9 not found", r.storeHeartbeat(9).GetHeader().GetError().GetMessage())
	_, err = r.pd.StoreHeartbeat(r.ctx, &pdpb.StoreHeartbeatRequest{Header: r.header()})
	require.ErrorContains(t, err, "invalid store heartbeat command")
}

func TestSafePointsAreDurable(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	update := func(to uint64) uint64 {
		res, err := r.pd.UpdateGCSafePoint(r.ctx, &pdpb.UpdateGCSafePointRequest{Header: r.header(), SafePoint: to})
		require.NoError(t, err)
		return res.GetNewSafePoint()
	}
	claim := func(id string, ttl int64, at uint64) string {
		res, err := r.pd.UpdateServiceGCSafePoint(r.ctx, &pdpb.UpdateServiceGCSafePointRequest{
			Header: r.header(), ServiceId: []byte(id), TTL: ttl, SafePoint: at,
		})
		require.NoError(t, err)
		return fmt.Sprintf("%s %d", res.GetServiceId(), res.GetMinSafePoint())
	}
	require.Equal(t, uint64(70), update(70))
	require.Equal(t, "gc_worker 0", claim("br", 1000, 50))
	require.Equal(t, "br 50", claim("gc_worker", 1<<63-1, 90))
	r.restart()
	require.Equal(t, uint64(70), update(60), "it never goes back")
	require.Equal(t, "br 50", claim("cdc", 10, 40), "a claim on what may be gone is not taken")
	require.Equal(t, "br 50", claim("cdc", 10, 60))
	require.Equal(t, "cdc 60", claim("br", 0, 0))
	r.wall.step(1000 * 1e9)
	require.Equal(t, "gc_worker 90", claim("br", -1, 0), "a claim that ran out is forgotten")
	_, err := r.pd.UpdateServiceGCSafePoint(r.ctx, &pdpb.UpdateServiceGCSafePointRequest{Header: r.header(), TTL: 1})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestSmallServices(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	health, err := grpc_health_v1.NewHealthClient(r.conn).Check(r.ctx, &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, health.GetStatus())
	got, err := meta_storagepb.NewMetaStorageClient(r.conn).Get(r.ctx, &meta_storagepb.GetRequest{Key: []byte("x")})
	require.NoError(t, err)
	require.Empty(t, got.GetKvs())
	require.Equal(t, r.s.ClusterID(), got.GetHeader().GetClusterId())
	scatter, err := r.pd.ScatterRegion(r.ctx, &pdpb.ScatterRegionRequest{Header: r.header(), RegionsId: []uint64{2}})
	require.NoError(t, err)
	require.Zero(t, scatter.GetFinishedPercentage(), "nobody leads the region yet")
	_, err = r.pd.SyncMaxTS(r.ctx, &pdpb.SyncMaxTSRequest{})
	require.Equal(t, codes.Unimplemented, status.Code(err))

	// etcd itself is on the same port: transaction clients look members up there.
	etcd := r.etcd()
	members, err := etcd.MemberList(r.ctx)
	require.NoError(t, err)
	require.Equal(t, []string{r.s.ClientURL()}, members.Members[0].ClientURLs)
	kv, err := etcd.Get(r.ctx, "/tidb/store/gcworker/saved_safe_point")
	require.NoError(t, err)
	require.Empty(t, kv.Kvs)
}

func TestReportBatchSplit(t *testing.T) {
	r := newRig(t)
	r.bootstrap()
	report := func(parts ...*metapb.Region) *pdpb.Error {
		res, err := r.pd.ReportBatchSplit(r.ctx, &pdpb.ReportBatchSplitRequest{Header: r.header(), Regions: parts})
		require.NoError(t, err)
		return res.GetHeader().GetError()
	}
	left, right := &metapb.Region{Id: 4, EndKey: []byte("m")}, &metapb.Region{Id: 2, StartKey: []byte("m")}
	require.Nil(t, report(left, right))
	require.Contains(t, report(right, left).GetMessage(), "invalid split region")
	require.Contains(t, report(left).GetMessage(), "fewer than two")
}
