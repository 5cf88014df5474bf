package server

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingcap/kvproto/pkg/coprocessor"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/rpc"
)

func TestHealthAndStop(t *testing.T) {
	g, err := NewGRPC(NewServer(newStandalone(t, memdb.New())), GRPCConfig{StopTimeout: patience})
	require.NoError(t, err)
	conn := serve(t, g)
	health := grpc_health_v1.NewHealthClient(conn)
	resp, err := health.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, resp.Status)

	client := tikvpb.NewTikvClient(conn)
	put, err := client.RawPut(context.Background(), &kvrpcpb.RawPutRequest{Key: []byte("k"), Value: []byte("v")})
	require.NoError(t, err)
	require.Equal(t, &kvrpcpb.RawPutResponse{}, put)

	begin := time.Now()
	g.Stop(context.Background())
	g.Stop(context.Background()) // again is no harm
	require.Less(t, time.Since(begin), patience/2, "nothing was in work")
	_, err = health.Check(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	require.Equal(t, codes.Unavailable, status.Code(err))
}

func TestBadSecurity(t *testing.T) {
	_, err := NewGRPC(NewServer(newStandalone(t, memdb.New())), GRPCConfig{Security: rpc.Security{CA: "/nowhere", Cert: "/nowhere", Key: "/nowhere"}})
	require.ErrorContains(t, err, "nowhere")
}

// G2: what is not built says so.
func TestUnimplemented(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()))
	client, ctx := tikvpb.NewTikvClient(conn), context.Background()
	_, err := client.KvGet(ctx, &kvrpcpb.GetRequest{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	_, err = client.Coprocessor(ctx, &coprocessor.Request{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	_, err = client.UnsafeDestroyRange(ctx, &kvrpcpb.UnsafeDestroyRangeRequest{})
	require.Equal(t, codes.Unimplemented, status.Code(err))
	raft, err := client.BatchRaft(ctx)
	require.NoError(t, err)
	_, err = raft.CloseAndRecv()
	require.Equal(t, codes.Unimplemented, status.Code(err))
}

// fakeRaft counts what it receives.
type fakeRaft struct{ got chan string }

func (f *fakeRaft) Raft(s tikvpb.Tikv_RaftServer) error {
	m, err := s.Recv()
	f.got <- fmt.Sprint("raft ", m.GetRegionId())
	return err
}

func (f *fakeRaft) BatchRaft(s tikvpb.Tikv_BatchRaftServer) error {
	m, err := s.Recv()
	f.got <- fmt.Sprint("batch ", len(m.GetMsgs()))
	return err
}

func (f *fakeRaft) Snapshot(s tikvpb.Tikv_SnapshotServer) error {
	c, err := s.Recv()
	f.got <- fmt.Sprint("snapshot ", string(c.GetData()))
	return err
}

func TestRaftServiceIsDelegated(t *testing.T) {
	f := &fakeRaft{got: make(chan string, 1)}
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithRaft(f))
	client, ctx := tikvpb.NewTikvClient(conn), context.Background()
	raft, err := client.Raft(ctx)
	require.NoError(t, err)
	require.NoError(t, raft.Send(&raft_serverpb.RaftMessage{RegionId: 7}))
	require.Equal(t, "raft 7", <-f.got)
	batch, err := client.BatchRaft(ctx)
	require.NoError(t, err)
	require.NoError(t, batch.Send(&tikvpb.BatchRaftMessage{Msgs: []*raft_serverpb.RaftMessage{{}, {}}}))
	require.Equal(t, "batch 2", <-f.got)
	snap, err := client.Snapshot(ctx)
	require.NoError(t, err)
	require.NoError(t, snap.Send(&raft_serverpb.SnapshotChunk{Data: []byte("x")}))
	require.Equal(t, "snapshot x", <-f.got)
}

// endlessRaft reads until its stream breaks, as a transport does.
type endlessRaft struct {
	fakeRaft
	ended chan error
}

func (f *endlessRaft) BatchRaft(s tikvpb.Tikv_BatchRaftServer) error {
	for {
		m, err := s.Recv()
		if err != nil {
			f.ended <- err
			return err
		}
		f.got <- fmt.Sprint("batch ", len(m.Msgs))
	}
}

// A stopping server hears other stores until its clients are answered, and no longer.
func TestRaftStreamsOutliveClientsStreams(t *testing.T) {
	f := &endlessRaft{fakeRaft: fakeRaft{got: make(chan string, 1)}, ended: make(chan error, 1)}
	held := make(chan func(error), 1)
	s := &hooked{Storage: newStandalone(t, memdb.New())}
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }
	g, conn := startServer(t, s, WithRaft(f), WithLimits(Limits{DrainTimeout: patience}))
	raft, err := tikvpb.NewTikvClient(conn).BatchRaft(context.Background())
	require.NoError(t, err)
	hear := func() {
		require.NoError(t, raft.Send(&tikvpb.BatchRaftMessage{Msgs: []*raft_serverpb.RaftMessage{{}}}))
		require.Equal(t, "batch 1", <-f.got)
	}
	hear()
	c, idle := newBatchClient(t, conn), newBatchClient(t, conn)
	idle.ask(emptyCmd(1, 0))
	c.send(1, putCmd(nil, "k", "v"))
	done := <-held
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.Stop(context.Background())
	}()
	_, err = idle.stream.Recv() // the server is stopping
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	hear()
	done(nil)
	require.NotNil(t, c.receive(1)[1].GetRawPut())
	<-stopped
	require.Error(t, <-f.ended)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithRegistry(registry))
	c := newBatchClient(t, conn)
	c.ask(putCmd(nil, "a", "1"), putCmd(nil, "b", "1"), deleteCmd(nil, "b"), putCmd(nil, "", "refused"))
	c.ask(getCmd(nil, "a"), scanCmd(nil, "a", 1))
	_, err := tikvpb.NewTikvClient(conn).RawGet(context.Background(), &kvrpcpb.RawGetRequest{Key: []byte("a")})
	require.NoError(t, err)

	counts := func(name string) map[string]float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		got := map[string]float64{}
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
			for _, m := range f.Metric {
				n := m.GetCounter().GetValue()
				if h := m.GetHistogram(); h != nil {
					n = float64(h.GetSampleCount())
					require.GreaterOrEqual(t, h.GetSampleSum(), 0.0)
				}
				if n > 0 {
					got[m.Label[0].GetValue()] = n
				}
			}
		}
		return got
	}
	want := map[string]float64{"raw_put": 3, "raw_delete": 1, "raw_get": 2, "raw_scan": 1}
	// A command is counted around the time of its answer.
	require.Eventually(t, func() bool { return fmt.Sprint(counts("tikv_storage_command_total")) == fmt.Sprint(want) }, patience, time.Millisecond)
	require.Equal(t, want, counts("tikv_grpc_msg_duration_seconds"))
	require.Equal(t, map[string]float64{"raw_put": 1}, counts("tikv_grpc_msg_fail_total"))
}

