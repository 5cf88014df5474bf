package test_raftstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/config"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/raftkv"
)

// input is one operation on one register. A put that got no answer may have happened at any time since, or never.
type input struct {
	put   bool
	key   int
	value string
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[int][]porcupine.Operation)
		for _, op := range history {
			k := op.Input.(input).key
			byKey[k] = append(byKey[k], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byKey {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, in, out any) (bool, any) {
		if i := in.(input); i.put {
			return true, i.value
		}
		return out.(string) == state.(string), state
	},
}

// history collects what clients saw; they speak tikvpb, one attempt an operation, and count every non-answer as "maybe".
type history struct {
	mu    sync.Mutex
	ops   []porcupine.Operation
	begin time.Time
	reads atomic.Int64
	// replicas: half of the operations are reads that any replica may serve; followers counts those that one did.
	replicas  bool
	followers atomic.Int64
}

func (h *history) add(client int, call time.Duration, in input, out string, answered bool) {
	end := int64(time.Since(h.begin))
	if !answered {
		end = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: end})
}

// neverHappened reports whether a region error promises that the request was not done.
func neverHappened(e *errorpb.Error) bool {
	return e.NotLeader != nil || e.EpochNotMatch != nil || e.RegionNotFound != nil || e.ServerIsBusy != nil || e.KeyNotInRegion != nil
}

const lineKeys = 3

// client sends one operation after the other to stores that say they lead, now and then to any store.
func (h *history) client(c *Cluster, id int, front func(*storeNode) *server.Server, stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(uint64(id), 99))
	for n := 0; !stop.Load(); n++ {
		to := c.node(uint64(1 + rng.IntN(len(c.disks))))
		if to == nil {
			continue
		}
		r, _ := c.Scheduler.RegionOf(nil)
		view := to.store.View(r.Id)
		replica := h.replicas && rng.IntN(2) == 0
		if view == nil || !view.IsLeader && !replica && rng.IntN(20) > 0 {
			<-time.After(time.Millisecond / 2)
			continue
		}
		in := input{put: !replica && rng.IntN(2) == 0, key: rng.IntN(lineKeys), value: fmt.Sprintf("%d-%d", id, n)}
		kctx := &kvrpcpb.Context{RegionId: r.Id, RegionEpoch: view.Region.RegionEpoch, ReplicaRead: replica}
		if h.attempt(id, front(to), kctx, in) && !view.IsLeader {
			h.followers.Add(1)
		}
	}
}

func (h *history) attempt(id int, srv *server.Server, kctx *kvrpcpb.Context, in input) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	key := fmt.Appendf(nil, "reg%d", in.key)
	call := time.Since(h.begin)
	if in.put {
		resp, err := srv.RawPut(ctx, &kvrpcpb.RawPutRequest{Context: kctx, Key: key, Value: []byte(in.value)})
		switch {
		case err == nil && resp.RegionError == nil && resp.Error == "":
			h.add(id, call, in, "", true)
		case err == nil && resp.RegionError != nil && neverHappened(resp.RegionError):
		default:
			h.add(id, call, in, "", false)
		}
		return false
	}
	resp, err := srv.RawGet(ctx, &kvrpcpb.RawGetRequest{Context: kctx, Key: key})
	if err != nil || resp.RegionError != nil || resp.Error != "" {
		return false
	}
	h.reads.Add(1)
	h.add(id, call, in, string(resp.Value), true)
	return true
}

// play runs clients against a cluster whose network is cut and healed around its leader, loses messages, and whose stores
// crash, and gives the history to the checker.
func play(t *testing.T, length time.Duration, crash, replicas bool, front func(*Cluster, *storeNode) *server.Server) porcupine.CheckResult {
	c := NewTestCluster(t, 3, config.NewTestConfig())
	c.Start()
	defer c.Shutdown()
	h := &history{begin: time.Now(), replicas: replicas}
	var stop atomic.Bool
	var wg sync.WaitGroup
	for id := range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			h.client(c, id, func(n *storeNode) *server.Server { return front(c, n) }, &stop)
		}()
	}
	c.trouble(length, crash)
	stop.Store(true)
	wg.Wait()
	require.Greater(t, h.reads.Load(), int64(100), "the clients got to read")
	require.True(t, !replicas || h.followers.Load() > 50, "followers answered %d", h.followers.Load())
	result, _ := porcupine.CheckOperationsVerbose(registers, h.ops, 2*time.Minute)
	t.Logf("%d operations, %d reads: %s", len(h.ops), h.reads.Load(), result)
	return result
}

