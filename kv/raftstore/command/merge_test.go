package command

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
)

func TestMergeBodies(t *testing.T) {
	r := &metapb.Region{Id: 7, EndKey: []byte("m"), RegionEpoch: &metapb.RegionEpoch{Version: 3, ConfVer: 2}, Peers: []*metapb.Peer{{Id: 8, StoreId: 1}}}
	target, err := DecodePrepareMerge(EncodePrepareMerge(r))
	require.NoError(t, err)
	require.Equal(t, r.String(), target.String())
	for _, declined := range []bool{false, true} {
		b, err := DecodeCommitMerge(EncodeCommitMerge(CommitMergeBody{Declined: declined, Index: 300, Source: r}))
		require.NoError(t, err)
		require.Equal(t, declined, b.Declined)
		require.Equal(t, uint64(300), b.Index)
		require.Equal(t, r.String(), b.Source.String())
	}
	index, err := DecodeRollbackMerge(EncodeRollbackMerge(300))
	require.NoError(t, err)
	require.Equal(t, uint64(300), index)
	for _, bad := range [][]byte{nil, {0}, {2, 1}, {0, 1, 8, 7}, {0xff}} {
		_, err = DecodePrepareMerge(bad)
		require.ErrorIs(t, err, ErrMalformed)
		_, err = DecodeCommitMerge(bad)
		require.ErrorIs(t, err, ErrMalformed)
	}
	for _, bad := range [][]byte{nil, {0}, {1, 1}, {0xff}} {
		_, err = DecodeRollbackMerge(bad)
		require.ErrorIs(t, err, ErrMalformed)
	}
}
