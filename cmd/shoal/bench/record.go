package bench

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	tikverr "github.com/tikv/client-go/v2/error"
	"google.golang.org/grpc/status"
)

// longestWait bounds the histograms; whatever takes longer counts as that.
const longestWait = 5 * time.Minute

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longestWait.Microseconds(), 3)
}

// recorder collects what became of operations. Clients share a few shards, so that they seldom wait for each other and
// many of them need no more memory than few.
type recorder struct {
	kinds  []string
	shards []*shard
}

// maxShards is more than a client machine has cores to spare.
const maxShards = 16

type shard struct {
	mu sync.Mutex
	// second is of everything since the last look, the rest of what was measured; by kind of operation.
	second interval
	total  []tally
	failed error // the first
}

// interval is what happened in one second or so.
type interval struct {
	latency      *hdrhistogram.Histogram
	done, errors int64
}

// tally is what became of the operations of one kind.
type tally struct {
	latency *hdrhistogram.Histogram // of all that were due in it, whatever became of them
	// done were answered in the time that was measured, unsent never began.
	done, unsent int64
	errors       map[string]int64 // by what went wrong
}

func newRecorder(clients int, kinds []string) *recorder {
	r := &recorder{kinds: kinds}
	for range min(clients, maxShards) {
		s := &shard{second: interval{latency: newHistogram()}}
		for range kinds {
			s.total = append(s.total, newTally())
		}
		r.shards = append(r.shards, s)
	}
	return r
}

func newTally() tally { return tally{latency: newHistogram(), errors: map[string]int64{}} }

// outcome is what became of an operation.
type outcome struct {
	kind int
	took time.Duration
	err  error
	// due and ended tell whether it was due, and whether it ended, in the time that is measured. Latencies are of those that were due in
	// it, however late they ended; the rate is of those that ended in it.
	due, ended bool
}

// done notes the end of an operation of a client's. Errors count in the warm-up too: a client that saw one saw it.
func (r *recorder) done(client int, o outcome) {
	us := min(max(o.took, 0), longestWait).Microseconds()
	s := r.shards[client%len(r.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.total[o.kind]
	_ = s.second.latency.RecordValue(us) // it is within the bounds
	if o.due {
		_ = t.latency.RecordValue(us)
	}
	if o.err == nil {
		s.second.done++
		if o.ended {
			t.done++
		}
		return
	}
	s.second.errors++
	t.errors[kindOf(o.err)]++
	if s.failed == nil {
		s.failed = o.err
	}
}

// unsent notes an operation that was due and never began.
func (r *recorder) unsent(client, kind int, waited time.Duration) {
	s := r.shards[client%len(r.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total[kind].unsent++
	_ = s.total[kind].latency.RecordValue(min(waited, longestWait).Microseconds()) // it is within the bounds
}

// take returns what happened since it was called last.
func (r *recorder) take() interval {
	all := interval{latency: newHistogram()}
	for _, s := range r.shards {
		s.mu.Lock()
		all.latency.Merge(s.second.latency)
		all.done += s.second.done
		all.errors += s.second.errors
		s.second.latency.Reset()
		s.second.done, s.second.errors = 0, 0
		s.mu.Unlock()
	}
	return all
}

// sum returns the tallies of all shards by kind, and the first error of one of them.
func (r *recorder) sum() (total []tally, failed error) {
	for kind := range r.kinds {
		t := newTally()
		for _, s := range r.shards {
			s.mu.Lock()
			t.add(&s.total[kind])
			if failed == nil {
				failed = s.failed
			}
			s.mu.Unlock()
		}
		total = append(total, t)
	}
	return total, failed
}

func (t *tally) add(other *tally) {
	t.latency.Merge(other.latency)
	t.done += other.done
	t.unsent += other.unsent
	for kind, n := range other.errors {
		t.errors[kind] += n
	}
}

func (t *tally) failures() int64 {
	var n int64
	for v := range maps.Values(t.errors) {
		n += v
	}
	return n
}

// What a workload itself finds wrong with an answer.
var (
	errMissing = errors.New("the key is not there")
	errWrong   = errors.New("the value is not one of this workload's")
)

// known are errors by the short names under which they are counted.
var known = []struct {
	err  error
	name string
}{
	{errMissing, "missing"},
	{errWrong, "wrong value"},
	{context.DeadlineExceeded, "timeout"},
	{tikverr.ErrTiKVServerTimeout, "timeout"},
	{tikverr.ErrTiKVServerBusy, "server busy"},
	{tikverr.ErrTiKVDiskFull, "disk full"},
	{tikverr.ErrRegionUnavailable, "region unavailable"},
	{tikverr.ErrResultUndetermined, "undetermined"},
	{tikverr.ErrBodyMissing, "empty answer"},
}

// kindOf is the short name of what went wrong.
func kindOf(err error) string {
	for _, k := range known {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	if s, ok := status.FromError(err); ok {
		return "rpc " + s.Code().String()
	}
	return "other"
}
