package test_raftstore

import (
	stderrors "errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/proto/region"
)

// outcomes counts how proposals ended, and catches the one that ends twice.
type outcomes struct {
	mu                                       sync.Mutex
	applied, undetermined, rejected, answers int
}

func (o *outcomes) proposal(t *testing.T, r uint64, value string) *machine.Proposal {
	var once atomic.Bool
	body := command.AppendOp(nil, command.Put, engine.Default, []byte("k"), []byte(value))
	return &machine.Proposal{
		RegionID: r, Command: command.Command{Kind: command.Write, Epoch: command.Epoch{Version: 1}, Body: body},
		Done: func(err error) {
			if !once.CompareAndSwap(false, true) {
				t.Error("a proposal was answered twice")
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			o.answers++
			switch {
			case err == nil:
				o.applied++
			case stderrors.Is(err, region.ErrUndetermined):
				o.undetermined++
			default:
				o.rejected++
			}
		},
	}
}

func (o *outcomes) total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers
}

// S12, S25: every write that was handed over is answered exactly once, also when its leader is cut off, deposed and stopped; what is in
// the log is undetermined, not rejected.
func TestEveryProposalIsAnsweredOnce(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion([]byte("k"))
	for round := range 3 {
		var o outcomes
		leader := c.LeaderOfRegion(r.Id)
		require.NotNil(t, leader)
		n := c.node(leader.StoreId)
		n.store.Propose(o.proposal(t, r.Id, "before"))
		c.Eventually(func() bool { return o.total() == 1 }, "a healthy cluster answers")
		require.Equal(t, 1, o.applied)

		others := []uint64{leader.StoreId%3 + 1, (leader.StoreId+1)%3 + 1}
		c.AddFilter(PartitionFilter([]uint64{leader.StoreId}, others))
		last := n.store.View(r.Id).Log.Last
		const sent = 200
		for i := range sent {
			n.store.Propose(o.proposal(t, r.Id, fmt.Sprint(i)))
		}
		if round%2 == 0 {
			c.Eventually(func() bool { return n.store.View(r.Id).Log.Last > last }, "some have reached the log")
			c.StopServer(leader.StoreId)
		}
		c.Eventually(func() bool { return o.total() == sent+1 }, "the cut-off leader answers all")
		require.Equal(t, 1, o.applied)
		require.Positive(t, o.undetermined, "what reached the log may yet be committed by the next leader")
		if round%2 == 0 {
			c.StartServer(leader.StoreId)
		}
		c.ClearFilters()
		c.MustPut([]byte("k"), []byte("after"))
		c.MustGet([]byte("k"), []byte("after"))
	}
}

// S22: a store whose log cannot be synced stops, says why, and has acknowledged nothing since; the others go on.
func TestFailedSyncStopsTheStore(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion([]byte("k"))
	leader := c.LeaderOfRegion(r.Id)
	n := c.node(leader.StoreId)
	broken := errors.New("input/output error")
	c.disks[leader.StoreId].log.FailSyncs(broken)

	var o outcomes
	n.store.Propose(o.proposal(t, r.Id, "lost"))
	select {
	case err := <-n.store.Fatal():
		require.ErrorContains(t, err, "input/output error")
		require.ErrorContains(t, err, "raft log")
	case <-time.After(20 * time.Second):
		t.Fatal("the store did not notice")
	}
	c.StopServer(leader.StoreId)
	require.Equal(t, 1, o.total())
	c.MustPut([]byte("k"), []byte("the others go on"))
	c.MustGet([]byte("k"), []byte("the others go on"))
}

// S22: the same for the state engine: what was in the failed batch is undetermined, never acknowledged.
func TestFailedApplyStopsTheStore(t *testing.T) {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion([]byte("k"))
	leader := c.LeaderOfRegion(r.Id)
	n := c.node(leader.StoreId)
	c.disks[leader.StoreId].state.FailWrites(errors.New("no space left on device"))
	var o outcomes
	n.store.Propose(o.proposal(t, r.Id, "unknown"))
	select {
	case err := <-n.store.Fatal():
		require.ErrorContains(t, err, "no space left on device")
	case <-time.After(20 * time.Second):
		t.Fatal("the store did not notice")
	}
	c.Eventually(func() bool { return o.total() == 1 }, "the write is answered")
	require.Equal(t, 1, o.undetermined)
	c.StopServer(leader.StoreId)
}

// S23: more than the budget of waiting writes is refused with a hint, and a follower that hears nothing does not make its leader
// grow: the log's front is cut, and the rest is bounded by what may be kept.
func TestQueuesAreBounded(t *testing.T) {
	cfg := config.NewTestConfig()
	cfg.Raftstore.Queues.ProposalSize = 1 << 20
	cfg.Raftstore.RaftLogGcCountLimit, cfg.Raftstore.RaftLogGcThreshold = 50, 10
	c := NewTestCluster(t, 3, cfg)
	c.Start()
	defer c.Shutdown()
	r := c.GetRegion([]byte("k"))
	leader := c.LeaderOfRegion(r.Id)
	n := c.node(leader.StoreId)
	others := []uint64{leader.StoreId%3 + 1, (leader.StoreId+1)%3 + 1}

	// Nothing can commit: what waits fills the budget, and the next one is told to come back later.
	c.AddFilter(PartitionFilter([]uint64{leader.StoreId}, others))
	var o outcomes
	busy := 0
	for range 20 {
		p := o.proposal(t, r.Id, string(make([]byte, 100<<10)))
		done := p.Done
		p.Done = func(err error) {
			var b *region.ServerIsBusyError
			if stderrors.As(err, &b) {
				o.mu.Lock()
				busy++
				o.mu.Unlock()
				require.Positive(t, b.Backoff)
			}
			done(err)
		}
		n.store.Propose(p)
	}
	c.Eventually(func() bool { return o.total() == 20 }, "all are answered in the end")
	require.GreaterOrEqual(t, busy, 9)
	c.ClearFilters()

	// One follower is cut off while the others write.
	leader = c.LeaderOfRegion(c.GetRegion([]byte("k")).Id)
	lagging := leader.StoreId%3 + 1
	c.AddFilter(PartitionFilter([]uint64{lagging}, []uint64{lagging%3 + 1, (lagging+1)%3 + 1}))
	for i := range 300 {
		c.MustPut(fmt.Appendf(nil, "k%d", i), make([]byte, 1024))
	}
	c.checkLogsBounded(50)
	c.ClearFilters()
	c.Eventually(func() bool { return c.engineValue(lagging, []byte("k299")) != nil }, "the lagging store catches up")
}

// A store whose scheduler has a new leader tells it so at once, not at its next turn: until then it counts as disconnected.
func TestTheStoreReportsWhenAskedTo(t *testing.T) {
	c := NewTestCluster(t, 1, config.NewTestConfig())
	defer c.Shutdown()
	c.Start()
	for n := range 3 {
		c.Eventually(func() bool { return c.Scheduler.heard(1) == n+1 }, "the store is heard %d times", n+1)
		c.node(1).store.Resend()
	}
}
