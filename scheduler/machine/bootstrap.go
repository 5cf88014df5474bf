package machine

import (
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// Bootstrap takes in the first store and region, both and the cluster's meta in one durable step: a crash in the middle
// leaves nothing. ErrAlreadyBootstrapped is also what a repeated call is told.
func (t *Term) Bootstrap(store *metapb.Store, region *metapb.Region, at Moment) (*Save, error) {
	if t.Bootstrapped() {
		return nil, ErrAlreadyBootstrapped
	}
	if err := cluster.CheckBootstrap(store, region); err != nil {
		return nil, err
	}
	first := &metapb.Cluster{Id: t.clusterID, MaxPeerCount: uint32(t.settings.config.MaxReplicas)}
	return &Save{
		Ops: []Op{
			{clusterKey, mustMarshal(first)},
			{BootstrapTimeKey, bigEndian(uint64(at.Wall.UnixNano()))},
			{storeKey(store.Id), mustMarshal(store)},
			{regionKey(region.Id), mustMarshal(region)},
		},
		IfAbsent: clusterKey,
		take: func(now time.Time) {
			t.Picture.SetCluster(first)
			t.Picture.PutStore(store, now)
			r := &cluster.Region{Meta: region}
			change, err := t.Picture.CheckRegion(r)
			if err != nil {
				panic("the first region of the cluster is not the first: " + err.Error())
			}
			t.Picture.PutRegion(r, change)
		},
	}, nil
}

// SetCluster replaces the cluster's meta. Its replica count is a record only: the configuration decides.
func (t *Term) SetCluster(next *metapb.Cluster) (*Save, error) {
	if !t.Bootstrapped() {
		return nil, ErrNotBootstrapped
	}
	if next.GetId() != t.clusterID {
		return nil, errors.Errorf("invalid cluster %v, mismatch cluster id %d", next, t.clusterID)
	}
	return &Save{
		Ops:  []Op{{clusterKey, mustMarshal(next)}},
		take: func(time.Time) { t.Picture.SetCluster(next) },
	}, nil
}
