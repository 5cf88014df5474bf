package test_raftstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

func TestOnePartition2B(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion([]byte("k"))
	peer := func(store uint64) { c.MustTransferLeader(r.Id, region.FindPeerOn(r, store)) }

	// The leader is in the majority: writes go on, and the minority's engines do not see them.
	peer(1)
	c.AddFilter(PartitionFilter([]uint64{1, 2, 3}, []uint64{4, 5}))
	c.MustPut([]byte("k1"), []byte("v1"))
	c.MustGet([]byte("k1"), []byte("v1"))
	require.Nil(t, c.engineValue(4, []byte("k1")))
	require.Nil(t, c.engineValue(5, []byte("k1")))
	c.ClearFilters()
	c.Eventually(func() bool {
		return string(c.engineValue(4, []byte("k1"))) == "v1" && string(c.engineValue(5, []byte("k1"))) == "v1"
	}, "the minority catches up")

	// The leader is in the minority: the others elect another one, and what the old one had stays what it was.
	peer(1)
	c.AddFilter(PartitionFilter([]uint64{1, 2}, []uint64{3, 4, 5}))
	c.Eventually(func() bool {
		l := c.LeaderOfRegion(r.Id)
		return l != nil && l.StoreId >= 3
	}, "the majority has a leader")
	c.MustPut([]byte("k1"), []byte("changed"))
	require.Equal(t, "v1", string(c.engineValue(1, []byte("k1"))))
	require.Equal(t, "v1", string(c.engineValue(2, []byte("k1"))))
	c.ClearFilters()
	c.Eventually(func() bool {
		return string(c.engineValue(1, []byte("k1"))) == "changed" && string(c.engineValue(2, []byte("k1"))) == "changed"
	}, "the old leader follows")
}

// A store that was away longer than the log reaches catches up by snapshot, and logs are cut (S15).
func TestOneSnapshot2C(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Raftstore.RaftLogGcCountLimit, cfg.Raftstore.RaftLogGcThreshold = 10, 5
	c := NewTestCluster(t, 3, cfg)
	c.Start()
	defer c.Shutdown()

	c.MustPutCF(engine.Lock, []byte("k1"), []byte("v1"))
	c.MustPutCF(engine.Lock, []byte("k2"), []byte("v2"))
	r := c.GetRegion([]byte("k1"))
	c.MustTransferLeader(r.Id, region.FindPeerOn(r, 2))
	c.AddFilter(PartitionFilter([]uint64{1}, []uint64{2, 3}))
	for i := range 60 {
		c.MustPut(fmt.Appendf(nil, "key%03d", i), []byte("v"))
	}
	c.MustDelete([]byte("key000"))
	c.checkCut(r.Id, 2, 40)
	require.Nil(t, c.engineValue(1, []byte("key030")))
	c.ClearFilters()
	c.Eventually(func() bool { return c.engineValue(1, []byte("key059")) != nil }, "store 1 catches up")
	c.Eventually(func() bool { return c.engineValue(1, []byte("key000")) == nil }, "also with what was deleted")

	c.StopServer(1)
	c.StartServer(1)
	c.Eventually(func() bool { return c.engineValue(1, []byte("key059")) != nil }, "a restart keeps it")
	c.checkLogsBounded(10)
}

// checkCut waits until a store's log of the region has lost its front up to index.
func (c *Cluster) checkCut(regionID, storeID, index uint64) {
	c.Eventually(func() bool {
		v := c.node(storeID).store.View(regionID)
		return v != nil && v.Log.Truncated >= index
	}, "the log of store %d is cut", storeID)
}

// checkLogsBounded demands that no replica keeps more than twice the limit of applied entries.
func (c *Cluster) checkLogsBounded(limit uint64) {
	c.t.Helper()
	c.Eventually(func() bool {
		bounded := true
		for id := range c.disks {
			if n := c.node(id); n != nil {
				n.store.Views(func(_ uint64, v *machine.RegionView) bool {
					bounded = bounded && v.Log.Applied-v.Log.Truncated <= 2*limit
					return true
				})
			}
		}
		return bounded
	}, "raft logs hold at most %d applied entries", 2*limit)
}
