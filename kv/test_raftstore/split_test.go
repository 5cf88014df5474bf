package test_raftstore

import (
	"fmt"
	"testing"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// split divides the region that covers the keys, and returns what it became.
func (c *Cluster) split(keys ...string) []*metapb.Region {
	c.t.Helper()
	var parts []*metapb.Region
	op := machine.Split{Parts: func(regions []*metapb.Region) { parts = regions }}
	for _, k := range keys {
		op.Keys = append(op.Keys, []byte(k))
	}
	var err error
	c.Eventually(func() bool {
		r := c.GetRegion([]byte(keys[0]))
		leader := c.LeaderOfRegion(r.Id)
		if leader == nil || c.node(leader.StoreId) == nil {
			return false
		}
		done := make(chan error, 1)
		c.node(leader.StoreId).store.Admin(&machine.AdminRequest{RegionID: r.Id, Epoch: r.RegionEpoch, Op: op, Done: func(err error) { done <- err }})
		err = <-done
		return err == nil
	}, "a split at %q", keys)
	require.NoError(c.t, errors.Trace(err))
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
