package test_raftstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/shoal-kv/shoal/kv/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generic is the scenario that most of the staged suites share: clients append to and scan ranges of their own, while the network loses
// messages, splits and heals, and all stores crash and come back. What a client was told is written must be there, once and in order.
type generic struct {
	clients                       int
	unreliable, crash, partitions bool
	maxRaftLog                    uint64
	confChange, split             bool
}

const stores = 5

func (g generic) run(t *testing.T) {
	cfg := config.NewTestConfig()
	if g.maxRaftLog > 0 {
		cfg.Raftstore.RaftLogGcCountLimit, cfg.Raftstore.RaftLogGcThreshold = g.maxRaftLog, g.maxRaftLog/2
	}
	if g.split {
		cfg.Coprocessor.RegionMaxSize, cfg.Coprocessor.RegionSplitSize = 300, 200
	}
	c := NewTestCluster(t, stores, cfg)
	c.Start()
	defer c.Shutdown()
	if g.confChange {
		c.Scheduler.setReplicas(1) // peers come and go as the test likes
	}
	written := make([]int, g.clients)
	for range 3 {
		g.round(c, written)
		g.check(c, written)
	}
	for cli, n := range written {
		for i := range n {
			c.MustDelete(clientKey(cli, i))
		}
		require.Empty(t, c.Scan(clientKey(cli, 0), clientEnd(cli)))
	}
	if g.maxRaftLog > 0 {
		c.checkLogsBounded(g.maxRaftLog)
	}
	if g.split {
		require.NotEmpty(t, c.GetRegion(nil).EndKey, "the first region has been split")
	}
}

func (g generic) round(c *Cluster, written []int) {
	var stop atomic.Bool
	var clients, faults sync.WaitGroup
	if g.unreliable {
		c.AddFilter(DropFilter())
	}
	for cli := range written {
		clients.Add(1)
		go func() {
			defer clients.Done()
			written[cli] = c.appendOrScan(cli, written[cli], &stop)
		}()
	}
	if g.partitions {
		faults.Add(1)
		go func() {
			defer faults.Done()
			g.repartition(c, &stop)
		}()
	}
	if g.confChange {
		faults.Add(1)
		go func() {
			defer faults.Done()
			c.changePeersAtRandom(&stop)
		}()
	}
	<-time.After(roundLength())
	stop.Store(true)
	faults.Wait()
	c.ClearFilters()
	clients.Wait()
	if g.crash {
		for id := uint64(1); id <= stores; id++ {
			c.StopServer(id)
		}
		for id := uint64(1); id <= stores; id++ {
			c.StartServer(id)
		}
	}
}

// roundLength is short with -short: the shape of the scenario stays.
func roundLength() time.Duration {
	if testing.Short() {
		return time.Second
	}
	return 2 * time.Second
}

// appendOrScan is one client: it puts its next key, or scans its range and compares.
func (c *Cluster) appendOrScan(cli, n int, stop *atomic.Bool) int {
	rng := rand.New(rand.NewPCG(uint64(cli), uint64(n)))
	for !stop.Load() {
		if rng.IntN(1000) < 500 {
			c.MustPut(clientKey(cli, n), clientValue(cli, n))
			n++
			continue
		}
		c.checkAppends(cli, n)
	}
	return n
}

func (c *Cluster) checkAppends(cli, n int) {
	got := bytes.Join(c.Scan(clientKey(cli, 0), clientEnd(cli)), nil)
	var want []byte
	for i := range n {
		want = append(want, clientValue(cli, i)...)
	}
	require.Equal(c.t, string(want), string(got), "client %d", cli)
}

func (g generic) check(c *Cluster, written []int) {
	for cli, n := range written {
		c.checkAppends(cli, n)
	}
}

// repartition cuts the stores into two random sides, anew every election timeout.
func (g generic) repartition(c *Cluster, stop *atomic.Bool) {
	rng := rand.New(rand.NewPCG(3, 5))
	for !stop.Load() {
		var sides [2][]uint64
		for id := uint64(1); id <= stores; id++ {
			side := rng.IntN(2)
			sides[side] = append(sides[side], id)
		}
		c.ClearFilters()
		c.AddFilter(PartitionFilter(sides[:]...))
		if g.unreliable {
			c.AddFilter(DropFilter())
		}
		election := time.Duration(c.cfg.Raftstore.ElectionTimeoutTicks) * c.cfg.Raftstore.BaseTickInterval.Duration
		<-time.After(election + time.Duration(rng.Int64N(int64(election))))
	}
}

func clientKey(cli, i int) []byte   { return fmt.Appendf(nil, "%02d%08d", cli, i) }
func clientEnd(cli int) []byte      { return fmt.Appendf(nil, "%02d:", cli) }
func clientValue(cli, i int) []byte { return fmt.Appendf(nil, "x %d %d y", cli, i) }

func TestBasic2B(t *testing.T)                     { generic{clients: 1}.run(t) }
func TestConcurrent2B(t *testing.T)                { generic{clients: 5}.run(t) }
func TestUnreliable2B(t *testing.T)                { generic{clients: 5, unreliable: true}.run(t) }
func TestManyPartitionsOneClient2B(t *testing.T)   { generic{clients: 1, partitions: true}.run(t) }
func TestManyPartitionsManyClients2B(t *testing.T) { generic{clients: 5, partitions: true}.run(t) }
func TestPersistOneClient2B(t *testing.T)          { generic{clients: 1, crash: true}.run(t) }
func TestPersistConcurrent2B(t *testing.T)         { generic{clients: 5, crash: true}.run(t) }

func TestPersistConcurrentUnreliable2B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true}.run(t)
}

func TestPersistPartition2B(t *testing.T) {
	generic{clients: 5, crash: true, partitions: true}.run(t)
}

func TestPersistPartitionUnreliable2B(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, partitions: true}.run(t)
}

func TestSnapshotRecover2C(t *testing.T) { generic{clients: 1, crash: true, maxRaftLog: 100}.run(t) }

func TestSnapshotRecoverManyClients2C(t *testing.T) {
	generic{clients: 20, crash: true, maxRaftLog: 100}.run(t)
}

func TestSnapshotUnreliable2C(t *testing.T) {
	generic{clients: 5, unreliable: true, maxRaftLog: 100}.run(t)
}

func TestSnapshotUnreliableRecover2C(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, maxRaftLog: 100}.run(t)
}

func TestSnapshotUnreliableRecoverConcurrentPartition2C(t *testing.T) {
	generic{clients: 5, unreliable: true, crash: true, partitions: true, maxRaftLog: 100}.run(t)
}
