package server

import (
	"context"
	"errors"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// splitter remembers what it was asked for.
type splitter struct {
	at   storage.Target
	keys [][]byte
	err  error
}

func (s *splitter) Split(_ context.Context, at storage.Target, keys [][]byte) ([]*metapb.Region, error) {
	s.at, s.keys = at, keys
	return []*metapb.Region{{Id: 7}, {Id: 1}}, s.err
}

func TestSplitRegion(t *testing.T) {
	ctx := context.Background()
	below := newStandalone(t, memdb.New())
	_, err := NewServer(below).SplitRegion(ctx, &kvrpcpb.SplitRegionRequest{})
	require.Equal(t, codes.Unimplemented, status.Code(err))

	sp := &splitter{}
	srv := NewServer(below, WithSplitter(sp))
	req := &kvrpcpb.SplitRegionRequest{
		Context:   &kvrpcpb.Context{RegionId: 1, RegionEpoch: &metapb.RegionEpoch{Version: 3}},
		SplitKeys: [][]byte{[]byte("m"), []byte("a"), []byte("m")}, IsRawKv: true,
	}
	resp, err := srv.SplitRegion(ctx, req)
	require.NoError(t, err)
	require.Nil(t, resp.RegionError)
	require.Equal(t, []uint64{7, 1}, []uint64{resp.Regions[0].Id, resp.Regions[1].Id})
	require.Equal(t, uint64(7), resp.Left.Id) // what old clients read
	require.Equal(t, uint64(1), resp.Right.Id)
	require.Equal(t, [][]byte{[]byte("a"), []byte("m")}, sp.keys, "in order, each once, as they are")
	require.Equal(t, uint64(1), sp.at.RegionID)
	require.Equal(t, uint64(3), sp.at.Epoch.Version)

	req.IsRawKv = false
	_, err = srv.SplitRegion(ctx, req)
	require.NoError(t, err)
	require.Equal(t, [][]byte{keys.EncodeBytes(nil, []byte("a")), keys.EncodeBytes(nil, []byte("m"))}, sp.keys, "as transactions store them")

	sp.err = &region.EpochNotMatchError{RegionID: 1, Current: []*metapb.Region{{Id: 1}, {Id: 7}}}
	resp, err = srv.SplitRegion(ctx, req)
	require.NoError(t, err)
	require.Len(t, resp.RegionError.EpochNotMatch.CurrentRegions, 2)
	sp.err = errors.New("no")
	resp, err = srv.SplitRegion(ctx, req)
	require.NoError(t, err)
	require.NotNil(t, resp.RegionError.ServerIsBusy, "the response has no field for a text")
}
