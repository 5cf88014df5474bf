package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/pingcap/errors"
	"github.com/tikv/client-go/v2/rawkv"
)

// kvClient is what a run needs of the client library.
type kvClient interface {
	Get(ctx context.Context, key []byte, options ...rawkv.RawOption) ([]byte, error)
	Put(ctx context.Context, key, value []byte, options ...rawkv.RawOption) error
	BatchGet(ctx context.Context, keys [][]byte, options ...rawkv.RawOption) ([][]byte, error)
	BatchPut(ctx context.Context, keys, values [][]byte, options ...rawkv.RawOption) error
}

// phase is what the clients are in.
type phase int32

const (
	warming phase = iota
	measuring
	over
)

// operations, indexes into a worker's histograms.
const (
	opRead = iota
	opWrite
	numOps
)

// longestWait bounds the histograms; whatever takes longer counts as that.
const longestWait = 5 * time.Minute

// bencher is one run.
type bencher struct {
	Options
	client kvClient
	ledger *ledger
	phase  atomic.Int32
}

// worker is one client.
type worker struct {
	*bencher
	id     int
	rand   *rand.Rand
	value  []byte
	hist   [numOps]*hdrhistogram.Histogram
	errors [numOps]int64
	// failed is the first error; wrong are the first of the violations.
	failed     error
	violations int
	wrong      []string
}

func run(ctx context.Context, o Options, client kvClient, servers *servers) (*Result, error) {
	b := &bencher{Options: o, client: client, ledger: newLedger(o)}
	if o.Workload != Write {
		if err := b.load(ctx); err != nil {
			return nil, errors.Annotate(err, "cannot load the keys that are to be read")
		}
	}
	workers := make([]*worker, o.Clients)
	var running sync.WaitGroup
	for i := range workers {
		w := b.newWorker(i)
		workers[i] = w
		running.Go(w.run)
	}
	wait(ctx, o.Warmup)
	usage, syncs := servers.begin(), servers.syncs()
	began := time.Now()
	b.phase.Store(int32(measuring))
	wait(ctx, o.Duration)
	b.phase.Store(int32(over))
	took := time.Since(began)
	cpu, synced := usage.end(), syncsSince(syncs, servers.syncs())
	running.Wait()

	r := newResult(o, took, workers, cpu)
	r.SyncsPerSecond = synced / took.Seconds()
	if o.Check {
		// The check is not cut short with the run: it is what the run was for.
		r.Check = b.verify(context.WithoutCancel(ctx))
		r.Check.add(workers)
	}
	return r, nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (b *bencher) newWorker(id int) *worker {
	w := &worker{bencher: b, id: id, rand: rand.New(rand.NewPCG(uint64(id), 0)), value: b.ledger.filler()}
	for op := range w.hist {
		if (op == opRead && b.Workload != Write) || (op == opWrite && b.Workload != Read) {
			w.hist[op] = hdrhistogram.New(1, longestWait.Microseconds(), 3)
		}
	}
	return w
}

// run goes on until the phase is over. Operations are not cut off: a client that waits is what is measured.
func (w *worker) run() {
	ctx := context.Background()
	for {
		before := phase(w.phase.Load())
		if before == over {
			return
		}
		op := opRead
		if w.Workload == Write || (w.Workload == Mixed && w.rand.Uint64()&1 == 0) {
			op = opWrite
		}
		key := w.pick()
		began := time.Now()
		err := w.do(ctx, op, key)
		took := time.Since(began)
		if err != nil {
			w.errors[op]++
			if w.failed == nil {
				w.failed = err
			}
		}
		if before == measuring {
			_ = w.hist[op].RecordValue(min(took, longestWait).Microseconds()) // it is within the bounds
		}
	}
}

// pick chooses a key; when checking, one of the worker's own.
func (w *worker) pick() int {
	if !w.Check {
		return w.rand.IntN(w.Keys)
	}
	own := (w.Keys - w.id + w.Clients - 1) / w.Clients
	return w.rand.IntN(own)*w.Clients + w.id
}

func (w *worker) do(ctx context.Context, op, key int) error {
	if op == opWrite {
		version := w.ledger.begin(key)
		stamp(w.value, key, version)
		if err := w.client.Put(ctx, w.ledger.key(key), w.value); err != nil {
			return err
		}
		w.ledger.acknowledge(key, version)
		return nil
	}
	value, err := w.client.Get(ctx, w.ledger.key(key))
	if err != nil {
		return err
	}
	if w.Check {
		if problem := w.ledger.judge(key, value); problem != "" {
			w.violations++
			if len(w.wrong) < listed {
				w.wrong = append(w.wrong, "read: "+problem)
			}
		}
	}
	return nil
}

const (
	batchKeys  = 256
	batchBytes = 1 << 20
)

// load writes every key once, a part of them by each of some goroutines.
func (b *bencher) load(ctx context.Context) error {
	return b.inBatches(func(first, end int) error {
		var keys, values [][]byte
		for key := first; key < end; key++ {
			value := b.ledger.filler()
			stamp(value, key, b.ledger.begin(key))
			keys, values = append(keys, b.ledger.key(key)), append(values, value)
		}
		if err := b.client.BatchPut(ctx, keys, values); err != nil {
			return err
		}
		for key := first; key < end; key++ {
			b.ledger.acknowledge(key, 1)
		}
		return ctx.Err()
	})
}

// inBatches calls do for ranges that together are all keys, several at a time, until one fails.
func (b *bencher) inBatches(do func(first, end int) error) error {
	size := max(1, min(batchKeys, batchBytes/b.ValueSize))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var running sync.WaitGroup
	for range min(b.Clients, 16) {
		running.Go(func() {
			for failed.Load() == nil {
				end := int(next.Add(int64(size)))
				if end-size >= b.Keys {
					return
				}
				if err := do(end-size, min(end, b.Keys)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	running.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
