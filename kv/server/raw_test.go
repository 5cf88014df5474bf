package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
)

// regionView shows a storage's snapshots as those of a smaller region.
type regionView struct {
	storage.Snapshot
	region *metapb.Region
}

func (v *regionView) Region() *metapb.Region { return v.region }

// inRegion restricts a storage's snapshots to [start, end). The data outside stays in the engine, as another region's.
func inRegion(under storage.Storage, start, end string) storage.Storage {
	r := &metapb.Region{Id: 1, StartKey: []byte(start), EndKey: []byte(end)}
	return &hooked{Storage: under, read: func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		under.Read(ctx, at, func(snap storage.Snapshot, err error) { done(&regionView{Snapshot: snap, region: r}, err) })
	}}
}

// Scans in both directions, over a region in the middle of the key space, against a plain model.
func TestRawScanRanges(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		var all []string
		for c := 'a'; c <= 'j'; c++ {
			all = append(all, string(c))
			mustPut(t, s, engine.Default, string(c), "v"+string(c))
		}
		bounds := []string{"", "a", "bb", "c", "e", "ee", "g", "gg", "h", "z"}
		for _, r := range [][2]string{{"", ""}, {"c", "h"}, {"", "e"}, {"e", ""}} {
			srv := NewServer(inRegion(s, r[0], r[1]))
			for _, start := range bounds {
				for _, end := range bounds {
					for limit := range uint32(12) {
						checkScan(t, srv, all, r, &kvrpcpb.RawScanRequest{StartKey: []byte(start), EndKey: []byte(end), Limit: limit})
						checkScan(t, srv, all, r, &kvrpcpb.RawScanRequest{StartKey: []byte(start), EndKey: []byte(end), Limit: limit, Reverse: true, KeyOnly: true})
					}
				}
			}
		}
	})
}

func checkScan(t *testing.T, srv *Server, all []string, r [2]string, req *kvrpcpb.RawScanRequest) {
	lower, upper, outside := string(req.StartKey), string(req.EndKey), false
	if req.Reverse {
		lower, upper = upper, lower
		outside = upper < r[0] && upper != "" || r[1] != "" && (upper == "" || upper > r[1])
	} else {
		outside = lower < r[0] || r[1] != "" && lower >= r[1]
	}
	resp, err := srv.RawScan(context.Background(), req)
	require.NoError(t, err)
	if outside {
		require.NotNil(t, resp.RegionError.GetKeyNotInRegion(), "region %q, %v", r, req)
		return
	}
	require.Nil(t, resp.RegionError, "region %q, %v", r, req)
	var want, got []string
	for _, key := range all {
		if key >= max(lower, r[0]) && (upper == "" || key < upper) && (r[1] == "" || key < r[1]) {
			want = append(want, key)
		}
	}
	if req.Reverse {
		slices.Reverse(want)
	}
	want = want[:min(len(want), int(req.Limit))]
	for _, kv := range resp.Kvs {
		got = append(got, string(kv.Key))
		require.Equal(t, req.KeyOnly, kv.Value == nil)
	}
	require.Equal(t, len(want), len(got), "region %q, %v", r, req)
	if len(want) > 0 {
		require.Equal(t, want, got, "region %q, %v", r, req)
	}
}

// Pages are full as long as the region has more, up to the largest that clients ask for.
func TestRawScanFullPages(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		const total = 10240 + 7
		batch := make([]storage.Modify, 0, total)
		for i := range total {
			batch = append(batch, storage.Modify{Op: storage.Put, Key: fmt.Appendf(nil, "%06d", i), Value: []byte("v")})
		}
		require.NoError(t, storage.Apply(context.Background(), s, storage.Target{}, 0, batch))
		srv := NewServer(s)
		page := scan(t, srv, &kvrpcpb.RawScanRequest{Limit: 10240})
		require.Len(t, page, 10240)
		require.Len(t, scan(t, srv, &kvrpcpb.RawScanRequest{StartKey: []byte("010240"), Limit: 10240}), 7)
		require.Len(t, scan(t, srv, &kvrpcpb.RawScanRequest{Limit: 10240, Reverse: true}), 10240)
	})
}

