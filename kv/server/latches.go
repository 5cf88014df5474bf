package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/txn/latch"
	"github.com/shoal-kv/shoal/proto/region"
)

// latches let goroutines wait at a latch.Table. Whoever holds latches releases them when its write has ended, which may be long after its caller
// has lost patience; until then what is to be computed from the outcome waits.
type latches struct {
	mu    sync.Mutex
	table *latch.Table
	held  map[*latch.Lock]chan struct{} // of those that wait: closed when they hold
}

const (
	latchSlots   = 4096
	latchWaiters = 8192
	// latchBackoff is the hint for a client that is refused because too many wait.
	latchBackoff = 50 * time.Millisecond
)

func newLatches() *latches {
	return &latches{table: latch.NewTable(latchSlots, latchWaiters), held: map[*latch.Lock]chan struct{}{}}
}

// acquire returns when the batch's keys are latched, with what releases them, or with an error: ctx has ended, or too many wait.
func (l *latches) acquire(ctx context.Context, batch []storage.Modify) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys := make([][]byte, len(batch))
	for i := range batch {
		keys[i] = batch[i].Key
	}
	l.mu.Lock()
	lock := l.table.NewLock(keys...)
	held, ok := l.table.Acquire(lock)
	if !ok {
		l.mu.Unlock()
		return nil, &region.ServerIsBusyError{Reason: fmt.Sprintf("%d requests wait for keys that others are changing", latchWaiters), Backoff: latchBackoff}
	}
	release = func() { l.release(lock) }
	if held {
		l.mu.Unlock()
		return release, nil
	}
	wake := make(chan struct{})
	l.held[lock] = wake
	l.mu.Unlock()
	select {
	case <-wake:
		return release, nil
	case <-ctx.Done():
		l.release(lock)
		return nil, ctx.Err()
	}
}

func (l *latches) release(lock *latch.Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, lock)
	for _, woken := range l.table.Release(lock) {
		close(l.held[woken])
		delete(l.held, woken)
	}
}

// latch is acquire, counted.
func (s *Server) latch(ctx context.Context, batch []storage.Modify) (release func(), err error) {
	began := time.Now()
	held, err := s.latches.acquire(ctx, batch)
	s.metrics.latchWait.observe(time.Since(began), 1)
	if err != nil {
		return nil, err
	}
	s.metrics.running.Add(1)
	return func() {
		s.metrics.running.Add(-1)
		held()
	}, nil
}

// applyLatched is apply for a batch whose keys compare-and-swaps may be about.
func (s *Server) applyLatched(ctx context.Context, at storage.Target, batch []storage.Modify) error {
	if len(batch) == 0 {
		return nil
	}
	release, err := s.latch(ctx, batch)
	if err != nil {
		return err
	}
	return s.applyAndRelease(ctx, at, 0, batch, release)
}

// applyAndRelease hands the batch over and waits for its outcome, or for the end of ctx. The latches are released by the outcome alone: a write
// that nobody waits for may still happen.
func (s *Server) applyAndRelease(ctx context.Context, at storage.Target, snapshotTerm uint64, batch []storage.Modify, release func()) error {
	outcome := make(chan error, 1)
	s.storage.Write(ctx, at, snapshotTerm, batch, func(err error) {
		release()
		outcome <- err
	})
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return region.ErrUndetermined
	}
}
