package test_raftstore

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// TestTransferLeader3B hands the leadership to each of five.
func TestTransferLeader3B(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion(nil)
	for store := uint64(stores); store > 0; store-- {
		to := region.FindPeerOn(r, store)
		c.MustTransferLeader(r.Id, to)
		c.MustPut([]byte("k"), []byte{byte(store)})
		c.MustGet([]byte("k"), []byte{byte(store)})
	}
}

// TestBasicConfChange3B takes a group down to one and up again; a store that comes back has a new peer (S7).
func TestBasicConfChange3B(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.Scheduler.setReplicas(1)
	r := c.GetRegion(nil)
	key := []byte("k1")
	c.MustTransferLeader(r.Id, region.FindPeerOn(r, 1))
	c.MustPut(key, []byte("v1"))
	for store := uint64(2); store <= stores; store++ {
		c.MustRemovePeer(r.Id, region.FindPeerOn(r, store))
		c.MustNonePeer(r.Id, region.FindPeerOn(r, store), key)
	}
	c.MustPut(key, []byte("v2"))
	confVer := c.GetRegion(nil).RegionEpoch.ConfVer
	require.Equal(t, r.RegionEpoch.ConfVer+4, confVer)

	second := c.AllocPeer(2)
	c.MustAddPeer(r.Id, second)
	c.MustPut(key, []byte("v3"))
	c.MustHaveValue(2, "k1", "v3")
	require.Greater(t, c.GetRegion(nil).RegionEpoch.ConfVer, confVer)
	c.MustAddPeer(r.Id, c.AllocPeer(3))
	c.MustHaveValue(3, "k1", "v3")

	c.MustRemovePeer(r.Id, second)
	c.MustNonePeer(r.Id, second, key)
	c.MustPut([]byte("k2"), []byte("v4"))
	c.MustHaveValue(3, "k2", "v4")
	require.Nil(t, c.engineValue(2, []byte("k2")), "a removed store hears nothing")

	// A peer whose id was used is not made again; with a new one store 2 has all.
	again := c.AllocPeer(2)
	require.Greater(t, again.Id, second.Id)
	c.MustAddPeer(r.Id, again)
	c.MustHavePeer(r.Id, again)
	c.MustHaveValue(2, "k2", "v4")
	c.StopServer(2)
	c.StartServer(2)
	c.MustHaveValue(2, "k2", "v4")
}

// TestConfChangeRemoveLeader3B removes leaders: of five, of four, and of two, which must hand over first (R4).
func TestConfChangeRemoveLeader3B(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.Scheduler.setReplicas(1)
	r := c.GetRegion(nil)
	key := []byte("k1")
	first := region.FindPeerOn(r, 1)
	c.MustTransferLeader(r.Id, first)
	c.MustPut(key, []byte("v1"))

	c.MustRemovePeer(r.Id, first)
	c.MustNonePeer(r.Id, first, key)
	c.MustPut(key, []byte("v2"))
	first = c.AllocPeer(1)
	c.MustAddPeer(r.Id, first)
	c.MustHaveValue(1, "k1", "v2")

	for store := uint64(3); store <= stores; store++ {
		c.MustRemovePeer(r.Id, region.FindPeerOn(r, store))
	}
	c.MustTransferLeader(r.Id, first)
	err := c.admin(r.Id, nil, machine.ChangePeers{Changes: removals(first)})
	require.ErrorContains(t, err, "transfer the leadership first")
	c.MustRemovePeer(r.Id, first)
	c.MustNonePeer(r.Id, first, key)
	c.MustPut(key, []byte("v3"))
	c.MustGet(key, []byte("v3"))
}

func removals(p *metapb.Peer) (changes []command.PeerChange) {
	return append(changes, removePeer(p))
}

