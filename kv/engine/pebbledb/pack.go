package pebbledb

import (
	"errors"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/shoal-kv/shoal/kv/engine"
)

// Packing makes of what a snapshot shows the tables that an ingestion wants, before they leave for another store: that one then has to write bytes, and nothing
// else. The engine is read by one goroutine, tables are made by another, as both take about the same time; pairs pass between them by the run.

var _ engine.Packer = (*snapshot)(nil)

// runTarget is the size in bytes at which a run of pairs is handed on, runsAtOnce how many there are. Smaller runs leave
// the cores idle while the goroutines wake each other.
const runTarget, runsAtOnce = 1 << 20, 4

// TableForm names pebble's format of tables. The families' place in the key and the default comparer are part of the form, and do not change.
func (d *DB) TableForm() string { return "pebble " + d.pdb.TableFormat().String() }

func (s *snapshot) TableForm() string { return s.db.TableForm() }

// Pack reads the range, and makes its tables meanwhile.
func (s *snapshot) Pack(cf engine.CF, r engine.Range, to engine.TableSink) (packed engine.Packed, err error) {
	it, err := s.NewIterator(cf, engine.IterOptions{Lower: r.Start, Upper: r.End})
	if err != nil {
		return engine.Packed{}, err
	}
	f := family{cf: cf, Range: r}
	span := f.span()
	out := &sinkFile{sink: to}
	t := tables{
		db: s.db, start: span.lower, end: span.upper,
		open: func() (objstorage.Writable, error) { return out, nil },
		done: func(table *sstable.Writer) error { return table.Close() },
	}
	defer func() {
		out.stop(errPackingOver)
		t.abort()
	}()
	read := readRuns(it.(*iterator))
	defer func() { _ = read.stop() }() // when there is an error already
	for run := range read.runs {
		for key, value := range run.pairs {
			if err := t.put(key, value); err != nil {
				return engine.Packed{}, err
			}
			packed.Pairs++
			packed.Bytes += uint64(len(key) - 1 + len(value)) // without the family
		}
		read.spare <- run
	}
	if err := read.stop(); err != nil { // what was read may not be all
		return engine.Packed{}, err
	}
	return packed, t.finish()
}

// run is a copy of pairs that follow each other.
type run struct {
	data []byte
	lens []int // of key and value, in turns
}

func (r *run) add(key, value []byte) {
	r.data = append(append(r.data, key...), value...)
	r.lens = append(r.lens, len(key), len(value))
}

// pairs yields the pairs of the run.
func (r *run) pairs(yield func(key, value []byte) bool) {
	rest := r.data
	for i := 0; i < len(r.lens); i += 2 {
		k, n := r.lens[i], r.lens[i]+r.lens[i+1]
		if !yield(rest[:k:k], rest[k:n:n]) {
			return
		}
		rest = rest[n:]
	}
}

// runReader reads an iterator to its end, and closes it.
type runReader struct {
	// runs is closed behind the last; who has used a run gives it to spare.
	runs, spare chan *run
	quit        chan struct{}
	ended       chan error
	stopped     bool
	err         error
}

func readRuns(it *iterator) *runReader {
	r := &runReader{
		runs: make(chan *run, runsAtOnce), spare: make(chan *run, runsAtOnce), quit: make(chan struct{}), ended: make(chan error, 1),
	}
	for range runsAtOnce {
		r.spare <- new(run)
	}
	go func() { // joined by stop
		r.read(it.it)
		close(r.runs)
		r.ended <- it.Close()
	}()
	return r
}

func (r *runReader) read(it *pebble.Iterator) {
	for more := it.First(); more; {
		var next *run
		select {
		case next = <-r.spare:
		case <-r.quit:
			return
		}
		next.data, next.lens = next.data[:0], next.lens[:0]
		for ; more && len(next.data) < runTarget; more = it.Next() {
			next.add(it.Key(), it.Value())
		}
		r.runs <- next // there is room for all of them
	}
}

// stop ends the reading, and returns what ended it early, if not stop itself. It may be called again.
func (r *runReader) stop() error {
	if !r.stopped {
		r.stopped = true
		close(r.quit)
		r.err = <-r.ended
	}
	return r.err
}

// sinkFile is the file of one table after the other, which are a sink's.
type sinkFile struct {
	sink engine.TableSink
	// over is why nothing is given to the sink any more, if so: a table's writer knows no abort, and would end the table.
	over atomic.Pointer[error]
}

func (f *sinkFile) Write(p []byte) error { return f.give(func() error { return f.sink.Write(p) }) }

func (f *sinkFile) Finish() error { return f.give(f.sink.EndTable) }

func (f *sinkFile) give(do func() error) error {
	if over := f.over.Load(); over != nil {
		return *over
	}
	err := do()
	if err != nil {
		f.stop(err)
	}
	return err
}

func (f *sinkFile) stop(err error) { f.over.CompareAndSwap(nil, &err) }

func (f *sinkFile) Abort() {}

var errPackingOver = errors.New("the packing has ended")
