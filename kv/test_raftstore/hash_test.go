package test_raftstore

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// compare lets a region's replicas be compared, and returns what each store then knows, by store.
func (c *Cluster) compare(region uint64) map[uint64]machine.HashCheck {
	lead := c.LeaderOfRegion(region)
	done := make(chan error, 1)
	c.node(lead.StoreId).store.Admin(&machine.AdminRequest{
		RegionID: region, Op: machine.CheckConsistency{}, Done: func(err error) { done <- err },
	})
	require.NoError(c.t, <-done)
	asked := c.inspect(lead.StoreId, region).Check.Asked
	require.NotZero(c.t, asked)
	checks := make(map[uint64]machine.HashCheck)
	c.Eventually(func() bool {
		for id := range c.disks {
			check := c.inspect(id, region).Check
			if check.Index < asked || check.LeaderIndex < asked {
				return false
			}
			checks[id] = check
		}
		return true
	}, "every replica has compared")
	return checks
}

func (c *Cluster) inspect(store, region uint64) *machine.PeerReport {
	told := make(chan *machine.PeerReport, 1)
	c.node(store).store.Inspect(region, func(r *machine.PeerReport) { told <- r })
	report := <-told
	require.NotNil(c.t, report)
	return report
}

// Replicas that hold the same have the same hash under load; one whose data was changed behind its back is found out, whether it
// follows or leads.
func TestReplicasAreCompared(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	region := c.GetRegion(nil).Id
	for i := range 200 {
		c.MustPut(fmt.Appendf(nil, "k%d", i%37), fmt.Appendf(nil, "v%d", i))
		if i%60 == 0 {
			for id, check := range c.compare(region) {
				require.False(t, check.Differs, "store %d: %+v", id, check)
			}
		}
	}
	lead := c.LeaderOfRegion(region)
	odd := lead.StoreId%3 + 1
	batch := c.disks[odd].state.NewBatch()
	batch.Put(engine.Default, []byte("nobody wrote it"), []byte("rotten"))
	require.NoError(t, batch.Commit(true))
	require.NoError(t, batch.Close())
	for id, check := range c.compare(region) {
		require.Equal(t, id == odd, check.Differs, "store %d: %+v", id, check)
	}
	for _, p := range c.GetRegion(nil).Peers {
		if p.StoreId == odd {
			c.MustTransferLeader(region, p)
		}
	}
	for id, check := range c.compare(region) {
		require.Equal(t, id != odd, check.Differs, "store %d: %+v", id, check)
	}
}
