package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/proto/region"
)

// stage is one of the course's generic scenarios (SUITES), in virtual time: rounds in which clients append and scan under faults, then every store
// is killed if the stage says so, and at the end every append must be there once and in order.
type stage struct {
	name                              string
	clients                           int
	unreliable, crash, partition, gcs bool
	// members: peers come and go. split: regions are small, and divide.
	members, split bool
}

var stages2B = []stage{
	{name: "Basic", clients: 1},
	{name: "Concurrent", clients: 5},
	{name: "Unreliable", clients: 5, unreliable: true},
	{name: "ManyPartitionsOneClient", clients: 1, partition: true},
	{name: "ManyPartitionsManyClients", clients: 5, partition: true},
	{name: "PersistOneClient", clients: 1, crash: true},
	{name: "PersistConcurrent", clients: 5, crash: true},
	{name: "PersistConcurrentUnreliable", clients: 5, crash: true, unreliable: true},
	{name: "PersistPartition", clients: 5, crash: true, partition: true},
	{name: "PersistPartitionUnreliable", clients: 5, crash: true, partition: true, unreliable: true},
}

var stages2C = []stage{
	{name: "SnapshotRecover", clients: 1, crash: true, gcs: true},
	{name: "SnapshotRecoverManyClients", clients: 20, crash: true, gcs: true},
	{name: "SnapshotUnreliable", clients: 5, unreliable: true, gcs: true},
	{name: "SnapshotUnreliableRecover", clients: 5, unreliable: true, crash: true, gcs: true},
	{name: "SnapshotUnreliableRecoverConcurrentPartition", clients: 5, unreliable: true, crash: true, partition: true, gcs: true},
}

var stages3B = []stage{
	{name: "ConfChangeRecover", clients: 1, crash: true, members: true},
	{name: "ConfChangeRecoverManyClients", clients: 20, crash: true, members: true},
	{name: "ConfChangeUnreliable", clients: 5, unreliable: true, members: true},
	{name: "ConfChangeUnreliableRecover", clients: 5, unreliable: true, crash: true, members: true},
	{name: "ConfChangeSnapshotUnreliableRecover", clients: 5, unreliable: true, crash: true, gcs: true, members: true},
	{
		name: "ConfChangeSnapshotUnreliableRecoverConcurrentPartition", clients: 5, unreliable: true, crash: true, partition: true, gcs: true,
		members: true,
	},
	{name: "SplitRecover", clients: 1, crash: true, split: true},
	{name: "SplitRecoverManyClients", clients: 20, crash: true, split: true},
	{name: "SplitUnreliable", clients: 5, unreliable: true, split: true},
	{name: "SplitUnreliableRecover", clients: 5, unreliable: true, crash: true, split: true},
	{
		name: "SplitConfChangeSnapshotUnreliableRecover", clients: 5, unreliable: true, crash: true, gcs: true,
		members: true, split: true,
	},
	{
		name: "SplitConfChangeSnapshotUnreliableRecoverConcurrentPartition", clients: 5, unreliable: true, crash: true, partition: true, gcs: true,
		members: true, split: true,
	},
}

func TestVirtualStages2B(t *testing.T) { runStages(t, stages2B) }
func TestVirtualStages2C(t *testing.T) { runStages(t, stages2C) }
func TestVirtualStages3B(t *testing.T) { runStages(t, stages3B) }

func runStages(t *testing.T, stages []stage) {
	for _, s := range stages {
		t.Run(s.name, func(t *testing.T) {
			appends := 0
			for seed := uint64(1); seed <= seedCount(t, 4); seed++ {
				r, n := s.play(seed)
				require.NoError(t, r.Err(), "%s", s.name)
				appends += n
			}
			t.Logf("%d appends", appends)
			require.NotZero(t, appends)
		})
	}
}

const (
	stageRounds = 3
	stageRound  = 5 * time.Second
	stageLogs   = 100
)

