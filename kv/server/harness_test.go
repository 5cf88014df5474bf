package server

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/standalone"
	"github.com/shoal-kv/shoal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; nothing that works comes near it.
const patience = 20 * time.Second

// onEveryEngine runs a test over standalone storage on each engine.
func onEveryEngine(t *testing.T, test func(t *testing.T, s storage.Storage)) {
	t.Run("memdb", func(t *testing.T) { test(t, newStandalone(t, memdb.New())) })
	t.Run("pebbledb", func(t *testing.T) {
		db, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir(), BlockCacheBytes: 1 << 20})
		require.NoError(t, err)
		test(t, newStandalone(t, db))
	})
}

// newStandalone returns storage that ends with the test, with its engine.
func newStandalone(t testing.TB, e engine.Engine) *standalone.Storage {
	s := standalone.New(e, standalone.Options{})
	t.Cleanup(func() {
		s.Close()
		require.NoError(t, e.Close())
	})
	return s
}

// startServer serves s on loopback until the test ends.
func startServer(t testing.TB, s storage.Storage, opts ...Option) (*GRPC, *grpc.ClientConn) {
	g, err := NewGRPC(NewServer(s, opts...), GRPCConfig{})
	require.NoError(t, err)
	return g, serve(t, g)
}

func serve(t testing.TB, g *GRPC) *grpc.ClientConn {
	listener := listen(t)
	served := make(chan error, 1)
	go func() { served <- g.Serve(listener) }()
	conn, err := rpc.Dial(listener.Addr().String(), rpc.Security{})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		g.Stop(context.Background())
		require.NoError(t, <-served)
	})
	return conn
}

func listen(t testing.TB) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}

// batchClient speaks on one BatchCommands stream.
type batchClient struct {
	t      testing.TB
	stream tikvpb.Tikv_BatchCommandsClient
	cancel context.CancelFunc
}

func newBatchClient(t testing.TB, conn *grpc.ClientConn) *batchClient {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	stream, err := tikvpb.NewTikvClient(conn).BatchCommands(ctx)
	require.NoError(t, err)
	return &batchClient{t: t, stream: stream, cancel: cancel}
}

func (c *batchClient) send(firstID uint64, requests ...*request) {
	ids := make([]uint64, len(requests))
	for i := range ids {
		ids[i] = firstID + uint64(i)
	}
	require.NoError(c.t, c.stream.Send(&tikvpb.BatchCommandsRequest{Requests: requests, RequestIds: ids}))
}

// receive returns the next n answers by id, and fails when one comes twice.
func (c *batchClient) receive(n int) map[uint64]*response {
	got := make(map[uint64]*response)
	for len(got) < n {
		msg, err := c.stream.Recv()
		require.NoError(c.t, err, "with %d of %d answers", len(got), n)
		require.Len(c.t, msg.RequestIds, len(msg.Responses))
		for i, id := range msg.RequestIds {
			require.NotContains(c.t, got, id)
			got[id] = msg.Responses[i]
		}
	}
	require.Len(c.t, got, n)
	return got
}

// ask sends requests with ids 1, 2, … and returns their answers.
func (c *batchClient) ask(requests ...*request) map[uint64]*response {
	c.send(1, requests...)
	return c.receive(len(requests))
}

func getCmd(c *kvrpcpb.Context, key string) *request {
	return &request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawGet{RawGet: &kvrpcpb.RawGetRequest{Context: c, Key: []byte(key)}}}
}

func putCmd(c *kvrpcpb.Context, key, value string) *request {
	return &request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawPut{
		RawPut: &kvrpcpb.RawPutRequest{Context: c, Key: []byte(key), Value: []byte(value)},
	}}
}

func deleteCmd(c *kvrpcpb.Context, key string) *request {
	return &request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawDelete{RawDelete: &kvrpcpb.RawDeleteRequest{Context: c, Key: []byte(key)}}}
}

func scanCmd(c *kvrpcpb.Context, start string, limit uint32) *request {
	return &request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawScan{
		RawScan: &kvrpcpb.RawScanRequest{Context: c, StartKey: []byte(start), Limit: limit},
	}}
}

func emptyCmd(testID, delayMs uint64) *request {
	return &request{Cmd: &tikvpb.BatchCommandsRequest_Request_Empty{
		Empty: &tikvpb.BatchCommandsEmptyRequest{TestId: testID, DelayTime: delayMs},
	}}
}

// hooked is a storage whose calls a test can take over.
type hooked struct {
	storage.Storage
	read  func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error))
	write func(ctx context.Context, at storage.Target, batch []storage.Modify, done func(error))
}

func (h *hooked) Read(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
	if h.read != nil {
		h.read(ctx, at, done)
		return
	}
	h.Storage.Read(ctx, at, done)
}

func (h *hooked) Write(ctx context.Context, at storage.Target, term uint64, batch []storage.Modify, done func(error)) {
	if h.write != nil {
		h.write(ctx, at, batch, done)
		return
	}
	h.Storage.Write(ctx, at, term, batch, done)
}

// mustPut writes through the storage, below the server.
func mustPut(t testing.TB, s storage.Storage, cf engine.CF, key, value string) {
	m := storage.Modify{Op: storage.Put, CF: cf, Key: []byte(key), Value: []byte(value)}
	require.NoError(t, storage.Apply(context.Background(), s, storage.Target{}, 0, []storage.Modify{m}))
}

// mustGet reads through the storage; nil means absent.
func mustGet(t testing.TB, s storage.Storage, cf engine.CF, key string) []byte {
	snap, err := storage.Snap(context.Background(), s, storage.Target{})
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	value, err := snap.Get(cf, []byte(key))
	require.NoError(t, err)
	return value
}
