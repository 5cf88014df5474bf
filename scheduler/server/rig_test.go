package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/scheduler/schedulertest"
	"github.com/shoal-kv/shoal/scheduler/server"
)

const soon, poll = 20 * time.Second, 5 * time.Millisecond

// Members of one group in one process leave each other's idle HTTP connections open; a lone member leaves nothing. A log file's
// rotation never ends its goroutine.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	)
}

// clock is a clock that a test moves, on top of the real one.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time             { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) step(d time.Duration)       { c.ahead.Add(int64(d)) }
func (c *clock) stepTo(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// rig is one scheduler and a raw connection to it.
type rig struct {
	t    testing.TB
	ctx  context.Context
	cfg  server.Config
	wall clock
	s    *server.Server
	conn *grpc.ClientConn
	pd   pdpb.PDClient
}

func newRig(t testing.TB, change ...func(*server.Config)) *rig {
	r := &rig{t: t, ctx: context.Background(), cfg: schedulertest.Config(t)}
	r.cfg.Clocks.Wall = r.wall.now
	for _, c := range change {
		c(&r.cfg)
	}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start() {
	r.s = schedulertest.Run(r.t, r.cfg)
	conn, err := grpc.NewClient(strings.TrimPrefix(r.s.ClientURL(), "http://"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(r.t, err)
	r.conn, r.pd = conn, pdpb.NewPDClient(conn)
}

func (r *rig) stop() {
	_ = r.conn.Close()
	r.s.Close()
}

// restart is a clean stop and a start on the same data.
func (r *rig) restart() {
	r.stop()
	r.start()
}

func (r *rig) header() *pdpb.RequestHeader { return &pdpb.RequestHeader{ClusterId: r.s.ClusterID()} }

func (r *rig) bootstrap() {
	store, region := firstStore(), firstRegion()
	res, err := r.pd.Bootstrap(r.ctx, &pdpb.BootstrapRequest{Header: r.header(), Store: store, Region: region})
	require.NoError(r.t, err)
	require.Nil(r.t, res.GetHeader().GetError())
}

func firstStore() *metapb.Store {
	return &metapb.Store{Id: 1, Address: "127.0.0.1:20160", StatusAddress: "127.0.0.1:20180", Version: "8.5.0"}
}

func firstRegion() *metapb.Region {
	return &metapb.Region{
		Id: 2, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 3, StoreId: 1}},
	}
}

func (r *rig) putStore(id uint64) {
	res, err := r.pd.PutStore(r.ctx, &pdpb.PutStoreRequest{Header: r.header(), Store: &metapb.Store{
		Id: id, Address: fmt.Sprintf("127.0.0.1:%d", 20159+id), Version: "8.5.0",
	}})
	require.NoError(r.t, err)
	require.Nil(r.t, res.GetHeader().GetError())
}

func (r *rig) storeHeartbeat(id uint64) *pdpb.StoreHeartbeatResponse {
	res, err := r.pd.StoreHeartbeat(r.ctx, &pdpb.StoreHeartbeatRequest{
		Header: r.header(), Stats: &pdpb.StoreStats{StoreId: id, Capacity: 1 << 30, Available: 1 << 29},
	})
	require.NoError(r.t, err)
	return res
}

func (r *rig) heartbeats() pdpb.PD_RegionHeartbeatClient {
	ctx, cancel := context.WithCancel(r.ctx)
	r.t.Cleanup(cancel)
	stream, err := r.pd.RegionHeartbeat(ctx)
	require.NoError(r.t, err)
	return stream
}

// report sends one heartbeat of a region led by its first peer.
func (r *rig) report(stream pdpb.PD_RegionHeartbeatClient, region *metapb.Region, change ...func(*pdpb.RegionHeartbeatRequest)) {
	req := &pdpb.RegionHeartbeatRequest{
		Header: r.header(), Region: region, Leader: region.Peers[0], Term: 5, ApproximateSize: 1 << 20, ApproximateKeys: 100,
	}
	for _, c := range change {
		c(req)
	}
	require.NoError(r.t, stream.Send(req))
}

func (r *rig) region(id uint64) *pdpb.GetRegionResponse {
	res, err := r.pd.GetRegionByID(r.ctx, &pdpb.GetRegionByIDRequest{Header: r.header(), RegionId: id})
	require.NoError(r.t, err)
	return res
}

func (r *rig) allocID() uint64 {
	res, err := r.pd.AllocID(r.ctx, &pdpb.AllocIDRequest{Header: r.header()})
	require.NoError(r.t, err)
	return res.GetId()
}

// tso asks for one batch on a stream of its own and returns the last timestamp, composed.
func (r *rig) tso(count uint32) (uint64, error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	stream, err := r.pd.Tso(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pdpb.TsoRequest{Header: r.header(), Count: count}); err != nil {
		return 0, err
	}
	res, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	require.Equal(r.t, count, res.GetCount())
	return compose(res.GetTimestamp()), nil
}

func compose(ts *pdpb.Timestamp) uint64 {
	return uint64(ts.GetPhysical())<<18 | uint64(ts.GetLogical())
}

func (r *rig) etcd() *clientv3.Client {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{r.s.ClientURL()}, Logger: zap.NewNop()})
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// usurp gives the leader key to somebody else and waits until this scheduler has noticed.
func (r *rig) usurp() (giveBack func()) {
	key := fmt.Sprintf("/pd/%d/leader", r.s.ClusterID())
	etcd := r.etcd()
	for taken := false; !taken; { // unless the scheduler was back between the two steps
		_, err := etcd.Delete(r.ctx, key)
		require.NoError(r.t, err)
		put, err := etcd.Put(r.ctx, key, `{"id":7,"name":"other","client_urls":["http://127.0.0.1:1"]}`, clientv3.WithPrevKV())
		require.NoError(r.t, err)
		taken = put.PrevKv == nil
	}
	require.Eventually(r.t, func() bool { return !r.s.Leads() }, soon, poll)
	return func() {
		_, err := etcd.Delete(r.ctx, key)
		require.NoError(r.t, err)
		require.Eventually(r.t, r.s.Leads, soon, poll)
	}
}

// regionKey is where a region is saved.
func (r *rig) regionKey(id uint64) string {
	return fmt.Sprintf("/pd/%d/raft/r/%020d", r.s.ClusterID(), id)
}

func (r *rig) get(path string) (int, string) {
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Get(r.s.ClientURL() + path)
	require.NoError(r.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return res.StatusCode, string(body)
}

func requireCode(t testing.TB, code codes.Code, text string, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, status.Code(err), err.Error())
	require.Equal(t, text, status.Convert(err).Message())
}