// What cannot be answered in full is an error that clients see, never a short page.
func TestRawScanNeverShort(t *testing.T) {
	s := newStandalone(t, memdb.New())
	for i := range 10 {
		mustPut(t, s, engine.Default, fmt.Sprint(i), "0123456789")
	}
	srv := NewServer(s, WithLimits(Limits{MaxScanRows: 8, MaxResponseSize: 50}))
	ctx := context.Background()
	resp, err := srv.RawScan(ctx, &kvrpcpb.RawScanRequest{Limit: 9})
	require.NoError(t, err)
	require.Contains(t, resp.RegionError.Message, "max scan limit exceeded, size: 9, limit: 8 (server.max-scan-rows)")
	resp, err = srv.RawScan(ctx, &kvrpcpb.RawScanRequest{Limit: 8})
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
	require.Contains(t, resp.RegionError.Message, "max response size exceeded, size: 55, limit: 50 (server.max-response-size)")
	resp, err = srv.RawScan(ctx, &kvrpcpb.RawScanRequest{Limit: 8, KeyOnly: true})
	require.NoError(t, err)
	require.Len(t, resp.Kvs, 8)

	keys := make([][]byte, 10)
	for i := range keys {
		keys[i] = fmt.Append(nil, i)
	}
	get, err := srv.RawBatchGet(ctx, &kvrpcpb.RawBatchGetRequest{Keys: keys})
	require.NoError(t, err)
	require.Empty(t, get.Pairs)
	require.Contains(t, get.RegionError.Message, "max response size exceeded")

	failing := &hooked{Storage: s, read: func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		s.Read(ctx, at, func(snap storage.Snapshot, err error) { done(&brokenSnapshot{Snapshot: snap}, err) })
	}}
	resp, err = NewServer(failing).RawScan(ctx, &kvrpcpb.RawScanRequest{Limit: 5})
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
	require.Contains(t, resp.RegionError.Message, "bad block")
	one, err := NewServer(failing).RawGet(ctx, &kvrpcpb.RawGetRequest{Key: []byte("1")})
	require.NoError(t, err)
	require.Contains(t, one.Error, "bad block")
	require.False(t, one.NotFound)
}

// brokenSnapshot fails gets, and ends iterators early as an engine does when it cannot read a block.
type brokenSnapshot struct{ storage.Snapshot }

var errBadBlock = errors.New("bad block")

func (s *brokenSnapshot) Get(engine.CF, []byte) ([]byte, error) { return nil, errBadBlock }

func (s *brokenSnapshot) NewIterator(cf engine.CF, opts engine.IterOptions) (engine.Iterator, error) {
	it, err := s.Snapshot.NewIterator(cf, opts)
	return &brokenIterator{Iterator: it, left: 2}, err
}

type brokenIterator struct {
	engine.Iterator
	left int
}

func (it *brokenIterator) Next() bool {
	it.left--
	return it.left > 0 && it.Iterator.Next()
}

func (it *brokenIterator) Close() error {
	_ = it.Iterator.Close()
	return errBadBlock
}

// Reads of a key outside the snapshot's region are refused: another region has it.
func TestRawGetOutsideRegion(t *testing.T) {
	s := newStandalone(t, memdb.New())
	mustPut(t, s, engine.Default, "a", "theirs")
	srv := NewServer(inRegion(s, "b", "c"))
	resp, err := srv.RawGet(context.Background(), &kvrpcpb.RawGetRequest{Key: []byte("a")})
	require.NoError(t, err)
	require.Equal(t, "a", string(resp.RegionError.KeyNotInRegion.Key))
	require.Equal(t, "b", string(resp.RegionError.KeyNotInRegion.StartKey))
	batch, err := srv.RawBatchGet(context.Background(), &kvrpcpb.RawBatchGetRequest{Keys: [][]byte{[]byte("b"), []byte("a")}})
	require.NoError(t, err)
	require.NotNil(t, batch.RegionError.KeyNotInRegion)
	_, conn := startServer(t, inRegion(s, "b", "c"))
	got := newBatchClient(t, conn).ask(getCmd(nil, "a"), getCmd(nil, "b"))
	require.NotNil(t, got[1].GetRawGet().RegionError.KeyNotInRegion)
	require.True(t, got[2].GetRawGet().NotFound)
}

