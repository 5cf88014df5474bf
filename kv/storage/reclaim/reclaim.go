// Package reclaim takes expired raw values off the disk.
//
// In TTL mode a value that has expired is invisible at once, because every read judges it by the clock; it still has its place on the
// disk. A Worker looks, every so often, through the regions that its store leads, and deletes what has expired: region after
// region, column family after family, page after page. A page is read from a snapshot of its own, at a bounded rate, so that
// neither clients nor compactions feel it.
//
// Between the snapshot and the deletion a client may write a key anew. So what is proposed is not "delete this key" but
// storage.DeleteExpired: delete it if it has expired by this second, judged in the order of the log on every replica. What a client was
// told is written is never taken away, and a deletion that came to nothing is no harm.
//
// A region that cannot be looked through (it lost its leader, was split, is busy) is left for the next pass, which then comes sooner. The
// package leans on the seam of package storage alone.
package reclaim

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/storage"
)

// What a page holds at most. Its keys must fit into one raft entry.
const (
	pageRows     = 512
	pageBytes    = 1 << 20
	pageKeyBytes = 64 << 10
)

const (
	// rowsPerSecond is how fast a worker reads, and thereby the most that it deletes.
	rowsPerSecond = 10_000
	// pageTimeout bounds what one page may wait for, so that a region without a quorum does not hold up the others.
	pageTimeout = 10 * time.Second
	// soon is when the first pass begins, and the next one after a pass that left regions out, if that is before the interval's end.
	soon = time.Minute
)

// Options is what a Worker is made of.
type Options struct {
	Storage storage.Storage
	// Leading lists the regions that this store leads, as they are now.
	Leading func() []*metapb.Region
	// Wall judges what has expired.
	Wall func() time.Time
	// Interval lies between the beginnings of two passes.
	Interval time.Duration
	Logger   *zap.Logger
	Metrics  prometheus.Registerer
}

// Worker reclaims until Close.
type Worker struct {
	opts    Options
	metrics *metrics
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// Start makes a worker that runs.
func Start(opts Options) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{opts: opts, metrics: newMetrics(opts.Metrics), cancel: cancel}
	w.metrics.interval.Set(float64(opts.Interval.Milliseconds()))
	w.done.Go(func() { w.run(ctx) })
	return w
}

// Close ends the worker, and returns when it has ended. What it has proposed may still be applied.
func (w *Worker) Close() {
	w.cancel()
	w.done.Wait()
}

func (w *Worker) run(ctx context.Context) {
	timer := time.NewTimer(min(w.opts.Interval, soon))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		begin := time.Now()
		pause := w.opts.Interval
		if left := w.Pass(ctx); left > 0 {
			pause = min(pause, soon)
		}
		timer.Reset(max(0, pause-time.Since(begin)))
	}
}

// Pass looks through all regions once, now, and returns how many it could not finish.
func (w *Worker) Pass(ctx context.Context) (left int) {
	w.metrics.regions.Set(0)
	for _, r := range w.opts.Leading() {
		if ctx.Err() != nil {
			return left
		}
		if err := w.region(ctx, r); err != nil {
			left++
			w.metrics.actions.WithLabelValues("error").Inc()
			w.opts.Logger.Debug("expired keys of a region stay until the next pass", zap.Uint64("region", r.Id), zap.Error(err))
			continue
		}
		w.metrics.regions.Inc()
	}
	return left
}

func (w *Worker) region(ctx context.Context, r *metapb.Region) error {
	at := storage.Target{RegionID: r.Id, Epoch: r.RegionEpoch}
	for _, cf := range engine.DataCFs {
		for from := r.StartKey; ; {
			begin := time.Now()
			p, err := w.page(ctx, at, cf, from)
			if err != nil {
				return err
			}
			if err := pace(ctx, begin, p.rows); err != nil {
				return err
			}
			if p.next == nil {
				break
			}
			from = p.next
		}
	}
	return nil
}

// pace returns when so many rows may have been read since begin.
func pace(ctx context.Context, begin time.Time, rows int) error {
	timer := time.NewTimer(time.Duration(rows)*time.Second/rowsPerSecond - time.Since(begin))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page is a part of one region and column family.
type page struct {
	rows     int
	expired  []storage.Modify
	keyBytes int
	bytes    int
	next     []byte // where the next page begins; nil: there is none
}

// page reads one page from a snapshot, and deletes what has expired in it.
func (w *Worker) page(ctx context.Context, at storage.Target, cf engine.CF, from []byte) (p page, err error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	snap, err := storage.Snap(ctx, w.opts.Storage, at)
	if err != nil {
		return p, err
	}
	term := snap.Term()
	err = w.read(snap, cf, from, &p)
	if closeErr := snap.Close(); err == nil {
		err = closeErr
	}
	if err != nil || len(p.expired) == 0 {
		return p, err
	}
	outcome := make(chan error, 1)
	w.opts.Storage.Write(ctx, at, term, p.expired, func(err error) { outcome <- err })
	select {
	case err = <-outcome:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return p, err
	}
	w.metrics.actions.WithLabelValues("delete").Inc()
	w.metrics.expired.Add(float64(len(p.expired)))
	w.metrics.expiredBytes.Add(float64(p.bytes))
	return p, nil
}

// read fills the page.
func (w *Worker) read(snap storage.Snapshot, cf engine.CF, from []byte, p *page) (err error) {
	now := uint64(max(0, w.opts.Wall().Unix()))
	it, err := snap.NewIterator(cf, engine.IterOptions{Lower: from, Upper: snap.Region().EndKey})
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
	}()
	size := 0
	for ok := it.SeekGE(nil); ok; ok = it.Next() {
		key, stored := it.Key(), it.Value()
		if p.rows == pageRows || size >= pageBytes || p.keyBytes >= pageKeyBytes {
			p.next = bytes.Clone(key)
			return nil
		}
		p.rows++
		size += len(key) + len(stored)
		_, expiry, err := keys.SplitRawValue(stored)
		if err != nil {
			return err // not written in this mode: leave all of it alone
		}
		if keys.Expired(expiry, now) {
			p.expired = append(p.expired, storage.Modify{Op: storage.DeleteExpired, CF: cf, Key: bytes.Clone(key), Value: keys.AppendBound(nil, now)})
			p.keyBytes += len(key)
			p.bytes += len(key) + len(stored)
		}
	}
	return nil
}
