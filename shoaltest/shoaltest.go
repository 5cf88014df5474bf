// Package shoaltest gives any Go test a real Shoal cluster: real stores, real raft, the real protocol on loopback ports, and faults
// on demand.
//
//	c := shoaltest.Start(t, shoaltest.Stores(3))
//	client, err := rawkv.NewClientWithOpts(ctx, []string{c.PD()})
//
// The cluster is ready when Start returns, and ends with the test; no goroutine and no file stay behind. By default the stores
// keep their data in memory, which a stopped store finds again when it is started again.
package shoaltest

import (
	"context"
	"testing"
	"time"

	"github.com/shoal-kv/shoal/local"
	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// patience is how long starting may take on a very busy machine; it usually takes a few tenths of a second.
const patience = time.Minute

// Option changes a cluster before it starts.
type Option func(*local.Options)

// Stores sets the number of stores; the default is 3.
func Stores(n int) Option { return func(o *local.Options) { o.Stores = n } }

// OnDisk keeps the stores' data in a directory of the test's instead of in memory.
func OnDisk() Option { return func(o *local.Options) { o.InMemory = false } }

// Cluster is a running cluster. Its stores are counted from 0. Its methods end the test when they fail.
type Cluster struct {
	t testing.TB
	c *local.Cluster
}

// Start starts a cluster that ends with the test.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	o := local.Options{Dir: t.TempDir(), InMemory: true}
	o.Scheduler.Schedule = schedule.DefaultConfig()
	o.Scheduler.Schedule.LowSpaceRatio, o.Scheduler.Schedule.HighSpaceRatio = 1, 1 // however full the machine's disk is
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := local.Start(ctx, o)
	if err != nil {
		t.Fatalf("shoaltest: the cluster does not start: %v", err)
	}
	t.Cleanup(c.Close)
	if err := c.WaitWhole(ctx); err != nil {
		t.Fatalf("shoaltest: %v", err)
	}
	return &Cluster{t: t, c: c}
}

// PD is the scheduler's host:port: what a client is given.
func (c *Cluster) PD() string { return c.c.PD() }

// Addrs are the stores' host:port, in order.
func (c *Cluster) Addrs() []string { return c.c.Addrs() }

// StopStore stops a store. As long as a majority runs, clients go on.
func (c *Cluster) StopStore(i int) {
	c.t.Helper()
	c.must(c.c.StopStore(i))
}

// StartStore starts a stopped store again, with its data and at its address.
func (c *Cluster) StartStore(i int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.must(c.c.StartStore(ctx, i))
}

// Partition cuts the network between the stores: only those of one group hear each other, and a store in no group is alone. Clients still
// reach every store.
func (c *Cluster) Partition(groups ...[]int) {
	c.t.Helper()
	c.must(c.c.Partition(groups...))
}

// Heal ends the partition.
func (c *Cluster) Heal() { c.c.Heal() }

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("shoaltest: %v", err)
	}
}
