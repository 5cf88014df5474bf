package server

import (
	"context"
	"sync"
	"time"

	"github.com/pingcap/errors"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// renewalsPerWindow is how often in a window of timestamps the bounds are looked after.
const renewalsPerWindow = 6

// term is the shell around everything that a leader owns: it serialises what is asked of the machine, and makes durable what
// the machine says must be. It is built when the leadership is won, dropped when it is lost, and never reused.
type term struct {
	clusterID  uint64
	log        *zap.Logger
	clocks     Clocks
	metrics    *metrics
	leadership *meta.Leadership
	store      *meta.Store

	// desk guards the machine, except for its timestamps, which have a desk of their own.
	desk       desk
	machine    *machine.Term
	timestamps timestamps

	regions *regionSaver
	removal removal
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
	t.desk = desk{t: t, waited: t.metrics.deskWait.WithLabelValues("picture")}
	t.timestamps.desk = desk{t: t, saved: t.metrics.savedBound, waited: t.metrics.deskWait.WithLabelValues("timestamps")}
	err := t.load(ctx, machine.Config{
		ClusterID: t.clusterID, Name: s.cfg.Name, Replicas: s.cfg.MaxReplicas, TimestampWindow: s.cfg.TSOSaveInterval,
		Schedule: s.cfg.Schedule, Seed: uint64(s.cfg.Clocks.Wall().UnixNano()),
	})
	if err != nil {
		return nil, err
	}
	t.regions, t.removal.t = newRegionSaver(t), t
	t.running.Go(func() { t.regions.run(leadership.Lost()) })
	t.running.Go(func() { t.schedule(leadership.Lost()) })
	t.running.Go(func() { t.keepAhead(s.cfg.TSOSaveInterval/renewalsPerWindow, leadership.Lost()) })
	return t, nil
}

func (t *term) load(ctx context.Context, cfg machine.Config) error {
	l := machine.NewLoader(cfg, t.clocks.Monotonic())
	for _, prefix := range l.Prefixes() {
		if err := t.store.Scan(ctx, prefix, l.Take); err != nil {
			return err
		}
	}
	for _, err := range l.Outdated {
		t.log.Info("something saved is outdated", zap.Error(err))
	}
	at := t.moment()
	m, save := l.Term(at)
	if ahead := m.Timestamps.Ahead(at.Wall); ahead > 2*cfg.TimestampWindow {
		t.log.Warn("the clock stepped back: timestamps stand still until it has caught up", zap.Duration("by", ahead))
	}
	if err := t.timestamps.desk.persist(save); err != nil {
		return errors.Annotate(err, "begin the term")
	}
	t.machine, t.timestamps.machine = m, m.Timestamps
	return nil
}

// keepAhead persists the bounds of timestamps and ids before they are needed.
func (t *term) keepAhead(every time.Duration, lost <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-lost:
			return
		case <-tick.C:
		}
		if err := t.timestamps.desk.change(t.timestamps.machine.Renew); err != nil {
			return // every failed write ends the term
		}
		if err := t.desk.change(t.machine.RenewIDs); err != nil {
			return
		}
	}
}

// join waits for the term's goroutines after the leadership was lost.
func (t *term) join() { t.running.Wait() }

func (t *term) moment() machine.Moment {
	return machine.Moment{Now: t.clocks.Monotonic(), LeaseEnd: t.leadership.End(), Wall: t.clocks.Wall()}
}

// read lets f look at the picture. What it returns from it may be kept: the values inside are immutable.
func read[T any](t *term, f func(*cluster.Picture) T) T {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return f(t.machine.Picture)
}
