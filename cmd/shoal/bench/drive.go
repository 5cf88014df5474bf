package bench

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// workload is what the clients of a run do.
type workload interface {
	// kinds names the kinds of operation, in the order in which they are shown.
	kinds() []string
	// client makes the part of one client.
	client(id int) actor
}

// actor is one client: it draws an operation, then does it.
type actor interface {
	// draw decides what operation n of the run is, and returns its kind. It is called for every number that falls to this
	// client, also for those that are never done.
	draw(n uint64) (kind int)
	// do carries out what was drawn last.
	do(ctx context.Context) error
}

// driver makes clients work. All take the numbers of their operations from one counter.
//
// In an open loop the clients are also the bound of what is under way: when all of them wait for answers, operations that
// become due are begun later, by the first client that is free, and the time until then is part of their latency. What is
// still not begun at the end will never be; it counts with the time that it has waited so far, less than the truth, and is told
// as a backlog.
type driver struct {
	Options
	record *recorder
	began  time.Time
	next   atomic.Uint64 // the number of the next operation
	begun  atomic.Uint64
	// from and until bound what is measured, as times since began; 0 while they are not known yet.
	from, until atomic.Int64
	over        chan struct{} // closed when until is set
	clients     sync.WaitGroup
}

func newDriver(o Options, w workload) *driver {
	return &driver{Options: o, record: newRecorder(o.Clients, w.kinds()), over: make(chan struct{})}
}

// start lets the clients begin.
func (d *driver) start(w workload) {
	d.began = time.Now()
	for id := range d.Clients {
		c := w.client(id)
		d.clients.Go(func() { d.run(id, c) })
	}
}

// measure marks the end of the warm-up.
func (d *driver) measure() { d.from.Store(d.now()) }

// end is the end of the run, for all that has not begun.
func (d *driver) end() {
	d.until.Store(d.now())
	close(d.over)
}

// join waits for what is under way: an answer that takes long is what is measured.
func (d *driver) join() { d.clients.Wait() }

// now is the time since the run began, and more than nothing.
func (d *driver) now() int64 { return max(1, int64(time.Since(d.began))) }

// due is when operation n shall begin, since began.
func (d *driver) due(n uint64) time.Duration {
	return time.Duration(float64(n) / d.Rate * float64(time.Second))
}

// backlog is how many operations are due and not begun.
func (d *driver) backlog(now time.Duration) int64 {
	if d.Rate == 0 {
		return 0
	}
	if until := time.Duration(d.until.Load()); until > 0 {
		now = min(now, until)
	}
	return max(0, int64(math.Ceil(now.Seconds()*d.Rate))-int64(d.begun.Load()))
}

func (d *driver) run(id int, c actor) {
	ctx := context.Background() // operations are not cut off
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		ended := d.until.Load() > 0
		n := d.next.Add(1) - 1
		begin := time.Since(d.began)
		if d.Rate > 0 {
			begin = d.due(n)
			d.await(timer, begin)
		}
		until := time.Duration(d.until.Load())
		switch {
		case until > 0 && (d.Rate == 0 || begin >= until):
			return
		case ended: // and this one was due before: it comes too late to be sent
			if kind := c.draw(n); d.measured(begin) {
				d.record.unsent(id, kind, until-begin)
			}
			continue
		}
		d.begun.Add(1)
		kind := c.draw(n)
		err := c.do(ctx)
		now := time.Since(d.began)
		d.record.done(id, outcome{kind: kind, took: now - begin, err: err, due: d.measured(begin), ended: d.measured(now)})
	}
}

// await waits until it is time, or the run is over.
func (d *driver) await(timer *time.Timer, at time.Duration) {
	wait := at - time.Since(d.began)
	if wait <= 0 {
		return
	}
	timer.Reset(wait)
	select {
	case <-timer.C:
	case <-d.over:
	}
}

// measured tells whether a moment lies in the time that is measured.
func (d *driver) measured(at time.Duration) bool {
	from, until := time.Duration(d.from.Load()), time.Duration(d.until.Load())
	return from > 0 && at >= from && (until == 0 || at < until)
}

// drive runs a workload that is loaded: warm-up, then what is measured. When ctx ends it ends early, with what there is.
func drive(ctx context.Context, o Options, w workload, servers *servers) *Result {
	d := newDriver(o, w)
	d.start(w)
	watching, stop := context.WithCancel(context.Background())
	var watcher sync.WaitGroup
	if o.Progress != nil {
		watcher.Go(func() { d.watch(watching, newScreen(o.Progress)) })
	}
	wait(ctx, o.Warmup)
	usage, syncs := servers.begin(), servers.syncs()
	d.measure()
	wait(ctx, o.Duration)
	d.end()
	cpu, synced := usage.end(), syncsSince(syncs, servers.syncs())
	d.join()
	stop()
	watcher.Wait()
	r := newResult(o, time.Duration(d.until.Load()-d.from.Load()), d.record)
	r.spent(cpu, synced)
	return r
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
