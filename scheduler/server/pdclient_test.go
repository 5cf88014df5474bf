package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"
	pd "github.com/tikv/pd/client"
	"github.com/tikv/pd/client/clients/router"
	"github.com/tikv/pd/client/opt"
)

// The unmodified client of this family works against the scheduler.
func TestUnmodifiedPDClient(t *testing.T) {
	t.Run("lookups by calls", func(t *testing.T) { usePDClient(t, false) })
	t.Run("lookups over the stream", func(t *testing.T) { usePDClient(t, true) })
}

func usePDClient(t *testing.T, stream bool) {
	r := newRig(t)
	r.bootstrap()
	r.putStore(4)
	r.report(r.heartbeats(), firstRegion())
	r.eventually(2, func(g *pdpb.GetRegionResponse) bool { return g.GetLeader() != nil })

	ctx, cancel := context.WithTimeout(r.ctx, soon)
	defer cancel()
	began := time.Now()
	c, err := pd.NewClientWithContext(ctx, []string{r.s.ClientURL()}, pd.SecurityOption{}, opt.WithEnableRouterClient(stream))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, r.s.ClusterID(), c.GetClusterID(ctx))

	var last int64
	for range 100 {
		physical, logical, err := c.GetTS(ctx)
		require.NoError(t, err)
		require.Greater(t, physical<<18|logical, last)
		last = physical<<18 | logical
	}
	require.Less(t, time.Since(began), 4*time.Second, "no call made the client wait for a fallback")
	physical, logical, err := c.GetMinTS(ctx)
	require.NoError(t, err)
	require.Greater(t, physical<<18|logical, last)

	for _, options := range [][]opt.GetRegionOption{nil, {opt.WithBuckets()}} {
		region, err := c.GetRegion(ctx, []byte("a"), options...)
		require.NoError(t, err)
		require.Equal(t, firstRegion(), region.Meta)
		require.Equal(t, uint64(3), region.Leader.GetId())
		region, err = c.GetRegionByID(ctx, 2, options...)
		require.NoError(t, err)
		require.Equal(t, firstRegion(), region.Meta)
		region, err = c.GetPrevRegion(ctx, []byte("a"), options...)
		require.NoError(t, err)
		require.Nil(t, region)
		region, err = c.GetRegionByID(ctx, 9, options...)
		require.NoError(t, err)
		require.Nil(t, region)
	}
	regions, err := c.BatchScanRegions(ctx, []router.KeyRange{{}}, 10)
	require.NoError(t, err)
	require.Len(t, regions, 1)
	regions, err = c.ScanRegions(ctx, nil, nil, 10) //nolint:staticcheck // clients still call it
	require.NoError(t, err)
	require.Len(t, regions, 1)
	require.Equal(t, uint64(3), regions[0].Leader.GetId())

	store, err := c.GetStore(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, firstStore(), store)
	stores, err := c.GetAllStores(ctx, opt.WithExcludeTombstone())
	require.NoError(t, err)
	require.Len(t, stores, 2)
	_, err = c.GetStore(ctx, 12345)
	require.ErrorContains(t, err, "invalid store ID 12345, not found")

	at, err := c.UpdateGCSafePoint(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, uint64(10), at)
	low, err := c.UpdateServiceGCSafePoint(ctx, "br", 100, 20)
	require.NoError(t, err)
	require.Zero(t, low)
	_, err = c.ScatterRegions(ctx, []uint64{2})
	require.NoError(t, err)
}

// A scheduler that comes back on its port finds its clients again, and what they get goes on increasing.
func TestPDClientOutlivesRestart(t *testing.T) { // P1
	r := newRig(t)
	ctx, cancel := context.WithTimeout(r.ctx, soon)
	defer cancel()
	c, err := pd.NewClientWithContext(ctx, []string{r.s.ClientURL()}, pd.SecurityOption{})
	require.NoError(t, err)
	defer c.Close()
	physical, logical, err := c.GetTS(ctx)
	require.NoError(t, err)
	last := physical<<18 | logical
	r.wall.step(-time.Hour)
	r.restart()
	require.Eventually(t, func() bool {
		physical, logical, err = c.GetTS(ctx)
		return err == nil
	}, soon, poll)
	require.Greater(t, physical<<18|logical, last)
}
