package server

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

func TestBatchCommandsMixed(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		_, conn := startServer(t, s)
		c := newBatchClient(t, conn)
		in := &kvrpcpb.Context{RegionId: 1}

		got := c.ask(
			putCmd(in, "a", "1"), putCmd(in, "b", ""), deleteCmd(in, "c"),
			&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchPut{RawBatchPut: &kvrpcpb.RawBatchPutRequest{
				Context: in, Pairs: []*kvrpcpb.KvPair{{Key: []byte("x"), Value: []byte("24")}, {Key: []byte("y"), Value: []byte("25")}},
			}}},
		)
		require.Equal(t, &kvrpcpb.RawPutResponse{}, got[1].GetRawPut())
		require.Equal(t, &kvrpcpb.RawPutResponse{}, got[2].GetRawPut())
		require.Equal(t, &kvrpcpb.RawDeleteResponse{}, got[3].GetRawDelete())
		require.Equal(t, &kvrpcpb.RawBatchPutResponse{}, got[4].GetRawBatchPut())

		got = c.ask(
			getCmd(in, "a"), getCmd(in, "b"), getCmd(in, "nope"), scanCmd(in, "x", 2),
			&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchGet{RawBatchGet: &kvrpcpb.RawBatchGetRequest{
				Context: in, Keys: [][]byte{[]byte("y"), []byte("nope"), []byte("a")},
			}}},
			emptyCmd(7, 0),
		)
		require.Equal(t, "1", string(got[1].GetRawGet().GetValue()))
		require.False(t, got[2].GetRawGet().NotFound)
		require.Empty(t, got[2].GetRawGet().Value)
		require.Equal(t, &kvrpcpb.RawGetResponse{NotFound: true}, got[3].GetRawGet())
		require.Equal(t, []*kvrpcpb.KvPair{{Key: []byte("x"), Value: []byte("24")}, {Key: []byte("y"), Value: []byte("25")}}, got[4].GetRawScan().GetKvs())
		require.Equal(t, []*kvrpcpb.KvPair{{Key: []byte("y"), Value: []byte("25")}, {Key: []byte("a"), Value: []byte("1")}}, got[5].GetRawBatchGet().GetPairs())
		require.Equal(t, uint64(7), got[6].GetEmpty().GetTestId())

		got = c.ask(
			&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchDelete{RawBatchDelete: &kvrpcpb.RawBatchDeleteRequest{Context: in, Keys: [][]byte{[]byte("x")}}}},
			&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawDeleteRange{RawDeleteRange: &kvrpcpb.RawDeleteRangeRequest{Context: in, StartKey: []byte("a"), EndKey: []byte("b")}}},
			&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawDeleteRange{RawDeleteRange: &kvrpcpb.RawDeleteRangeRequest{Context: in, StartKey: []byte("b"), EndKey: []byte("b")}}},
		)
		require.Equal(t, &kvrpcpb.RawBatchDeleteResponse{}, got[1].GetRawBatchDelete())
		require.Equal(t, &kvrpcpb.RawDeleteRangeResponse{}, got[2].GetRawDeleteRange())
		require.Equal(t, &kvrpcpb.RawDeleteRangeResponse{}, got[3].GetRawDeleteRange())
		require.Len(t, c.ask(scanCmd(in, "", 10))[1].GetRawScan().Kvs, 2) // b and y are left
	})
}

// One message's point commands ask the storage once for each region and direction, not once each.
func TestBatchCommandsShareQuestions(t *testing.T) {
	under := newStandalone(t, memdb.New())
	var mu sync.Mutex
	reads, writes := map[uint64]int{}, map[uint64]int{}
	s := &hooked{Storage: under}
	s.read = func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		mu.Lock()
		reads[at.RegionID]++
		mu.Unlock()
		under.Read(ctx, storage.Target{}, done)
	}
	s.write = func(ctx context.Context, at storage.Target, batch []storage.Modify, done func(error)) {
		mu.Lock()
		writes[at.RegionID] += len(batch)
		writes[0]++
		mu.Unlock()
		under.Write(ctx, storage.Target{}, 0, batch, done)
	}
	_, conn := startServer(t, s)
	var requests []*request
	for i := range 30 {
		in := &kvrpcpb.Context{RegionId: uint64(10 + i%3), Peer: &metapb.Peer{Id: 3, StoreId: 4}}
		requests = append(requests, getCmd(in, "k"), putCmd(in, fmt.Sprint(i), "v"))
	}
	for _, cmd := range newBatchClient(t, conn).ask(requests...) {
		require.Nil(t, cmd.GetRawPut().GetRegionError())
		require.Nil(t, cmd.GetRawGet().GetRegionError())
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, map[uint64]int{10: 1, 11: 1, 12: 1}, reads)
	require.Equal(t, map[uint64]int{0: 3, 10: 10, 11: 10, 12: 10}, writes)
}

