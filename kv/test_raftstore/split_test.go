package test_raftstore

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/proto/region"
)

// split divides the region that covers the keys, and returns what it became.
func (c *Cluster) split(keys ...string) []*metapb.Region {
	c.t.Helper()
	var parts []*metapb.Region
	op := machine.Split{Parts: func(regions []*metapb.Region) { parts = regions }}
	for _, k := range keys {
		op.Keys = append(op.Keys, []byte(k))
	}
	c.Eventually(func() bool {
		r := c.GetRegion([]byte(keys[0]))
		leader := c.LeaderOfRegion(r.Id)
		if leader == nil || c.node(leader.StoreId) == nil {
			return false
		}
		done := make(chan error, 1)
		c.node(leader.StoreId).store.Admin(&machine.AdminRequest{RegionID: r.Id, Epoch: r.RegionEpoch, Op: op, Done: func(err error) { done <- err }})
		return <-done == nil
	}, "a split at %q", keys)
	return parts
}

// A batch split leaves the region the last part, gives every part a leader, and takes nothing away: neither what was there before, nor after all
// stores have crashed.
func TestSplitsKeepEverything(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	for i := range 20 {
		c.MustPut(fmt.Appendf(nil, "k%02d", i), fmt.Appendf(nil, "v%02d", i))
	}
	first := c.GetRegion(nil)
	parts := c.split("k05", "k10", "k15")
	require.Len(t, parts, 4)
	require.Equal(t, first.Id, parts[3].Id, "the region keeps its id and the last part")
	require.Equal(t, first.RegionEpoch.Version+3, parts[0].RegionEpoch.Version)
	for round := range 2 {
		for i := range 20 {
			c.MustGet(fmt.Appendf(nil, "k%02d", i), fmt.Appendf(nil, "v%02d", i))
		}
		require.Len(t, c.Scan([]byte("k"), []byte("l")), 20)
		if round == 0 {
			for id := uint64(1); id <= 3; id++ {
				c.StopServer(id)
			}
			for id := uint64(1); id <= 3; id++ {
				c.StartServer(id)
			}
		}
	}
}

func TestSplitRecover3B(t *testing.T) { generic{clients: 1, crash: true, split: true}.run(t) }

func TestSplitRecoverManyClients3B(t *testing.T) {
	generic{clients: 20, crash: true, split: true}.run(t)
}

func TestSplitUnreliable3B(t *testing.T) { generic{clients: 5, unreliable: true, split: true}.run(t) }

func TestSplitUnreliableRecover3B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, split: true}.run(t)
}

// A store that was away while the region was split catches up with both parts; a key of the one is not in the other.
func TestOneSplit3B(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Coprocessor.RegionMaxSize, cfg.Coprocessor.RegionSplitSize = 800, 500
	c := NewTestCluster(t, stores, cfg)
	c.Start()
	defer c.Shutdown()
	first := c.GetRegion(nil)
	c.MustPut([]byte("k1"), []byte("v1"))
	c.Eventually(func() bool { return c.engineValue(5, []byte("k1")) != nil }, "store 5 has k1")
	c.MustTransferLeader(first.Id, region.FindPeerOn(first, 2))
	c.AddFilter(PartitionFilter([]uint64{1, 2, 3, 4}, []uint64{5}))
	for i := 1; i <= 200; i++ {
		c.MustPut(fmt.Appendf(nil, "k%03d", i), fmt.Appendf(nil, "v%d", i))
	}
	c.Eventually(func() bool { return len(c.GetRegion([]byte("k")).EndKey) > 0 }, "the region is split")
	left, right := c.GetRegion([]byte("k")), c.GetRegion([]byte("k100"))
	require.NotEqual(t, left.Id, right.Id)
	require.Equal(t, first.Id, c.GetRegion([]byte("z")).Id, "the region keeps the last part")

	// Asked of the wrong region, with the right epoch, the key is refused.
	leader := c.LeaderOfRegion(left.Id)
	snapAt := storage.Target{RegionID: left.Id, PeerID: leader.Id, StoreID: leader.StoreId, Epoch: c.node(leader.StoreId).store.View(left.Id).Region.RegionEpoch}
	err := apply(t.Context(), c.node(leader.StoreId), snapAt, storage.Modify{Op: storage.Put, Key: []byte("k100"), Value: []byte("v")})
	var outside *region.KeyNotInRegionError
	require.ErrorAs(t, err, &outside)
	require.Equal(t, left.Id, outside.Region.Id)

	require.Nil(t, c.engineValue(5, []byte("k100")))
	c.ClearFilters()
	c.MustPut([]byte("k100"), []byte("w100"))
	c.Eventually(func() bool {
		return string(c.engineValue(5, []byte("k100"))) == "w100" && c.engineValue(5, []byte("k001")) != nil
	}, "store 5 catches up with every part")
	for i := 101; i <= 200; i++ {
		c.MustGet(fmt.Appendf(nil, "k%03d", i), fmt.Appendf(nil, "v%d", i))
	}
}

// Whoever asks for a split is told what became of the region; without keys it is divided in the middle; a key that the region begins at divides nothing.
func TestSplitOnRequest(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	for i := range 100 {
		c.MustPut(fmt.Appendf(nil, "k%02d", i), []byte("v"))
	}
	ask := func(key string, at ...string) (parts []*metapb.Region, last error) {
		keys := make([][]byte, len(at))
		for i := range at {
			keys[i] = []byte(at[i])
		}
		c.Eventually(func() bool {
			last = c.try([]byte(key), func(ctx context.Context, n *storeNode, to storage.Target) (err error) {
				parts, err = n.storage.Split(ctx, to, keys)
				return err
			})
			var outside *region.KeyNotInRegionError
			return last == nil || errors.As(last, &outside)
		}, "a split at %q", at)
		return parts, last
	}
	parts, err := ask("k00", "k30", "k40")
	require.NoError(t, err)
	require.Len(t, parts, 3)
	require.Equal(t, "k30", string(parts[1].StartKey))
	c.Eventually(func() bool { return string(c.GetRegion([]byte("k35")).StartKey) == "k30" }, "the scheduler knows")
	parts, err = ask("k35", "k30")
	require.NoError(t, err)
	require.Len(t, parts, 1, "it begins there already")
	_, err = ask("k35", "k50")
	require.Error(t, err)
	parts, err = ask("k50")
	require.NoError(t, err)
	require.Len(t, parts, 2)
	require.Contains(t, []string{"k69", "k70", "k71"}, string(parts[1].StartKey), "the middle of what is behind k40")
	require.Len(t, c.Scan([]byte("k"), []byte("l")), 100)
}
