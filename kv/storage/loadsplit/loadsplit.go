// Package loadsplit divides regions that are busy, whatever their size, so that the scheduler can spread what they do over stores.
//
// Requests are sampled where they touch the engine: one in many, chosen by chance, so that the hot path pays for a random number and takes no lock. A
// Recorder keeps, for each region and window of time, how much its samples stand for, and some of their keys, each as likely as the next. At the end
// of a window the Splitter looks at the regions that did more than the thresholds allow, and Choose looks for the key that leaves about as much on
// its left as on its right, and lies inside few of the ranges that were read. The split itself is one like any other: best effort, and refused by
// whoever does not lead.
//
// Nothing here touches what is decided by raft; without a Recorder nothing is sampled.
package loadsplit

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/proto/region"
)

const (
	// sampleEvery is how many requests a sample stands for.
	sampleEvery = 32
	// maxSamples bounds the keys of a region, maxRegions the regions of a window.
	maxSamples = 64
	maxRegions = 4096
	// minSamples is how many keys are needed to choose among them.
	minSamples = 16
)

// Sample is a request: of one key when End is empty, else of the range [Start, End).
type Sample struct{ Start, End []byte }

// Load is what a region did in a window, as its samples say.
type Load struct {
	Region          *metapb.Region
	Requests, Bytes uint64
	Samples         []Sample
	seen            uint64
}

// Recorder takes samples; its methods are safe for concurrent use. A nil Recorder takes none.
type Recorder struct {
	draw func() uint64

	mu      sync.Mutex
	regions map[uint64]*Load
}

// NewRecorder returns a recorder that leaves chance to draw, which must be safe for concurrent use.
func NewRecorder(draw func() uint64) *Recorder {
	return &Recorder{draw: draw, regions: make(map[uint64]*Load)}
}

// Chosen says whether the request at hand shall be added.
func (r *Recorder) Chosen() bool { return r != nil && r.draw()%sampleEvery == 0 }

// Add notes a request that was Chosen, and the bytes that it moved. What was noted of an earlier shape of the region is forgotten.
func (r *Recorder) Add(of *metapb.Region, s Sample, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.regions[of.Id]
	if l == nil && len(r.regions) >= maxRegions {
		return
	}
	if l == nil || l.Region.RegionEpoch.GetVersion() < of.RegionEpoch.GetVersion() {
		l = &Load{Region: of}
		r.regions[of.Id] = l
	}
	l.Requests += sampleEvery
	l.Bytes += sampleEvery * uint64(size)
	l.seen++
	at := uint64(len(l.Samples))
	if at == maxSamples {
		at = r.draw() % l.seen // reservoir sampling: each of those seen stays with the same chance
	}
	if at >= maxSamples {
		return
	}
	s = Sample{bytes.Clone(s.Start), bytes.Clone(s.End)}
	if at == uint64(len(l.Samples)) {
		l.Samples = append(l.Samples, s)
	} else {
		l.Samples[at] = s
	}
}

// Take ends a window: it returns what was recorded, by region id, and begins anew.
func (r *Recorder) Take() []*Load {
	r.mu.Lock()
	regions := r.regions
	r.regions = make(map[uint64]*Load)
	r.mu.Unlock()
	var loads []*Load
	for _, l := range regions {
		loads = append(loads, l)
	}
	slices.SortFunc(loads, func(a, b *Load) int { return cmp.Compare(a.Region.Id, b.Region.Id) })
	return loads
}

// The bounds of a good key: left and right differ by a quarter of what does not contain it, and half of all contain it, at most.
const (
	maxImbalance = 0.25
	maxContained = 0.5
)

// Choose looks for the best key to split a region at; nil when there is no good one.
func Choose(r *metapb.Region, samples []Sample) []byte {
	if len(samples) < minSamples {
		return nil
	}
	var best []byte
	least := 2.0
	for _, s := range samples {
		key := keys.SplitKey(s.Start)
		if bytes.Compare(key, r.StartKey) <= 0 || !region.Contains(r, key) {
			continue
		}
		if score, ok := judge(key, samples); ok && (score < least || score == least && bytes.Compare(key, best) < 0) {
			least, best = score, key
		}
	}
	return best
}

// judge says how uneven a key divides the samples, 0 for even; not ok when it is a bad one.
func judge(key []byte, samples []Sample) (imbalance float64, ok bool) {
	var left, right, contained float64
	for _, s := range samples {
		switch {
		case bytes.Compare(s.Start, key) >= 0:
			right++
		case len(s.End) == 0 || bytes.Compare(s.End, key) <= 0:
			left++
		default:
			contained++
		}
	}
	if left == 0 || right == 0 || contained > maxContained*float64(len(samples)) {
		return 0, false
	}
	imbalance = max(left-right, right-left) / (left + right)
	return imbalance, imbalance <= maxImbalance
}

// Thresholds are what a region may do in a second before it is split: requests, and bytes read and written. 0 is no limit.
type Thresholds struct{ QPS, Bytes uint64 }

// Window is how long a region is watched before it is judged.
const Window = 10 * time.Second

// Splitter splits what is busy.
type Splitter struct {
	recorder *Recorder
	limits   Thresholds
	split    func(r *metapb.Region, key []byte)
	stop     context.CancelFunc
	done     sync.WaitGroup
}

// NewSplitter returns a splitter that has regions split by split, which must not block.
func NewSplitter(rec *Recorder, limits Thresholds, split func(r *metapb.Region, key []byte)) *Splitter {
	return &Splitter{recorder: rec, limits: limits, split: split}
}

// Start begins to split, until Close.
func (s *Splitter) Start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.run(ctx) })
}

// Close ends what Start began.
func (s *Splitter) Close() {
	s.stop()
	s.done.Wait()
}

func (s *Splitter) run(ctx context.Context) {
	ticker := time.NewTicker(Window)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.EndWindow()
		case <-ctx.Done():
			return
		}
	}
}

// EndWindow judges what was recorded in the window that ends now.
func (s *Splitter) EndWindow() {
	seconds := uint64(Window / time.Second)
	for _, l := range s.recorder.Take() {
		busy := s.limits.QPS > 0 && l.Requests/seconds >= s.limits.QPS || s.limits.Bytes > 0 && l.Bytes/seconds >= s.limits.Bytes
		if !busy {
			continue
		}
		if key := Choose(l.Region, l.Samples); key != nil {
			s.split(l.Region, key)
		}
	}
}
