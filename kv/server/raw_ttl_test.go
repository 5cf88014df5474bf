package server

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
)

// wall is a clock that a test moves, in seconds.
type wall struct{ atomic.Int64 }

func (w *wall) now() time.Time { return time.Unix(w.Load(), 999_999_999) }

func wallAt(second int64) *wall {
	w := &wall{}
	w.Store(second)
	return w
}

func ttlOf(t testing.TB, srv *Server, key string) *kvrpcpb.RawGetKeyTTLResponse {
	resp, err := srv.RawGetKeyTTL(context.Background(), &kvrpcpb.RawGetKeyTTLRequest{Key: []byte(key)})
	require.NoError(t, err)
	return resp
}

// What is stored is the value and, behind it, the second at which it expires: computed by the server that takes the write.
func TestTTLIsStoredAsExpiry(t *testing.T) {
	s, w, ctx := newStandalone(t, memdb.New()), wallAt(1000), context.Background()
	srv := NewServer(s, WithTTL(w.now))
	stored := func(key string) []byte { return mustGet(t, s, engine.Default, key) }
	_, err := srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("a"), Value: []byte("v"), Ttl: 10})
	require.NoError(t, err)
	require.Equal(t, keys.AppendRawValue(nil, []byte("v"), 1010), stored("a"))
	_, err = srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("b"), ForCas: true})
	require.NoError(t, err)
	require.Equal(t, keys.AppendRawValue(nil, nil, 0), stored("b"))
	_, err = srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("c"), Ttl: math.MaxUint64})
	require.NoError(t, err)
	require.Equal(t, keys.AppendRawValue(nil, nil, math.MaxUint64), stored("c"), "an absurd ttl does not come round to the past")

	require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{Ttl: 10}, ttlOf(t, srv, "a"))
	require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{}, ttlOf(t, srv, "b"), "0: it never expires")
	require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{NotFound: true}, ttlOf(t, srv, "absent"))
	w.Store(1009)
	require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{Ttl: 1}, ttlOf(t, srv, "a"))
	w.Store(1010)
	require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{NotFound: true}, ttlOf(t, srv, "a"))
	require.NotNil(t, stored("a"), "invisible, and still there")
}

// One ttl is for all pairs, else there is one for each; the deprecated field counts where the newer one says nothing.
func TestBatchPutTTLs(t *testing.T) {
	srv, ctx := NewServer(newStandalone(t, memdb.New()), WithTTL(wallAt(1000).now)), context.Background()
	pairs := []*kvrpcpb.KvPair{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("c")}}
	for _, tc := range []struct {
		req  *kvrpcpb.RawBatchPutRequest
		want [3]uint64
	}{
		{&kvrpcpb.RawBatchPutRequest{}, [3]uint64{0, 0, 0}},
		{&kvrpcpb.RawBatchPutRequest{Ttls: []uint64{5}}, [3]uint64{5, 5, 5}},
		{&kvrpcpb.RawBatchPutRequest{Ttls: []uint64{5, 0, 7}}, [3]uint64{5, 0, 7}},
		{&kvrpcpb.RawBatchPutRequest{Ttl: 3}, [3]uint64{3, 3, 3}},
		{&kvrpcpb.RawBatchPutRequest{Ttl: 3, Ttls: []uint64{4, 5, 6}}, [3]uint64{4, 5, 6}},
	} {
		for _, forCAS := range []bool{false, true} {
			tc.req.Pairs, tc.req.ForCas = pairs, forCAS
			resp, err := srv.RawBatchPut(ctx, tc.req)
			require.NoError(t, err)
			require.Equal(t, &kvrpcpb.RawBatchPutResponse{}, resp)
			for i, pair := range pairs {
				require.Equal(t, &kvrpcpb.RawGetKeyTTLResponse{Ttl: tc.want[i]}, ttlOf(t, srv, string(pair.Key)))
			}
		}
	}
	resp, err := srv.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Pairs: pairs, Ttls: []uint64{1, 2}})
	require.NoError(t, err)
	require.Equal(t, "The length of ttls does not equal to the length of pairs: 2 ttls, 3 pairs", resp.Error)
}

// Without the mode whatever speaks of a ttl is refused, with what would have to be set.
func TestTTLWithoutTheMode(t *testing.T) {
	s, ctx := newStandalone(t, memdb.New()), context.Background()
	srv := NewServer(s)
	const want = "ttl is not enabled, but get put request with ttl: values expire only in a cluster whose stores were made with storage.enable-ttl = true"
	put, err := srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("k"), Ttl: 1})
	require.NoError(t, err)
	require.Equal(t, want, put.Error)
	swap, err := srv.RawCompareAndSwap(ctx, &kvrpcpb.RawCASRequest{Key: []byte("k"), PreviousNotExist: true, Ttl: 1})
	require.NoError(t, err)
	require.Equal(t, want, swap.Error)
	for _, req := range []*kvrpcpb.RawBatchPutRequest{{Ttls: []uint64{1}}, {Ttls: []uint64{0, 1}}, {Ttl: 1}} {
		req.Pairs = []*kvrpcpb.KvPair{{Key: []byte("k")}, {Key: []byte("l")}}
		many, err := srv.RawBatchPut(ctx, req)
		require.NoError(t, err)
		require.Equal(t, want, many.Error)
	}
	require.Contains(t, ttlOf(t, srv, "k").Error, "storage.enable-ttl = true")
	require.Nil(t, mustGet(t, s, engine.Default, "k"))
}

