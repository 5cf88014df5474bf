package server

import (
	"context"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/storage"
)

// The ten scenarios of stage 1, each over standalone storage on every engine.

func TestRawGet1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		mustPut(t, s, engine.Default, "key", "42")
		resp, err := NewServer(s).RawGet(context.Background(), &kvrpcpb.RawGetRequest{Key: []byte("key"), Cf: "default"})
		require.NoError(t, err)
		require.Equal(t, &kvrpcpb.RawGetResponse{Value: []byte("42")}, resp)
	})
}

func TestRawGetNotFound1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		resp, err := NewServer(s).RawGet(context.Background(), &kvrpcpb.RawGetRequest{Key: []byte("key"), Cf: "default"})
		require.NoError(t, err)
		require.Equal(t, &kvrpcpb.RawGetResponse{NotFound: true}, resp)
	})
}

func TestRawPut1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		resp, err := NewServer(s).RawPut(context.Background(), &kvrpcpb.RawPutRequest{Key: []byte("key"), Value: []byte("42"), Cf: "default"})
		require.NoError(t, err)
		require.Equal(t, &kvrpcpb.RawPutResponse{}, resp)
		require.Equal(t, []byte("42"), mustGet(t, s, engine.Default, "key"))
	})
}

func TestRawGetAfterRawPut1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		// One key in every family: each keeps its own value.
		for _, cf := range engine.DataCFs {
			for _, value := range []string{"first in " + cf.String(), "last in " + cf.String()} {
				put(t, srv, cf, "key", value)
			}
		}
		for _, cf := range engine.DataCFs {
			require.Equal(t, "last in "+cf.String(), string(mustRawGet(t, srv, cf, "key").Value))
		}
		// An empty value is a value.
		put(t, srv, engine.Default, "empty", "")
		resp := mustRawGet(t, srv, engine.Default, "empty")
		require.False(t, resp.NotFound)
		require.Empty(t, resp.Value)
	})
}

func TestRawGetAfterRawDelete1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		put(t, srv, engine.Default, "key", "42")
		put(t, srv, engine.Lock, "key", "other")
		del(t, srv, engine.Default, "key")
		require.True(t, mustRawGet(t, srv, engine.Default, "key").NotFound)
		require.Equal(t, "other", string(mustRawGet(t, srv, engine.Lock, "key").Value))
	})
}

func TestRawDelete1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		mustPut(t, s, engine.Default, "key", "42")
		del(t, srv, engine.Default, "key")
		require.Nil(t, mustGet(t, s, engine.Default, "key"))
		del(t, srv, engine.Default, "key") // what does not exist can be deleted
	})
}

func TestRawScan1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		for _, kv := range []string{"1", "2", "3", "4", "5"} {
			mustPut(t, s, engine.Default, kv, "v"+kv)
		}
		mustPut(t, s, engine.Write, "2a", "not in this family")
		require.Equal(t, []string{"1=v1", "2=v2", "3=v3"}, scan(t, NewServer(s), &kvrpcpb.RawScanRequest{StartKey: []byte("1"), Limit: 3}))
	})
}

func TestRawScanAfterRawPut1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		for _, kv := range []string{"1", "3"} {
			mustPut(t, s, engine.Default, kv, "v"+kv)
		}
		put(t, srv, engine.Default, "2", "new")
		require.Equal(t, []string{"1=v1", "2=new", "3=v3"}, scan(t, srv, &kvrpcpb.RawScanRequest{StartKey: []byte("1"), Limit: 10}))
	})
}

func TestRawScanAfterRawDelete1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		for _, kv := range []string{"1", "2", "3", "4"} {
			mustPut(t, s, engine.Default, kv, "v"+kv)
		}
		del(t, srv, engine.Default, "3")
		require.Equal(t, []string{"1=v1", "2=v2", "4=v4"}, scan(t, srv, &kvrpcpb.RawScanRequest{StartKey: []byte("1"), Limit: 3}))
	})
}

func TestIterWithRawDelete1(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s storage.Storage) {
		srv := NewServer(s)
		for _, kv := range []string{"1", "2", "3", "4"} {
			mustPut(t, s, engine.Default, kv, "v"+kv)
		}
		// A reader that was opened before the delete goes on seeing what was there.
		before, err := storage.Snap(context.Background(), s, storage.Target{})
		require.NoError(t, err)
		it, err := before.NewIterator(engine.Default, engine.IterOptions{})
		require.NoError(t, err)
		require.True(t, it.SeekGE([]byte("2")))
		del(t, srv, engine.Default, "3")
		require.Equal(t, "2", string(it.Key()))
		require.True(t, it.Next())
		require.Equal(t, "3", string(it.Key()))
		require.Equal(t, "v3", string(it.Value()))
		require.NoError(t, it.Close())
		require.NoError(t, before.Close())
		require.Equal(t, []string{"2=v2", "4=v4"}, scan(t, srv, &kvrpcpb.RawScanRequest{StartKey: []byte("2"), Limit: 10}))
	})
}

func put(t testing.TB, srv *Server, cf engine.CF, key, value string) {
	resp, err := srv.RawPut(context.Background(), &kvrpcpb.RawPutRequest{Key: []byte(key), Value: []byte(value), Cf: cf.String()})
	require.NoError(t, err)
	require.Equal(t, &kvrpcpb.RawPutResponse{}, resp)
}

func del(t testing.TB, srv *Server, cf engine.CF, key string) {
	resp, err := srv.RawDelete(context.Background(), &kvrpcpb.RawDeleteRequest{Key: []byte(key), Cf: cf.String()})
	require.NoError(t, err)
	require.Equal(t, &kvrpcpb.RawDeleteResponse{}, resp)
}

func mustRawGet(t testing.TB, srv *Server, cf engine.CF, key string) *kvrpcpb.RawGetResponse {
	resp, err := srv.RawGet(context.Background(), &kvrpcpb.RawGetRequest{Key: []byte(key), Cf: cf.String()})
	require.NoError(t, err)
	require.Nil(t, resp.RegionError)
	require.Empty(t, resp.Error)
	return resp
}

// scan returns a scan's pairs as "key=value".
func scan(t testing.TB, srv *Server, req *kvrpcpb.RawScanRequest) []string {
	resp, err := srv.RawScan(context.Background(), req)
	require.NoError(t, err)
	require.Nil(t, resp.RegionError)
	var pairs []string
	for _, kv := range resp.Kvs {
		pairs = append(pairs, string(kv.Key)+"="+string(kv.Value))
	}
	return pairs
}