// A slow command does not hold up the ones behind it.
func TestBatchCommandsOutOfOrder(t *testing.T) {
	under := newStandalone(t, memdb.New())
	held := make(chan func(error), 1)
	s := &hooked{Storage: under, write: func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }}
	_, conn := startServer(t, s)
	c := newBatchClient(t, conn)
	c.send(1, putCmd(nil, "k", "v"))
	done := <-held
	c.send(2, getCmd(nil, "k"))
	require.True(t, c.receive(1)[2].GetRawGet().NotFound)
	done(nil)
	require.NotNil(t, c.receive(1)[1].GetRawPut())
}

// One command's error is its own.
func TestBatchCommandsErrorPerCommand(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithLimits(Limits{MaxKeySize: 4}))
	c := newBatchClient(t, conn)
	badCF := getCmd(nil, "a")
	badCF.GetRawGet().Cf = "nope"
	ttl := putCmd(nil, "a", "1")
	ttl.GetRawPut().Ttl = 9
	got := c.ask(
		putCmd(nil, "good", "1"), putCmd(nil, "12345", "too long"), putCmd(nil, "", "empty"), badCF, ttl,
		putCmd(&kvrpcpb.Context{RegionId: 77}, "a", "1"), getCmd(&kvrpcpb.Context{RegionId: 77}, "a"),
		putCmd(&kvrpcpb.Context{ApiVersion: kvrpcpb.APIVersion_V2}, "a", "1"),
		getCmd(nil, "12345"),
	)
	require.Equal(t, &kvrpcpb.RawPutResponse{}, got[1].GetRawPut())
	require.Equal(t, "max key size exceeded, size: 5, limit: 4 (storage.max-key-size)", got[2].GetRawPut().Error)
	require.Equal(t, "an empty key cannot be written", got[3].GetRawPut().Error)
	require.Contains(t, got[4].GetRawGet().Error, `unknown column family "nope"`)
	require.Contains(t, got[5].GetRawPut().Error, "ttl is not enabled, but get put request with ttl")
	require.Equal(t, uint64(77), got[6].GetRawPut().GetRegionError().GetRegionNotFound().GetRegionId())
	require.Equal(t, uint64(77), got[7].GetRawGet().GetRegionError().GetRegionNotFound().GetRegionId())
	require.Contains(t, got[8].GetRawPut().Error, "api version")
	require.True(t, got[9].GetRawGet().NotFound)
}

// A batch that is rejected for one key's sake is tried key by key.
func TestBatchCommandsRetryOneByOne(t *testing.T) {
	under := newStandalone(t, memdb.New())
	s := &hooked{Storage: under}
	s.write = func(ctx context.Context, at storage.Target, batch []storage.Modify, done func(error)) {
		for _, m := range batch {
			if bytes.HasPrefix(m.Key, []byte("z")) {
				done(&region.KeyNotInRegionError{Key: m.Key, Region: &metapb.Region{Id: 1, EndKey: []byte("z")}})
				return
			}
		}
		under.Write(ctx, at, 0, batch, done)
	}
	_, conn := startServer(t, s)
	got := newBatchClient(t, conn).ask(putCmd(nil, "a", "1"), putCmd(nil, "z1", "1"), deleteCmd(nil, "b"), deleteCmd(nil, "z2"))
	require.Equal(t, &kvrpcpb.RawPutResponse{}, got[1].GetRawPut())
	require.Equal(t, "z1", string(got[2].GetRawPut().RegionError.KeyNotInRegion.Key))
	require.Equal(t, &kvrpcpb.RawDeleteResponse{}, got[3].GetRawDelete())
	require.Equal(t, "z2", string(got[4].GetRawDelete().RegionError.KeyNotInRegion.Key))
	require.Equal(t, "1", string(mustGet(t, under, engine.Default, "a")))
}

// Every command gets an answer of its own type, also what is not built.
func TestBatchCommandsUnknownAreAnswered(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithStoreID(5))
	c := newBatchClient(t, conn)
	wrappers := (&request{}).XXX_OneofWrappers()
	var requests []*request
	for _, w := range wrappers {
		cmd := reflect.New(reflect.TypeOf(w).Elem())
		cmd.Elem().Field(0).Set(reflect.New(cmd.Elem().Field(0).Type().Elem()))
		req := &request{}
		reflect.ValueOf(req).Elem().FieldByName("Cmd").Set(cmd)
		requests = append(requests, req)
	}
	require.Len(t, requests, 35)
	got := c.ask(requests...)
	for i, w := range wrappers {
		asked := strings.TrimPrefix(reflect.TypeOf(w).String(), "*tikvpb.BatchCommandsRequest_Request_")
		require.NotNil(t, got[uint64(i+1)].Cmd, asked)
		answered := strings.TrimPrefix(reflect.TypeOf(got[uint64(i+1)].Cmd).String(), "*tikvpb.BatchCommandsResponse_Response_")
		require.Equal(t, asked, answered)
	}
	// A command from a later version of the protocol.
	later := &request{XXX_unrecognized: []byte{0xea, 0x07, 0x00}} // field 125, empty
	require.NotNil(t, c.ask(later)[1].GetEmpty())
	for _, text := range []string{
		got[22].GetCoprocessor().GetOtherError(), got[1].GetGet().GetError().GetAbort(), got[3].GetPrewrite().GetErrors()[0].GetAbort(),
	} {
		require.Equal(t, unsupportedText, text)
	}
}