func TestHistogramBuckets(t *testing.T) {
	var h histogram
	h.observe(0, 1)
	h.observe(50*time.Microsecond, 2)
	h.observe(51*time.Microsecond, 4)
	h.observe(time.Hour, 8)
	require.Equal(t, uint64(3), h.counts[0].Load())
	require.Equal(t, uint64(4), h.counts[1].Load())
	require.Equal(t, uint64(8), h.counts[numBuckets].Load())
}

// Clients ping idle connections every 10 s: for many minutes, in virtual time, a server of ours must not answer GOAWAY "too_many_pings", as grpc's
// own policy does.
func TestKeepalivePolicy(t *testing.T) {
	lost := func(t *testing.T, server *grpc.Server) (lost bool) {
		synctest.Test(t, func(t *testing.T) {
			listener := bufconn.Listen(1 << 16)
			go func() { _ = server.Serve(listener) }()
			conn, err := grpc.NewClient("passthrough:///bufconn",
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
			)
			require.NoError(t, err)
			conn.Connect()
			for s := conn.GetState(); s != connectivity.Ready; s = conn.GetState() {
				require.True(t, conn.WaitForStateChange(context.Background(), s))
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute) // below grpc's own idle timeout
			lost = conn.WaitForStateChange(ctx, connectivity.Ready)
			cancel()
			require.NoError(t, conn.Close())
			server.Stop()
		})
		return lost
	}
	require.True(t, lost(t, grpc.NewServer()), "the test must be able to fail")
	g, err := NewGRPC(NewServer(newStandalone(t, memdb.New())), GRPCConfig{})
	require.NoError(t, err)
	require.False(t, lost(t, g.grpc))
}