func (s stage) play(seed uint64) (Result, int) {
	cfg := Default(seed)
	cfg.Stores, cfg.Replicas, cfg.Clients = 5, 5, 0
	if s.split {
		cfg.Machine.Split = machine.SplitLimits{MaxSize: 300, SplitSize: 200, Diff: 50, Batch: 10, CheckTicks: 5}
	}
	if s.gcs {
		cfg.Machine.LogGC.Ticks, cfg.Machine.LogGC.Threshold, cfg.Machine.LogGC.Count = 1, stageLogs/2, stageLogs
	}
	c := New(cfg, nil)
	appended, changing := 0, true
	c.guard(func() {
		c.Boot()
		c.setUp()
		var writers []*appender
		for i := range s.clients {
			w := newAppender(c, i)
			if s.split {
				w.pause *= time.Duration(s.clients) // every few pairs are a region
			}
			writers = append(writers, w)
		}
		if s.members {
			s.changeMembers(c, c.w.Rand("members"), &changing)
		}
		for range stageRounds {
			s.round(c, writers)
		}
		changing = false
		for _, w := range writers {
			w.compare(func() {})
			appended += w.written
		}
		c.w.RunUntil(c.w.Now() + world.Time(recovery))
		for _, w := range writers {
			if !w.compared {
				c.violate("client %d: its last scan is not answered", w.id)
			}
		}
		if !c.w.Halted() {
			c.compareReplicas()
		}
		if v, _ := c.leadership(nil); s.split && (v == nil || len(v.Region.EndKey) == 0) {
			c.violate("the first region was not split")
		}
	})
	return c.finish(), appended
}

// round lets the clients work under faults for a while, heals the network, and waits for them.
func (s stage) round(c *Cluster, writers []*appender) {
	if s.unreliable {
		c.net.Weather.Loss = 0.1
	}
	stop := false
	for _, w := range writers {
		w.work(&stop)
	}
	election := 10 * c.cfg.Tick
	for end := c.w.Now() + world.Time(stageRound); c.w.Now() < end; {
		if s.partition {
			c.net.HealAll()
			c.splitInTwo()
		}
		c.w.RunUntil(c.w.Now() + world.Time(election))
		if s.gcs {
			s.checkLogs(c)
		}
	}
	stop = true
	c.net.HealAll()
	c.net.Weather.Loss = 0
	deadline := c.w.Now() + world.Time(recovery)
	c.w.RunWhile(deadline, func() bool { return anyBusy(writers) })
	if anyBusy(writers) {
		c.violate("a client waits %s after the network was healed", recovery)
	}
	if s.crash {
		for _, st := range c.stores {
			st.kill()
		}
		for _, st := range c.stores {
			st.start()
		}
	}
}

func anyBusy(writers []*appender) bool {
	for _, w := range writers {
		if w.cl.busy {
			return true
		}
	}
	return false
}

// splitInTwo puts every store on one of two sides.
func (c *Cluster) splitInTwo() {
	rng := c.w.Rand(fmt.Sprintf("split at %s", c.w.Now()))
	side := make([]bool, len(c.stores))
	for i := range side {
		side[i] = rng.IntN(2) == 0
	}
	for i, a := range c.stores {
		for j, b := range c.stores {
			if side[i] != side[j] {
				c.net.Cut(a.p, b.p)
			}
		}
	}
}

// changeMembers adds and removes peers of any region, all along; three stay at least.
func (s stage) changeMembers(c *Cluster, rng *rand.Rand, changing *bool) {
	if !*changing {
		return
	}
	key := fmt.Appendf(nil, "%02d%08d", rng.IntN(s.clients), rng.IntN(200))
	if v, at := c.leadership(key); v != nil && at.runs() && !region.IsJoint(v.Region) {
		free := c.storesWithout(v.Region)
		switch who := v.Region.Peers[rng.IntN(len(v.Region.Peers))]; {
		case len(free) > 0 && rng.IntN(2) == 0:
			c.addPeer(v, at, free[rng.IntN(len(free))], false)
		case len(v.Region.Peers) > 3:
			at.change(v.Region, pdpb.ChangePeer{ChangeType: eraftpb.ConfChangeType_RemoveNode, Peer: who})
		}
	}
	c.w.After(world.Between(rng, 50*time.Millisecond, 500*time.Millisecond), func() { s.changeMembers(c, rng, changing) })
}

