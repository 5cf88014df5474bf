package bench

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// draws is a source of randomness for each operation of a run: the same for the same seed and number, whoever asks.
type draws struct {
	seed   uint64
	source *rand.PCG
	rand   *rand.Rand
}

func newDraws(seed uint64) *draws {
	d := &draws{seed: seed, source: rand.NewPCG(0, 0)}
	d.rand = rand.New(d.source)
	return d
}

// of is good until it is called again.
func (d *draws) of(n uint64) *rand.Rand {
	d.source.Seed(d.seed, n)
	return d.rand
}

// batches says how a number of items is cut into batches that a few clients at a time care for.
type batches struct{ items, bytes, clients int }

const (
	batchItems   = 256
	batchBytes   = 1 << 20
	batchClients = 16
)

// inBatches calls do for ranges that together are all items, several at a time, until one fails. It shows how far it is on
// progress, unless that is nil.
func inBatches(b batches, do func(first, end int) error, progress io.Writer) error {
	size := max(1, min(batchItems, batchBytes/b.bytes))
	var next, done atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	finished := make(chan struct{})
	for range min(b.clients, batchClients) {
		running.Go(func() {
			for failed.Load() == nil {
				end := int(next.Add(int64(size)))
				if end-size >= b.items {
					return
				}
				if err := do(end-size, min(end, b.items)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				done.Add(int64(size))
			}
		})
	}
	var watcher sync.WaitGroup
	if progress != nil {
		watcher.Go(func() { watchBatches(newScreen(progress), b.items, &done, finished) })
	}
	running.Wait()
	close(finished)
	watcher.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// watchBatches shows each second how far the batches are.
func watchBatches(s *screen, items int, done *atomic.Int64, finished <-chan struct{}) {
	defer s.clear()
	began := time.Now()
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-finished:
			return
		}
		took, n := time.Since(began), min(int(done.Load()), items)
		if !s.terminal {
			s.line("loading: %d of %d", n, items)
			continue
		}
		left := time.Duration(0)
		if n > 0 {
			left = time.Duration(float64(took) * float64(items-n) / float64(n))
		}
		s.bar("loading", float64(n)/float64(items), left)
	}
}