// A swap takes an expired value for none, and its own value expires from the moment at which it was decided.
func TestSwapOverExpired(t *testing.T) {
	s, w := newStandalone(t, memdb.New()), wallAt(1000)
	srv, k := NewServer(s, WithTTL(w.now)), []byte("k")
	require.True(t, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("1"), PreviousNotExist: true, Ttl: 10}).Succeed)
	w.Store(1009)
	require.Equal(t, &kvrpcpb.RawCASResponse{PreviousValue: []byte("1")}, cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("2"), PreviousNotExist: true}))
	w.Store(1010)
	require.Equal(t, &kvrpcpb.RawCASResponse{PreviousNotExist: true},
		cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("2"), PreviousValue: []byte("1")}))
	require.Equal(t, &kvrpcpb.RawCASResponse{Succeed: true, PreviousNotExist: true},
		cas(t, srv, &kvrpcpb.RawCASRequest{Key: k, Value: []byte("2"), PreviousNotExist: true}))
	require.Zero(t, ttlOf(t, srv, "k").Ttl)

	// Somebody holds the latch while time goes by.
	release, err := srv.latches.acquire(context.Background(), []storage.Modify{{Key: k}})
	require.NoError(t, err)
	swapped := make(chan *kvrpcpb.RawCASResponse, 1)
	go func() {
		resp, _ := srv.RawCompareAndSwap(context.Background(), &kvrpcpb.RawCASRequest{Key: k, Value: []byte("3"), PreviousValue: []byte("2"), Ttl: 10})
		swapped <- resp
	}()
	require.Eventually(t, func() bool {
		srv.latches.mu.Lock()
		defer srv.latches.mu.Unlock()
		return len(srv.latches.held) == 1
	}, patience, time.Millisecond)
	w.Store(2000)
	release()
	require.True(t, (<-swapped).Succeed)
	require.Equal(t, uint64(10), ttlOf(t, srv, "k").Ttl)
}

// What cannot be a value of this mode is an error, and never a value.
func TestValueOfAnotherMode(t *testing.T) {
	s, ctx := newStandalone(t, memdb.New()), context.Background()
	mustPut(t, s, engine.Default, "k", "v")
	srv := NewServer(s, WithTTL(wallAt(1).now))
	got, err := srv.RawGet(ctx, &kvrpcpb.RawGetRequest{Key: []byte("k")})
	require.NoError(t, err)
	require.Contains(t, got.Error, "malformed raw value with an expiry")
	scan, err := srv.RawScan(ctx, &kvrpcpb.RawScanRequest{Limit: 1, KeyOnly: true})
	require.NoError(t, err)
	require.Contains(t, scan.RegionError.Message, "malformed raw value with an expiry")
}

// In a stream too, where puts and gets go their own way.
func TestTTLInStream(t *testing.T) {
	s, w := newStandalone(t, memdb.New()), wallAt(1000)
	_, conn := startServer(t, s, WithTTL(w.now))
	client := newBatchClient(t, conn)
	client.ask(&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawPut{RawPut: &kvrpcpb.RawPutRequest{Key: []byte("a"), Value: []byte("v"), Ttl: 10}}},
		putCmd(nil, "b", ""))
	require.Equal(t, keys.AppendRawValue(nil, []byte("v"), 1010), mustGet(t, s, engine.Default, "a"))
	got := client.ask(getCmd(nil, "a"), getCmd(nil, "b"), scanCmd(nil, "", 9))
	require.Equal(t, []byte("v"), got[1].GetRawGet().Value)
	require.False(t, got[2].GetRawGet().NotFound, "an empty value is a value")
	require.Len(t, got[3].GetRawScan().Kvs, 2)
	w.Store(1010)
	got = client.ask(getCmd(nil, "a"), getCmd(nil, "b"), scanCmd(nil, "", 1))
	require.True(t, got[1].GetRawGet().NotFound)
	require.False(t, got[2].GetRawGet().NotFound)
	require.Equal(t, []*kvrpcpb.KvPair{{Key: []byte("b")}}, got[3].GetRawScan().Kvs, "a limit counts what lives")
}

// A scan that meets nothing but expired keys still looks at its deadline.
func TestScanOfExpiredKeysEnds(t *testing.T) {
	s := newStandalone(t, memdb.New())
	for i := range 2 * deadlineStride {
		mustPut(t, s, engine.Default, fmt.Sprintf("%04d", i), string(keys.AppendRawValue(nil, nil, 5)))
	}
	snap, err := storage.Snap(context.Background(), s, storage.Target{})
	require.NoError(t, err)
	defer func() { require.NoError(t, snap.Close()) }()
	raw := rawClock(wallAt(9).now).at(snap)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	visit := func(key, _ []byte) (bool, error) { return true, fmt.Errorf("%s lives", bytes.Clone(key)) }
	require.ErrorIs(t, raw.each(gone, engine.Default, engine.IterOptions{}, false, visit), context.Canceled)
	require.NoError(t, raw.each(context.Background(), engine.Default, engine.IterOptions{}, true, visit))
}