// Column families are spaces of their own, for every kind of request.
func TestColumnFamiliesAreIsolated(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv, ctx := NewServer(s), context.Background()
		for _, cf := range []string{"", "lock", "write"} {
			resp, err := srv.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Cf: cf, Pairs: []*kvrpcpb.KvPair{
				{Key: []byte("a"), Value: []byte(cf + "1")}, {Key: []byte("b"), Value: []byte(cf + "2")},
			}})
			require.NoError(t, err)
			require.Equal(t, &kvrpcpb.RawBatchPutResponse{}, resp)
		}
		ranged, err := srv.RawDeleteRange(ctx, &kvrpcpb.RawDeleteRangeRequest{Cf: "lock", StartKey: []byte("a")})
		require.NoError(t, err)
		require.Equal(t, &kvrpcpb.RawDeleteRangeResponse{}, ranged)
		deleted, err := srv.RawBatchDelete(ctx, &kvrpcpb.RawBatchDeleteRequest{Cf: "write", Keys: [][]byte{[]byte("a"), []byte("nope")}})
		require.NoError(t, err)
		require.Equal(t, &kvrpcpb.RawBatchDeleteResponse{}, deleted)
		require.Equal(t, []string{"a=1", "b=2"}, scan(t, srv, &kvrpcpb.RawScanRequest{Cf: "default", Limit: 9}))
		require.Empty(t, scan(t, srv, &kvrpcpb.RawScanRequest{Cf: "lock", Limit: 9}))
		require.Equal(t, []string{"b=write2"}, scan(t, srv, &kvrpcpb.RawScanRequest{Cf: "write", Limit: 9}))
		for _, cf := range []string{"local", "raft", "Default"} { // what clients must not touch, and what there is not
			resp, err := srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Cf: cf, Key: []byte("k")})
			require.NoError(t, err)
			require.Contains(t, resp.Error, "unknown column family")
		}
	})
}

func TestLimitsOnWrites(t *testing.T) {
	s := newStandalone(t, memdb.New())
	srv, ctx := NewServer(s, WithLimits(Limits{MaxKeySize: 4, MaxEntrySize: 10})), context.Background()
	const keyError = "max key size exceeded, size: 5, limit: 4 (storage.max-key-size)"
	const entryError = "max entry size exceeded, size: 11, limit: 10 (raftstore.raft-entry-max-size)"

	single, err := srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("1234"), Value: make([]byte, 6)})
	require.NoError(t, err)
	require.Empty(t, single.Error, "exactly at the limits")
	single, err = srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("12345")})
	require.NoError(t, err)
	require.Equal(t, &kvrpcpb.RawPutResponse{Error: keyError}, single)
	single, err = srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Key: []byte("1"), Value: make([]byte, 10)})
	require.NoError(t, err)
	require.Equal(t, entryError, single.Error)

	many, err := srv.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Pairs: []*kvrpcpb.KvPair{
		{Key: []byte("1"), Value: make([]byte, 5)}, {Key: []byte("2"), Value: make([]byte, 4)},
	}})
	require.NoError(t, err)
	require.Equal(t, entryError, many.Error)
	many, err = srv.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Pairs: []*kvrpcpb.KvPair{{Key: []byte("1")}, {}}})
	require.NoError(t, err)
	require.Equal(t, "an empty key cannot be written", many.Error)
	require.Nil(t, mustGet(t, s, engine.Default, "1"), "a refused batch writes nothing")
	many, err = srv.RawBatchPut(ctx, &kvrpcpb.RawBatchPutRequest{Pairs: []*kvrpcpb.KvPair{{Key: []byte("1")}}, Ttls: []uint64{0, 3}})
	require.NoError(t, err)
	require.Contains(t, many.Error, "ttl is not enabled, but get put request with ttl")

	ranged, err := srv.RawDeleteRange(ctx, &kvrpcpb.RawDeleteRangeRequest{StartKey: []byte("2"), EndKey: []byte("1")})
	require.NoError(t, err)
	require.Contains(t, ranged.Error, "start key")
	ranged, err = srv.RawDeleteRange(ctx, &kvrpcpb.RawDeleteRangeRequest{StartKey: []byte("1"), EndKey: []byte("12345")})
	require.NoError(t, err)
	require.Equal(t, keyError, ranged.Error)
}

func TestDefaultLimits(t *testing.T) {
	l := Limits{MaxScanRows: 3}.withDefaults()
	require.Equal(t, 3, l.MaxScanRows)
	require.Equal(t, 8<<10, l.MaxKeySize)
	require.Equal(t, 8<<20, l.MaxEntrySize)
	require.Positive(t, l.MaxStreamBytes)
	var limit *LimitError
	require.ErrorAs(t, l.checkKey(make([]byte, l.MaxKeySize+1)), &limit)
	require.Equal(t, l.MaxKeySize+1, limit.Actual)
}