// checkLogs wants every log short (S15): what is applied and not cut away stays below twice the limit, as far as a view shows it.
func (s stage) checkLogs(c *Cluster) {
	for _, st := range c.stores {
		st.st.Views(func(id uint64, v *machine.RegionView) bool { // order-free: any will do
			if v.IsLeader && v.Ready && v.Log.Applied-v.Log.Truncated > 4*stageLogs {
				c.violate("store %d keeps the log of region %d from %d to %d", st.id, id, v.Log.Truncated, v.Log.Applied)
			}
			return true
		})
	}
}

// appender is a client that puts its next key, or scans its own keys and compares them with all that it wrote.
type appender struct {
	cl       *client
	id       int
	written  int
	compared bool
	pause    time.Duration
}

func newAppender(c *Cluster, i int) *appender {
	cl := newClient(c, i)
	cl.patience = time.Hour
	cl.p.Start()
	return &appender{cl: cl, id: i, pause: 20 * time.Millisecond}
}

func (a *appender) work(stop *bool) {
	var next func()
	next = func() {
		switch {
		case *stop:
		case a.cl.rng.IntN(2) == 0:
			a.put(next)
		default:
			a.compare(next)
		}
	}
	next()
}

func (a *appender) key(n int) []byte { return fmt.Appendf(nil, "%02d%08d", a.id, n) }

func (a *appender) put(next func()) {
	key, value := a.key(a.written), fmt.Sprintf("x %d %d y", a.id, a.written)
	t := &task{name: "append", keys: [][]byte{key}}
	t.attempt = func(ctx *kvrpcpb.Context, _ *metapb.Region) attempt {
		// The history is not asked about these keys: the client itself knows what must be there.
		op := a.cl.c.history.Read(a.cl.id)
		return attempt{&kvrpcpb.RawPutRequest{Context: ctx, Key: key, Value: []byte(value)}, op, func(any) { t.keys = nil }}
	}
	a.cl.do(t, func(ok bool) {
		if !ok {
			a.cl.c.violate("client %d: an append is not answered", a.id)
			return
		}
		a.written++
		a.cl.p.After(a.pause, next)
	})
}

func (a *appender) compare(next func()) {
	a.compared = false
	var got strings.Builder
	end := fmt.Appendf(nil, "%02d:", a.id)
	t := &task{name: "scan", keys: [][]byte{a.key(0)}}
	t.attempt = func(ctx *kvrpcpb.Context, r *metapb.Region) attempt {
		op := a.cl.c.history.Read(a.cl.id)
		req := &kvrpcpb.RawScanRequest{Context: ctx, StartKey: t.keys[0], EndKey: end, Limit: 1 << 20}
		return attempt{req, op, func(resp any) {
			for _, p := range resp.(*kvrpcpb.RawScanResponse).Kvs {
				got.Write(p.Value)
			}
			if t.keys = nil; len(r.EndKey) > 0 && bytes.Compare(r.EndKey, end) < 0 {
				t.keys = [][]byte{r.EndKey}
			}
		}}
	}
	a.cl.do(t, func(ok bool) {
		var want strings.Builder
		for n := range a.written {
			fmt.Fprintf(&want, "x %d %d y", a.id, n)
		}
		if !ok || got.String() != want.String() {
			a.cl.c.violate("client %d wrote %q and reads %q", a.id, want.String(), got.String())
			return
		}
		a.compared = true
		a.cl.p.After(a.pause, next)
	})
}
