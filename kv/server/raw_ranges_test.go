package server

import (
	"context"
	"fmt"
	"hash/crc64"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
)

func ranges(bounds ...string) (out []*kvrpcpb.KeyRange) {
	for i := 0; i < len(bounds); i += 2 {
		out = append(out, &kvrpcpb.KeyRange{StartKey: []byte(bounds[i]), EndKey: []byte(bounds[i+1])})
	}
	return out
}

// Each range is a RawScan of its own; an open one ends at the next one's start, the last one with the region.
func TestRawBatchScan(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		for c := 'a'; c <= 'j'; c++ {
			mustPut(t, s, engine.Default, string(c), "v"+string(c))
		}
		srv := NewServer(inRegion(s, "b", "i"))
		for _, tc := range []struct {
			req  *kvrpcpb.RawBatchScanRequest
			want string
		}{
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("b", "d", "e", "z"), EachLimit: 10}, "bcefgh"},
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("b", "", "d", "", "g", ""), EachLimit: 2}, "bcdegh"},
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("i", "g", "e", "a"), EachLimit: 3, Reverse: true, KeyOnly: true}, "hgdcb"},
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("i", "", "f", ""), EachLimit: 9, Reverse: true}, "hgfedcb"},
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("d", "c", "c", "c", "c", "d"), EachLimit: 3}, "c"},
			{&kvrpcpb.RawBatchScanRequest{Ranges: ranges("b", "z")}, ""},
			{&kvrpcpb.RawBatchScanRequest{EachLimit: 3}, ""},
		} {
			resp, err := srv.RawBatchScan(context.Background(), tc.req)
			require.NoError(t, err)
			require.Nil(t, resp.RegionError, "%v", tc.req)
			got := ""
			for _, kv := range resp.Kvs {
				got += string(kv.Key)
				if tc.req.KeyOnly {
					require.Nil(t, kv.Value)
				} else {
					require.Equal(t, "v"+string(kv.Key), string(kv.Value))
				}
			}
			require.Equal(t, tc.want, got, "%v", tc.req)
		}
	})
}

// A batch scan is whole or an error: of the limits, and of what is not this region's.
func TestRawBatchScanNeverShort(t *testing.T) {
	s := newStandalone(t, memdb.New())
	for i := range 10 {
		mustPut(t, s, engine.Default, fmt.Sprint(i), "0123456789")
	}
	srv, ctx := NewServer(inRegion(s, "0", "9"), WithLimits(Limits{MaxScanRows: 8, MaxResponseSize: 50})), context.Background()
	ask := func(req *kvrpcpb.RawBatchScanRequest) *kvrpcpb.RawBatchScanResponse {
		resp, err := srv.RawBatchScan(ctx, req)
		require.NoError(t, err)
		require.Empty(t, resp.Kvs)
		return resp
	}
	require.Contains(t, ask(&kvrpcpb.RawBatchScanRequest{Ranges: ranges("0", "1"), EachLimit: 9}).RegionError.Message, "max scan limit exceeded")
	require.Contains(t, ask(&kvrpcpb.RawBatchScanRequest{Ranges: ranges("0", "3", "3", "6"), EachLimit: 3}).RegionError.Message, "max response size exceeded, size: 66")
	require.NotNil(t, ask(&kvrpcpb.RawBatchScanRequest{Ranges: ranges("1", "2", "9", ""), EachLimit: 3}).RegionError.KeyNotInRegion)
	require.Contains(t, ask(&kvrpcpb.RawBatchScanRequest{Ranges: ranges("1", "2"), EachLimit: 3, Cf: "x"}).RegionError.Message, "unknown column family")
}

func TestRawBatchScanInStream(t *testing.T) {
	s := newStandalone(t, memdb.New())
	mustPut(t, s, engine.Lock, "k", "v")
	_, conn := startServer(t, s)
	got := newBatchClient(t, conn).ask(&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchScan{
		RawBatchScan: &kvrpcpb.RawBatchScanRequest{Ranges: ranges("", ""), EachLimit: 3, Cf: "lock"},
	}})
	require.Equal(t, []*kvrpcpb.KvPair{{Key: []byte("k"), Value: []byte("v")}}, got[1].GetRawBatchScan().Kvs)
}

