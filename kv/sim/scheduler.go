package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// schedulers is the scheduler group.
type schedulers struct {
	c       *Cluster
	p       *world.Process
	picture *cluster.Picture
	lastID  uint64
}

const firstScheduler = 101

func newSchedulers(c *Cluster) *schedulers {
	return &schedulers{c: c, p: c.w.NewProcess(firstScheduler, schedulerName(1)), picture: cluster.NewPicture(c.cfg.Replicas)}
}

func schedulerName(id int) string { return fmt.Sprintf("scheduler-%d", id) }

func (g *schedulers) start() { g.p.Start() }

// power turns the whole group off or on.
func (g *schedulers) power(on bool) {
	if on && !g.p.Up() {
		g.p.Start()
	} else if !on {
		g.p.Kill()
	}
}

func (g *schedulers) now() time.Time { return time.Unix(0, g.p.Monotonic()) }

// registry is the group as a store sees it that does not run yet.
func (g *schedulers) registry() raftstore.Registry { return (*registry)(g) }

func (g *schedulers) putStore(s *metapb.Store) { g.picture.PutStore(s, g.now()) }

func (g *schedulers) storeHeartbeat(s *store, _ *pdpb.StoreStats) {
	g.c.net.Send(s.p, g.p, func() { g.picture.HearStore(s.id, cluster.StoreStats{}, g.now(), g.p.Wall()) })
}

func (g *schedulers) regionHeartbeat(s *store, hb *pdpb.RegionHeartbeatRequest) {
	g.c.net.Send(s.p, g.p, func() {
		r := &cluster.Region{Meta: hb.Region, Leader: hb.Leader, Term: hb.Term, Pending: hb.PendingPeers}
		for _, d := range hb.DownPeers {
			r.Down = append(r.Down, cluster.DownPeer{Peer: d.Peer, Seconds: d.DownSeconds})
		}
		change, err := g.picture.CheckRegion(r)
		if err != nil {
			return
		}
		g.picture.PutRegion(r, change)
		add := g.picture.AddReplica(r.ID(), g.now())
		if add == nil {
			return
		}
		if add.Id == 0 {
			g.lastID++
			add.Id = g.lastID
			g.picture.Propose(r.ID(), add)
		}
		resp := &pdpb.RegionHeartbeatResponse{
			RegionId: r.ID(), RegionEpoch: r.Meta.RegionEpoch, TargetPeer: r.Leader,
			ChangePeer: &pdpb.ChangePeer{Peer: add, ChangeType: eraftpb.ConfChangeType_AddNode},
		}
		g.c.net.Send(g.p, s.p, func() { s.answer(resp) })
	})
}

// locate answers which region holds a key, and who led it when last heard; both nil when nobody knows.
func (g *schedulers) locate(from *world.Process, key []byte, done func(*metapb.Region, *metapb.Peer)) {
	g.c.call(from, g.p, time.Second, func(answer func(any)) {
		answer(g.picture.RegionOf(key))
	}, func(resp any) {
		if r, ok := resp.(*cluster.Region); ok && r != nil {
			done(r.Meta, r.Leader)
		} else {
			done(nil, nil)
		}
	})
}

type registry schedulers

func (r *registry) ClusterID() uint64 { return 7 }

func (r *registry) AllocID(context.Context) (uint64, error) {
	r.lastID++
	return r.lastID, nil
}

func (r *registry) IsBootstrapped(context.Context) (bool, error) {
	return r.picture.Cluster() != nil, nil
}

func (r *registry) Bootstrap(_ context.Context, s *metapb.Store, first *metapb.Region) error {
	if err := cluster.CheckBootstrap(s, first); err != nil {
		return err
	}
	if r.picture.Cluster() != nil {
		return errors.New("bootstrapped already")
	}
	r.picture.SetCluster(&metapb.Cluster{Id: 7})
	r.c.home = first.Id
	return nil
}

func (r *registry) GetRegionByID(_ context.Context, id uint64) (*metapb.Region, *metapb.Peer, error) {
	if found := r.picture.Region(id); found != nil {
		return found.Meta, found.Leader, nil
	}
	return nil, nil, nil
}
