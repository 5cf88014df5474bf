package test_raftstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// force makes a store's peer its region's only one.
func (c *Cluster) force(store uint64, f machine.ForceRequest) error {
	answer := make(chan error, 1)
	f.Done = func(err error) { answer <- err }
	c.node(store).store.Force(&f)
	select {
	case err := <-answer:
		return err
	case <-time.After(requestTimeout):
		return errors.New("no answer")
	}
}

// Three of five stores are lost for good. The survivor with the longest log becomes the only member; the other one gives way to a new peer, and what is
// on disk is what was forced, also after a restart.
func TestRecoverFromTheLossOfAMajority(t *testing.T) {
	c := NewTestCluster(t, stores, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	c.Scheduler.setReplicas(1)
	r := c.GetRegion(nil)
	for i := range 20 {
		c.MustPut(fmt.Appendf(nil, "k%02d", i), []byte("v"))
	}
	for store := uint64(4); store <= stores; store++ {
		c.MustHaveValue(store, "k19", "v")
	}
	order := machine.ForceRequest{RegionID: r.Id, PeerID: region.FindPeerOn(r, 4).Id, Seen: r.RegionEpoch.ConfVer, Next: r.RegionEpoch.ConfVer + 1000}
	require.ErrorContains(t, c.force(4, order), "not lost")
	for store := uint64(1); store <= 3; store++ {
		c.StopServer(store)
	}
	wrong := order
	wrong.Seen--
	c.Eventually(func() bool { return c.LeaderOfRegion(r.Id) == nil }, "nobody leads")
	require.ErrorContains(t, c.force(4, wrong), "make another plan")
	wrong = order
	wrong.PeerID++
	require.Error(t, c.force(4, wrong))

	c.Eventually(func() bool { return c.force(4, order) == nil }, "the survivor is forced")
	require.NoError(t, c.force(4, order), "a second time it is done already")
	c.MustPut([]byte("k20"), []byte("w"))
	for i := range 20 {
		c.MustGet(fmt.Appendf(nil, "k%02d", i), []byte("v"))
	}
	old := region.FindPeerOn(r, 5)
	five := c.AllocPeer(5)
	c.MustAddPeer(r.Id, five)
	require.Greater(t, five.Id, old.Id)
	c.MustHaveValue(5, "k20", "w")
	c.StopServer(4)
	c.StartServer(4)
	c.MustGet([]byte("k20"), []byte("w"))
	require.GreaterOrEqual(t, c.GetRegion(nil).RegionEpoch.ConfVer, order.Next)
}