// The sums of neighbouring regions combine into the whole's, and they are what the protocol defines: a digest over key, then value.
func TestRawChecksum(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		want := &kvrpcpb.RawChecksumResponse{}
		for i := range 300 { // beyond deadlineStride
			key, value := fmt.Sprintf("%03d", i), fmt.Sprint("value", i*i)
			mustPut(t, s, engine.Default, key, value)
			digest := crc64.New(crc64.MakeTable(crc64.ECMA))
			digest.Write([]byte(key + value))
			want.Checksum ^= digest.Sum64()
			want.TotalKvs++
			want.TotalBytes += uint64(len(key) + len(value))
		}
		mustPut(t, s, engine.Lock, "x", "another family's")
		sum := func(srv *Server, r []*kvrpcpb.KeyRange) *kvrpcpb.RawChecksumResponse {
			resp, err := srv.RawChecksum(context.Background(), &kvrpcpb.RawChecksumRequest{Ranges: r})
			require.NoError(t, err)
			return resp
		}
		require.Equal(t, want, sum(NewServer(s), ranges("", "")))
		require.Equal(t, want, sum(NewServer(s), ranges("", "100", "100", "")))
		left, right := sum(NewServer(inRegion(s, "", "123")), ranges("", "")), sum(NewServer(inRegion(s, "123", "")), ranges("123", ""))
		require.Equal(t, want.Checksum, left.Checksum^right.Checksum)
		require.Equal(t, uint64(123), left.TotalKvs)
		require.Equal(t, want.TotalBytes, left.TotalBytes+right.TotalBytes)
		require.Equal(t, &kvrpcpb.RawChecksumResponse{}, sum(NewServer(s), ranges("5", "4")))
		require.NotNil(t, sum(NewServer(inRegion(s, "123", "")), ranges("", "")).RegionError.KeyNotInRegion)

		resp, err := NewServer(s).RawChecksum(context.Background(), &kvrpcpb.RawChecksumRequest{Algorithm: 7, Ranges: ranges("", "")})
		require.NoError(t, err)
		require.Contains(t, resp.Error, "unknown checksum algorithm 7: there is Crc64_Xor")

		failing := &hooked{Storage: s, read: func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
			s.Read(ctx, at, func(snap storage.Snapshot, err error) { done(&brokenSnapshot{Snapshot: snap}, err) })
		}}
		resp = sum(NewServer(failing), ranges("", ""))
		require.Contains(t, resp.Error, "bad block")
		require.Zero(t, resp.TotalKvs, "half a sum is no sum")
	})
}

func TestWhatClientsPoll(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()), WithStoreID(7), WithClusterID(3))
	client, ctx := tikvpb.NewTikvClient(conn), context.Background()
	safe, err := client.GetStoreSafeTS(ctx, &kvrpcpb.StoreSafeTSRequest{})
	require.NoError(t, err)
	require.Zero(t, safe.SafeTs)
	first, err := client.GetHealthFeedback(ctx, &kvrpcpb.GetHealthFeedbackRequest{})
	require.NoError(t, err)
	require.Equal(t, uint64(7), first.HealthFeedback.StoreId)
	second, err := client.GetHealthFeedback(ctx, &kvrpcpb.GetHealthFeedbackRequest{})
	require.NoError(t, err)
	require.Greater(t, second.HealthFeedback.FeedbackSeqNo, first.HealthFeedback.FeedbackSeqNo)
	_, err = client.GetHealthFeedback(ctx, &kvrpcpb.GetHealthFeedbackRequest{Context: &kvrpcpb.Context{ClusterId: 4}})
	require.ErrorContains(t, err, "cluster id mismatch")
}
