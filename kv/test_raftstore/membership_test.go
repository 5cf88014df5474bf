package test_raftstore

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// removePeer takes the peer on a store out of the first region, and does not let the scheduler put another one there.
func (c *Cluster) removePeer(store uint64) {
	c.Scheduler.setReplicas(len(c.GetRegion(nil).Peers) - 1)
	c.Eventually(func() bool {
		r := c.GetRegion(nil)
		peer := region.FindPeerOn(r, store)
		if peer == nil {
			return true
		}
		if leader := c.LeaderOfRegion(r.Id); leader != nil {
			c.node(leader.StoreId).store.Admin(&machine.AdminRequest{
				RegionID: r.Id, Epoch: r.RegionEpoch, Op: machine.ChangePeer{Type: eraftpb.ConfChangeType_RemoveNode, Peer: peer},
			})
		}
		return false
	}, "the peer on store %d is removed", store)
}

// holdsNothing waits until a store has neither the region nor its data.
func (c *Cluster) holdsNothing(regionID, store uint64) {
	c.Eventually(func() bool {
		v := c.node(store).store.View(regionID)
		return (v == nil || v.Gone) && c.engineValue(store, []byte("k")) == nil
	}, "store %d holds nothing of region %d", store, regionID)
}

// S7: a removed peer takes its data with it and does not come back, also not after a restart; a new peer with a new id may take its place.
// A leader can be removed too, and hands over first if it must.
func TestRemovedPeersAreGone(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.MustPut([]byte("k"), []byte("v1"))
	r := c.GetRegion(nil)
	old := region.FindPeerOn(r, 3)
	c.MustTransferLeader(r.Id, region.FindPeerOn(r, 1))

	c.removePeer(3)
	c.holdsNothing(r.Id, 3)
	c.StopServer(3)
	c.StartServer(3)
	c.MustPut([]byte("k"), []byte("v2"))
	c.holdsNothing(r.Id, 3)
	require.Greater(t, c.GetRegion(nil).RegionEpoch.ConfVer, r.RegionEpoch.ConfVer)

	c.Scheduler.setReplicas(3)
	var again *metapb.Peer
	c.Eventually(func() bool {
		again = region.FindPeerOn(c.GetRegion(nil), 3)
		return again != nil && string(c.engineValue(3, []byte("k"))) == "v2"
	}, "store 3 has a peer again")
	require.Greater(t, again.Id, old.Id)

	c.removePeer(1) // which leads
	c.holdsNothing(r.Id, 1)
	c.MustPut([]byte("k"), []byte("v3"))
	c.MustGet([]byte("k"), []byte("v3"))

	// R4: in a group of two the leader is not taken away; the answer says what to do first.
	two := c.GetRegion(nil)
	leader := c.LeaderOfRegion(two.Id)
	answer := make(chan error, 1)
	c.node(leader.StoreId).store.Admin(&machine.AdminRequest{
		RegionID: two.Id, Op: machine.ChangePeer{Type: eraftpb.ConfChangeType_RemoveNode, Peer: leader}, Done: func(err error) { answer <- err },
	})
	require.ErrorContains(t, <-answer, "transfer the leadership first")
}
