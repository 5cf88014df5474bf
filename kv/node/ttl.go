package node

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/server"
	"github.com/shoal-kv/shoal/kv/storage/reclaim"
)

// WithWall makes the node judge by that clock which values have expired, instead of by the machine's.
func WithWall(wall func() time.Time) Option { return func(n *Node) { n.wall = wall } }

// layout is how raw values are stored here.
func (n *Node) layout() kvrpcpb.APIVersion {
	if n.cfg.Storage.EnableTTL {
		return kvrpcpb.APIVersion_V1TTL
	}
	return kvrpcpb.APIVersion_V1
}

// layoutLabel tells the other stores of a cluster, through the scheduler, that this one runs in TTL mode.
const layoutLabel = "raw-values"

func (n *Node) tellLayout(self *metapb.Store) {
	self.Labels = slices.DeleteFunc(self.Labels, isLayoutLabel)
	if n.cfg.Storage.EnableTTL {
		self.Labels = append(self.Labels, &metapb.StoreLabel{Key: layoutLabel, Value: "ttl"})
	}
}

func isLayoutLabel(l *metapb.StoreLabel) bool { return l.Key == layoutLabel }

// agree refuses to join a cluster whose stores keep raw values in the other way: replicas would be read wrongly.
func (n *Node) agree(ctx context.Context, cp ControlPlane) error {
	begun, err := cp.IsBootstrapped(ctx)
	if err != nil || !begun {
		return err
	}
	stores, err := cp.GetAllStores(ctx)
	if err != nil {
		return errors.Annotate(err, "cannot ask which stores there are")
	}
	for _, s := range stores {
		if theirs := slices.ContainsFunc(s.Labels, isLayoutLabel); theirs != n.cfg.Storage.EnableTTL {
			return errors.Errorf("storage.enable-ttl is %t, but store %d at %s of this cluster was made with %t, and all stores of a cluster "+
				"have the same; set storage.enable-ttl = %t", !theirs, s.Id, s.Address, theirs, theirs)
		}
	}
	return nil
}

// ttl turns TTL mode on where it is configured.
func (n *Node) ttl() server.Option {
	if !n.cfg.Storage.EnableTTL {
		return func(*server.Server) {}
	}
	return server.WithTTL(n.wall)
}

// startReclaim starts the worker that takes expired values away, if there is anything for it to do.
func (n *Node) startReclaim(reg prometheus.Registerer) {
	interval := n.cfg.Storage.TTLCheckPollInterval.Duration
	if !n.cfg.Storage.EnableTTL || interval == 0 {
		return
	}
	n.reclaim = reclaim.Start(reclaim.Options{
		Storage: n.kv, Leading: n.leading, Wall: n.wall, Interval: interval, Logger: n.logger, Metrics: reg,
	})
}

// leading lists the regions that this store leads, in the order of their ids.
func (n *Node) leading() (led []*metapb.Region) {
	n.store.Views(func(_ uint64, v *machine.RegionView) bool {
		if v.IsLeader {
			led = append(led, v.Region)
		}
		return true
	})
	slices.SortFunc(led, func(a, b *metapb.Region) int { return cmp.Compare(a.Id, b.Id) })
	return led
}