// trouble cuts off or freezes the leader, again and again; in between it loses messages and crashes a store.
func (c *Cluster) trouble(length time.Duration, crash bool) {
	rng := rand.New(rand.NewPCG(8, 8))
	election := time.Duration(c.cfg.Raftstore.ElectionTimeoutTicks) * c.cfg.Raftstore.BaseTickInterval.Duration
	for end := time.Now().Add(length); time.Now().Before(end); {
		thaw := make(chan struct{})
		r, _ := c.Scheduler.RegionOf(nil)
		if leader := c.LeaderOfRegion(r.Id); leader != nil && rng.IntN(3) > 0 {
			c.AddFilter(FreezeFilter(leader.StoreId, thaw))
		} else if leader != nil {
			others := []uint64{leader.StoreId%3 + 1, (leader.StoreId+1)%3 + 1}
			c.AddFilter(PartitionFilter([]uint64{leader.StoreId}, others))
		}
		<-time.After(election * 3)
		close(thaw)
		c.ClearFilters()
		if rng.IntN(2) == 0 {
			c.AddFilter(DropFilter())
		}
		if id := uint64(1 + rng.IntN(3)); crash && rng.IntN(3) == 0 {
			c.StopServer(id)
			<-time.After(election / 2)
			c.StartServer(id)
		}
		<-time.After(election * 3)
	}
	c.ClearFilters()
}

func TestLinearizable(t *testing.T) {
	result := play(t, 10*time.Second, true, false, func(_ *Cluster, n *storeNode) *server.Server { return server.NewServer(n.storage) })
	require.Equal(t, porcupine.Ok, result)
}

// T8, R9: what followers answer (Context.replica_read) is as recent as what the leader does.
func TestReplicaReadsAreLinearizable(t *testing.T) {
	result := play(t, 10*time.Second, true, true, func(_ *Cluster, n *storeNode) *server.Server { return server.NewServer(n.storage) })
	require.Equal(t, porcupine.Ok, result)
}

// The checker must see what a broken store does, or its silence means nothing.
func TestBrokenReadsAreCaught(t *testing.T) {
	t.Run("a follower answers", func(t *testing.T) {
		require.Equal(t, porcupine.Illegal, caught(t, func(_ *Cluster, n *storeNode) *server.Server {
			return server.NewServer(&followerReads{Storage: n.storage, n: n})
		}))
	})
	t.Run("a lease outlives its round", func(t *testing.T) {
		require.Equal(t, porcupine.Illegal, caught(t, func(c *Cluster, n *storeNode) *server.Server {
			stopped := func() machine.Instant { return 1 }
			return server.NewServer(raftkv.New(n.store.Router, n.disk.State, n.id, 1<<20, stopped))
		}))
	})
}

// caught plays until the checker finds the fault, a few times at most: a stale read needs its moment.
func caught(t *testing.T, front func(*Cluster, *storeNode) *server.Server) porcupine.CheckResult {
	for range 10 {
		if play(t, 4*time.Second, false, false, front) == porcupine.Illegal {
			return porcupine.Illegal
		}
	}
	return porcupine.Ok
}

// followerReads is broken on purpose: it reads whatever this store has applied, leader or not.
type followerReads struct {
	storage.Storage
	n *storeNode
}

func (f *followerReads) Read(_ context.Context, at storage.Target, done func(storage.Snapshot, error)) {
	v := f.n.store.View(at.RegionID)
	done(&anySnapshot{Snapshot: f.n.disk.State.NewSnapshot(), view: v}, nil)
}
