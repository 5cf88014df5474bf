package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// client issues one operation after the other.
type client struct {
	c      *Cluster
	id     int
	p      *world.Process
	rng    *rand.Rand
	region *metapb.Region
	leader *metapb.Peer
	n      int
}

const firstClient = 201

func newClient(c *Cluster, i int) *client {
	name := clientName(i)
	return &client{c: c, id: i, p: c.w.NewProcess(firstClient+i, name), rng: c.w.Rand(name)}
}

func clientName(i int) string { return fmt.Sprintf("client-%d", i+1) }

func (cl *client) start() {
	cl.p.Start()
	cl.next()
}

func (cl *client) next() {
	cl.p.After(world.Between(cl.rng, 10*time.Millisecond, 2*cl.c.cfg.Think), cl.operate)
}

func (cl *client) operate() {
	cl.n++
	cl.c.result.Counts.Operations++
	cl.attempt(0)
}

func (cl *client) attempt(tries int) {
	if tries > 10 {
		cl.c.result.Counts.Undecided++
		cl.next()
		return
	}
	again := func() {
		cl.p.After(world.Between(cl.rng, 50*time.Millisecond, 300*time.Millisecond), func() { cl.attempt(tries + 1) })
	}
	if cl.region == nil || cl.leader == nil {
		cl.c.sched.locate(cl.p, []byte("k"), func(r *metapb.Region, l *metapb.Peer) {
			cl.region, cl.leader = r, l
			again()
		})
		return
	}
	req := &kvrpcpb.RawPutRequest{
		Context: &kvrpcpb.Context{RegionId: cl.region.Id, RegionEpoch: cl.region.RegionEpoch, Peer: cl.leader},
		Key:     fmt.Appendf(nil, "k%d", cl.rng.IntN(8)), Value: fmt.Appendf(nil, "%d-%d", cl.id, cl.n),
	}
	s := cl.c.stores[cl.leader.StoreId-1]
	cl.c.call(cl.p, s.p, 2*time.Second, func(answer func(any)) { s.front.handle(req, answer) }, func(resp any) {
		r, ok := resp.(*kvrpcpb.RawPutResponse)
		if ok && r.RegionError == nil && r.Error == "" {
			cl.c.result.Counts.Answered++
			cl.next()
			return
		}
		var e *errorpb.Error
		if ok {
			e = r.RegionError
		}
		if l := e.GetNotLeader().GetLeader(); l != nil {
			cl.leader = l
		} else {
			cl.region = nil
		}
		again()
	})
}
