package raftstore

import (
	"sync/atomic"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// pulse shows since when a worker has been at the piece of work that it is at. Only the worker writes it.
type pulse struct {
	worker string
	since  atomic.Int64 // an Instant; 0 while the worker waits
}

func (p *pulse) begin(now machine.Instant) { p.since.Store(int64(now)) }

func (p *pulse) end() { p.since.Store(0) }

// newPulse is for a worker that is about to start.
func (s *Store) newPulse(worker string) *pulse {
	p := &pulse{worker: worker}
	s.pulses = append(s.pulses, p)
	return p
}

// pulsed is a worker whose pulse can be felt.
func (s *Store) pulsed(name string, w worker) worker {
	return &pulsedWorker{w, s.newPulse(name), s.opts.Clock}
}

type pulsedWorker struct {
	worker
	at    *pulse
	clock func() machine.Instant
}

func (w *pulsedWorker) step() bool {
	w.at.begin(w.clock())
	defer w.at.end()
	return w.worker.step()
}

// Stuck is an error that names a worker which has been at one piece of work for longer than limit: most likely the disk does not
// answer. A worker without work is well. It may be called once the store is started.
func (s *Store) Stuck(limit time.Duration) error {
	now := s.opts.Clock()
	for _, p := range s.pulses {
		since := p.since.Load()
		if took := time.Duration(int64(now) - since); since != 0 && took > limit {
			return errors.Errorf("the %s has been at one piece of work for %v", p.worker, took.Round(time.Millisecond))
		}
	}
	return nil
}
