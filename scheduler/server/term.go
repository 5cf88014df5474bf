package server

import (
	"context"
	"fmt"
	"sync"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// Where things lie in the durable map.
const (
	clusterKey       = "raft"
	storePrefix      = "raft/s/"
	regionPrefix     = "raft/r/"
	bootstrapTimeKey = "raft/status/raft_bootstrap_time"
	timestampKey     = "timestamp"
	idKey            = "alloc_id"
)

func storeKey(id uint64) string  { return fmt.Sprintf("%s%020d", storePrefix, id) }
func regionKey(id uint64) string { return fmt.Sprintf("%s%020d", regionPrefix, id) }

// term is everything that a leader owns. It is built when the leadership is won, dropped when it is lost, and never
// reused: nothing in it survives into another leader's time.
type term struct {
	clusterID  uint64
	log        *zap.Logger
	clocks     Clocks
	metrics    *metrics
	leadership *meta.Leadership
	store      *meta.Store

	timestamps *timestamps
	ids        *ids
	gc         *safePoints

	// admin serialises changes that are made durable before they enter the picture; mu guards the picture itself and is
	// never held across a write.
	admin   sync.Mutex
	mu      sync.RWMutex
	picture *cluster.Picture

	regions *regionSaver
	streams *streams
	running sync.WaitGroup
}

// newTerm reads the durable map and starts the term's goroutines. They end when the leadership is lost.
func newTerm(ctx context.Context, s *Server, leadership *meta.Leadership) (*term, error) {
	t := &term{
		clusterID: s.ClusterID(), log: s.log, clocks: s.cfg.Clocks, metrics: s.metrics,
		leadership: leadership, store: leadership.Store(),
		streams: newStreams(),
	}
	var err error
	if t.timestamps, err = loadTimestamps(ctx, t, s.cfg.TSOSaveInterval); err != nil {
		return nil, err
	}
	if t.ids, err = loadIDs(ctx, t); err != nil {
		return nil, err
	}
	if t.gc, err = loadSafePoints(ctx, t.store); err != nil {
		return nil, err
	}
	if t.picture, err = t.loadPicture(ctx, s.cfg.MaxReplicas); err != nil {
		return nil, err
	}
	t.regions = newRegionSaver(t.store, t.log)
	t.running.Go(func() { t.regions.run(leadership.Lost()) })
	t.running.Go(func() { t.timestamps.keepAhead(leadership.Lost()) })
	return t, nil
}

// join waits for the term's goroutines after the leadership was lost.
func (t *term) join() { t.running.Wait() }

func (t *term) loadPicture(ctx context.Context, replicas int) (*cluster.Picture, error) {
	p := cluster.NewPicture(replicas)
	value, err := t.store.Load(ctx, clusterKey)
	if err != nil || value == nil {
		return p, err
	}
	var c metapb.Cluster
	if err := c.Unmarshal(value); err != nil {
		return nil, errors.Annotate(err, "decode the cluster's meta")
	}
	p.SetCluster(&c)
	now := t.clocks.Monotonic()
	err = t.store.Scan(ctx, storePrefix, func(key string, value []byte) error {
		var s metapb.Store
		if err := s.Unmarshal(value); err != nil {
			return errors.Annotatef(err, "decode %s", key)
		}
		p.PutStore(&s, now)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = t.store.Scan(ctx, regionPrefix, func(key string, value []byte) error {
		var m metapb.Region
		if err := m.Unmarshal(value); err != nil {
			return errors.Annotatef(err, "decode %s", key)
		}
		r := &cluster.Region{Meta: &m}
		change, err := p.CheckRegion(r)
		if err != nil {
			// Saves lag behind heartbeats, so the map may hold a region beside one that replaced it.
			t.log.Info("a saved region is outdated", zap.Error(err))
			return nil
		}
		p.PutRegion(r, change)
		return nil
	})
	return p, err
}