func TestBatchCommandsHealthFeedback(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithStoreID(5))
	c := newBatchClient(t, conn)
	last := uint64(0)
	for range 2 {
		c.send(1, &request{Cmd: &tikvpb.BatchCommandsRequest_Request_GetHealthFeedback{GetHealthFeedback: &kvrpcpb.GetHealthFeedbackRequest{}}})
		msg, err := c.stream.Recv()
		require.NoError(t, err)
		require.Equal(t, uint64(5), msg.HealthFeedback.GetStoreId())
		require.Greater(t, msg.HealthFeedback.FeedbackSeqNo, last)
		last = msg.HealthFeedback.FeedbackSeqNo
		require.Equal(t, msg.HealthFeedback, msg.Responses[0].GetGetHealthFeedback().HealthFeedback)
	}
	require.NotNil(t, c.ask(getCmd(nil, "a"))[1].GetRawGet())
}

func TestBatchCommandsClusterIDMismatch(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithClusterID(8))
	require.Nil(t, newBatchClient(t, conn).ask(putCmd(&kvrpcpb.Context{ClusterId: 8}, "a", "1"))[1].GetRawPut().RegionError)
	foreign := &kvrpcpb.Context{ClusterId: 9}
	for _, req := range []*request{
		getCmd(foreign, "a"), putCmd(foreign, "a", "1"), scanCmd(foreign, "a", 1),
		{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchPut{RawBatchPut: &kvrpcpb.RawBatchPutRequest{Context: foreign}}},
	} {
		c := newBatchClient(t, conn)
		c.send(1, req)
		_, err := c.stream.Recv()
		require.Equal(t, codes.InvalidArgument, status.Code(err), "%v: %v", req, err)
		require.ErrorContains(t, err, "cluster id mismatch")
	}
	client := tikvpb.NewTikvClient(conn)
	_, err := client.RawGet(context.Background(), &kvrpcpb.RawGetRequest{Context: foreign, Key: []byte("a")})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = client.RawPut(context.Background(), &kvrpcpb.RawPutRequest{Context: foreign, Key: []byte("a")})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestBatchCommandsBrokenMessage(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()))
	for name, msg := range map[string]*tikvpb.BatchCommandsRequest{
		"ids are missing":   {Requests: []*request{getCmd(nil, "a")}},
		"an id too many":    {Requests: []*request{getCmd(nil, "a")}, RequestIds: []uint64{1, 2}},
		"requests are none": {RequestIds: []uint64{1}},
	} {
		c := newBatchClient(t, conn)
		require.NoError(t, c.stream.Send(msg))
		_, err := c.stream.Recv()
		require.Error(t, err, name)
		require.ErrorContains(t, err, "request ids", name)
	}
}

// The client's end of the stream: what it has sent is answered, then the stream ends well.
func TestBatchCommandsHalfClose(t *testing.T) {
	under := newStandalone(t, memdb.New())
	held := make(chan func(error), 1)
	s := &hooked{Storage: under, write: func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }}
	_, conn := startServer(t, s)
	c := newBatchClient(t, conn)
	c.send(1, putCmd(nil, "k", "v"))
	require.NoError(t, c.stream.CloseSend())
	(<-held)(nil)
	require.NotNil(t, c.receive(1)[1].GetRawPut())
	_, err := c.stream.Recv()
	require.ErrorContains(t, err, "EOF")
}

// The service works with any codec that gRPC may be given, its own included.
func TestBatchCommandsPlainServer(t *testing.T) {
	srv := NewServer(newStandalone(t, memdb.New()))
	plain := grpc.NewServer()
	tikvpb.RegisterTikvServer(plain, srv)
	g := &GRPC{server: srv, grpc: plain}
	listener := listen(t)
	served := make(chan error, 1)
	go func() { served <- g.grpc.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	c := newBatchClient(t, conn)
	require.NotNil(t, c.ask(putCmd(nil, "a", "1"))[1].GetRawPut())
	require.Equal(t, "1", string(c.ask(getCmd(nil, "a"))[1].GetRawGet().Value))
	require.NoError(t, conn.Close())
	srv.Drain()
	plain.Stop()
	srv.Wait()
	require.NoError(t, <-served)
}
