package server

import (
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/scheduler/meta"
)

// regionSaver writes region metas behind the heartbeats that brought them. While one write is under way the next gathers.
type regionSaver struct {
	t    *term
	wake chan struct{}
}

func newRegionSaver(t *term) *regionSaver { return &regionSaver{t: t, wake: make(chan struct{}, 1)} }

// wakeUp says that there is something to save.
func (s *regionSaver) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run saves until the leadership is lost.
func (s *regionSaver) run(lost <-chan struct{}) {
	for {
		select {
		case <-lost:
			return
		case <-s.wake:
		}
		if err := s.save(); err != nil {
			s.t.log.Warn("regions were not saved; heartbeats will bring them back", zap.Error(err))
			return // every failed write ends the term
		}
	}
}

func (s *regionSaver) save() error {
	for {
		s.t.desk.mu.Lock()
		ops := s.t.machine.Behind(meta.MaxWrite)
		s.t.desk.mu.Unlock()
		if len(ops) == 0 {
			return nil
		}
		if err := s.t.store.Write(metaOps(ops)...); err != nil {
			return err
		}
		s.t.metrics.regionEvents.WithLabelValues("update_kv").Add(float64(len(ops)))
	}
}
