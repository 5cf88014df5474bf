package server

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

func cas(t testing.TB, srv *Server, req *kvrpcpb.RawCASRequest) *kvrpcpb.RawCASResponse {
	resp, err := srv.RawCompareAndSwap(context.Background(), req)
	require.NoError(t, err)
	return resp
}

func TestCompareAndSwap(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv, k := NewServer(s), []byte("k")
		require.Equal(t, &kvrpcpb.RawCASResponse{PreviousNotExist: true}, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("1")}),
			"an absent value is not an empty one")
		require.Nil(t, mustGet(t, s, engine.Default, "k"))
		require.Equal(t, &kvrpcpb.RawCASResponse{Succeed: true, PreviousNotExist: true},
			cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, PreviousNotExist: true}))
		require.Equal(t, &kvrpcpb.RawCASResponse{PreviousValue: []byte{}},
			cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("1"), PreviousNotExist: true}), "nor is an empty value an absent one")
		require.Equal(t, &kvrpcpb.RawCASResponse{Succeed: true, PreviousValue: []byte{}}, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("2")}))
		require.Equal(t, &kvrpcpb.RawCASResponse{PreviousValue: []byte("2")},
			cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("3"), PreviousValue: []byte("1")}))
		require.Equal(t, []byte("2"), mustGet(t, s, engine.Default, "k"))
		require.True(t, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("3"), PreviousNotExist: true, Cf: "write"}).Succeed, "families are apart")
		require.Equal(t, []byte("3"), mustGet(t, s, engine.Write, "k"))

		require.Contains(t, cas(t, srv, &kvrpcpb.RawCASRequest{Value: k}).Error, "empty key")
		require.Contains(t, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Ttl: 1}).Error, "ttl is not enabled, but get put request with ttl")
		outside := cas(t, NewServer(inRegion(s, "x", "")), &kvrpcpb.RawCASRequest{Key: k})
		require.NotNil(t, outside.RegionError.GetKeyNotInRegion())
	})
}

// One hundred clients increment a counter at once: no increment is lost.
func TestCompareAndSwapCounts(t *testing.T) {
	s := newStandalone(t, memdb.New())
	srv := NewServer(s)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			req := &kvrpcpb.RawCASRequest{Key: []byte("n"), Value: []byte("1"), PreviousNotExist: true}
			for {
				resp, err := srv.RawCompareAndSwap(context.Background(), req)
				if err != nil || resp.Error != "" || resp.RegionError != nil {
					t.Errorf("%v %v", resp, err)
					return
				}
				if resp.Succeed {
					return
				}
				n, _ := strconv.Atoi(string(resp.PreviousValue))
				req.PreviousNotExist, req.PreviousValue, req.Value = false, resp.PreviousValue, fmt.Append(nil, n+1)
			}
		})
	}
	all.Wait()
	require.Equal(t, "100", string(mustGet(t, s, engine.Default, "n")))
}

// The latch is held until the write ends, not until its caller gives up; and what gave up is undetermined: a text, which no client repeats.
func TestLatchOutlivesItsCaller(t *testing.T) {
	under := newStandalone(t, memdb.New())
	outcomes := make(chan func(), 16) // roomy: a write that ought to wait must fail the test, not hang it
	s := &hooked{Storage: under}
	s.write = func(ctx context.Context, at storage.Target, batch []storage.Modify, done func(error)) {
		outcomes <- func() { under.Write(context.Background(), at, 0, batch, done) }
	}
	srv := NewServer(s)
	g, err := NewGRPC(srv, GRPCConfig{})
	require.NoError(t, err)
	conn := serve(t, g)
	resp := cas(t, srv, &kvrpcpb.RawCASRequest{Context: &kvrpcpb.Context{MaxExecutionDurationMs: 20}, Key: []byte("k"), Value: []byte("1"), PreviousNotExist: true})
	require.Nil(t, resp.RegionError)
	require.Contains(t, resp.Error, "undetermined")

	// Everything that is atomic with it waits, whichever way it comes.
	late := &kvrpcpb.Context{MaxExecutionDurationMs: 20}
	waited := cas(t, srv, &kvrpcpb.RawCASRequest{Context: late, Key: []byte("k"), Value: []byte("2"), PreviousNotExist: true})
	require.Equal(t, deadlineMessage, waited.RegionError.Message, "it was not handed over: the client may repeat it")
	put := &kvrpcpb.RawPutRequest{Context: late, Key: []byte("k"), ForCas: true}
	pair := []*kvrpcpb.KvPair{{Key: []byte("x")}, {Key: []byte("k")}}
	got := newBatchClient(t, conn).ask(
		&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawPut{RawPut: put}},
		&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawDelete{RawDelete: &kvrpcpb.RawDeleteRequest{Context: late, Key: []byte("k"), ForCas: true}}},
		&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchPut{RawBatchPut: &kvrpcpb.RawBatchPutRequest{Context: late, Pairs: pair, ForCas: true}}},
		&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchDelete{
			RawBatchDelete: &kvrpcpb.RawBatchDeleteRequest{Context: late, Keys: [][]byte{[]byte("k")}, ForCas: true},
		}},
	)
	require.Equal(t, deadlineMessage, got[1].GetRawPut().GetRegionError().GetMessage())
	require.Equal(t, deadlineMessage, got[2].GetRawDelete().GetRegionError().GetMessage())
	require.Equal(t, deadlineMessage, got[3].GetRawBatchPut().GetRegionError().GetMessage())
	require.Equal(t, deadlineMessage, got[4].GetRawBatchDelete().GetRegionError().GetMessage())

	(<-outcomes)() // the write ends
	second := make(chan *kvrpcpb.RawCASResponse, 1)
	go func() {
		resp, _ := srv.RawCompareAndSwap(context.Background(), &kvrpcpb.RawCASRequest{Key: []byte("k"), Value: []byte("2"), PreviousValue: []byte("1")})
		second <- resp
	}()
	(<-outcomes)()
	require.True(t, (<-second).Succeed, "it saw what the first one wrote")
}

// A swap is written in the term of its snapshot, so that a leader change in between rejects it; and a rejected one stays a region error.
func TestSwapInTheSnapshotsTerm(t *testing.T) {
	under := newStandalone(t, memdb.New())
	terms := &termStorage{Storage: under}
	srv := NewServer(terms)
	req := &kvrpcpb.RawCASRequest{Key: []byte("k"), Value: []byte("1"), PreviousNotExist: true}
	for _, outcome := range []error{&region.StaleCommandError{RegionID: 1}, &region.NotLeaderError{RegionID: 1}} {
		terms.outcome = outcome
		resp := cas(t, srv, req)
		require.Equal(t, newFailure(outcome, 1).region, resp.RegionError)
		require.False(t, resp.Succeed)
		require.Equal(t, uint64(1), terms.got, "standalone's term")
	}
	terms.outcome = fmt.Errorf("wrapped: %w", region.ErrUndetermined)
	resp := cas(t, srv, req)
	require.Nil(t, resp.RegionError)
	require.Equal(t, terms.outcome.Error(), resp.Error)
}

type termStorage struct {
	storage.Storage
	got     uint64
	outcome error
}

func (s *termStorage) Write(_ context.Context, _ storage.Target, term uint64, _ []storage.Modify, done func(error)) {
	s.got = term
	done(s.outcome)
}