// R14: several peers are exchanged at once, by way of a joint configuration that the group leaves by itself; what was a voter is a learner then,
// follows, and can be promoted again.
func TestJointChange3B(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.Scheduler.setReplicas(1)
	r := c.GetRegion(nil)
	on := func(store uint64) *metapb.Peer { return region.FindPeerOn(r, store) }
	for _, store := range []uint64{4, 5} {
		c.MustRemovePeer(r.Id, on(store))
	}
	c.MustTransferLeader(r.Id, on(1))
	c.MustPut([]byte("k"), []byte("v1"))

	before := c.GetRegion(nil).RegionEpoch.ConfVer
	four, five := c.AllocPeer(4), c.AllocPeer(5)
	c.MustChangePeers(r.Id, addPeer(four), addPeer(five), addLearner(on(1)), addLearner(on(2)))
	require.Equal(t, before+8, c.GetRegion(nil).RegionEpoch.ConfVer, "four changes to enter, four roles to leave")
	require.NotEqual(t, uint64(1), c.LeaderOfRegion(r.Id).GetStoreId(), "a learner does not lead")
	c.MustPut([]byte("k"), []byte("v2"))
	for store := uint64(1); store <= stores; store++ {
		c.MustHaveValue(store, "k", "v2")
	}
	require.ErrorContains(t, c.admin(r.Id, nil, machine.TransferLeader{To: on(1)}), "learner")

	// A restart finds the configuration in the roles.
	for store := uint64(1); store <= stores; store++ {
		c.StopServer(store)
	}
	for store := uint64(1); store <= stores; store++ {
		c.StartServer(store)
	}
	c.MustChangePeers(r.Id, addPeer(on(1)))
	c.MustTransferLeader(r.Id, on(1))
	c.MustRemovePeer(r.Id, on(2))
	c.MustNonePeer(r.Id, on(2), []byte("k"))
	c.MustGet([]byte("k"), []byte("v2"))
}

// S7: a removed peer does not come back, also not after a restart.
func TestRemovedPeersAreGone(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.MustPut([]byte("k"), []byte("v1"))
	r := c.GetRegion(nil)
	old := region.FindPeerOn(r, 3)
	c.Scheduler.setReplicas(2)
	c.MustRemovePeer(r.Id, old)
	c.MustNonePeer(r.Id, old, []byte("k"))
	c.StopServer(3)
	c.StartServer(3)
	c.MustPut([]byte("k"), []byte("v2"))
	c.MustNonePeer(r.Id, old, []byte("k"))

	c.Scheduler.setReplicas(3)
	c.MustHaveValue(3, "k", "v2")
	require.Greater(t, region.FindPeerOn(c.GetRegion(nil), 3).Id, old.Id)
}

// S8: a peer that was cut off while it was removed finds out when it can ask, although everybody whom it knows has left the region in the meantime, and none
// of their tombstones says that it is gone: each names those who came after. A peer that hears nobody stays.
func TestStalePeerFollowsTheTombstones(t *testing.T) {
	cfg := config.NewTestConfig()
	c := NewTestCluster(t, stores, cfg)
	c.Scheduler.setReplicas(3)
	c.Start()
	defer c.Shutdown()
	c.Scheduler.setReplicas(1)
	r := c.GetRegion(nil)
	key := []byte("k")
	c.MustPut(key, []byte("v1"))
	stale := r.Peers[2]
	c.MustHaveValue(stale.StoreId, "k", "v1")
	var others, rest []uint64
	for store := uint64(1); store <= stores; store++ {
		if store != stale.StoreId {
			others = append(others, store)
			if region.FindPeerOn(r, store) == nil {
				rest = append(rest, store)
			}
		}
	}
	c.AddFilter(PartitionFilter(others, []uint64{stale.StoreId}))
	for _, store := range rest {
		p := c.AllocPeer(store)
		c.MustAddPeer(r.Id, p)
		c.MustHaveValue(store, "k", "v1")
	}
	for _, p := range r.Peers[:2] { // while the stale one is a member
		c.MustRemovePeer(r.Id, p)
		c.MustNonePeer(r.Id, p, key)
	}
	c.MustRemovePeer(r.Id, stale)
	require.Equal(t, "v1", string(c.engineValue(stale.StoreId, key)), "silence ends nobody")
	c.ClearFilters()
	c.MustNonePeer(r.Id, stale, key)
	c.MustPut(key, []byte("v2"))
	c.MustGet(key, []byte("v2"))
}
