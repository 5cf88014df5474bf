// Package traffic estimates how much is read from and written to each region of a store, so that the scheduler can spread what is busy and show it.
//
// Requests are sampled where they touch the engine: one in many, chosen by chance, stands for all of them, so that the hot path pays for a random number and takes no
// lock. What a Meter has counted is taken out by who reports it: a region's by the report of its leader, the store's by the store's.
//
// Nothing that raft decides depends on it; a nil Meter counts nothing.
package traffic

import (
	"sync"
	"time"
)

const (
	// sampleEvery is how many requests a sample stands for.
	sampleEvery = 32
	// maxRegions bounds the regions that are counted at once, and keptFor the time for which one is that nobody takes, because it does not lead here any more.
	maxRegions = 1 << 16
	keptFor    = 10 * time.Minute
)

// Amount is what went one way.
type Amount struct{ Bytes, Keys uint64 }

// Flow is what was read and written between two instants.
type Flow struct {
	Read, Written Amount
	Since, Until  time.Time
}

func (f *Flow) idle() bool { return f.Read == Amount{} && f.Written == Amount{} }

// Meter counts. Its methods are safe for concurrent use.
type Meter struct {
	draw func() uint64
	now  func() time.Time

	mu      sync.Mutex
	regions map[uint64]*Flow
	store   Flow
	swept   time.Time
}

// NewMeter returns a meter that leaves chance to draw, which must be safe for concurrent use.
func NewMeter(draw func() uint64, now func() time.Time) *Meter {
	at := now()
	return &Meter{draw: draw, now: now, regions: make(map[uint64]*Flow), store: Flow{Since: at}, swept: at}
}

// Chosen says whether the request at hand shall be counted.
func (m *Meter) Chosen() bool { return m != nil && m.draw()%sampleEvery == 0 }

// Read counts a request that was Chosen, and what it read.
func (m *Meter) Read(region, keys, bytes uint64) {
	m.count(region, Amount{bytes, keys}, func(f *Flow) *Amount { return &f.Read })
}

// Written counts a request that was Chosen, and what it writes.
func (m *Meter) Written(region, keys, bytes uint64) {
	m.count(region, Amount{bytes, keys}, func(f *Flow) *Amount { return &f.Written })
}

func (m *Meter) count(region uint64, a Amount, in func(*Flow) *Amount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(in(&m.store), a)
	f := m.regions[region]
	if f == nil {
		if len(m.regions) >= maxRegions {
			return
		}
		f = &Flow{Since: m.now()}
		m.regions[region] = f
	}
	add(in(f), a)
}

func add(to *Amount, sample Amount) {
	to.Bytes += sampleEvery * sample.Bytes
	to.Keys += sampleEvery * sample.Keys
}

// TakeRegion is a region's flow since it was last taken; false if there is none, nor was when it was last taken.
func (m *Meter) TakeRegion(region uint64) (Flow, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, f := m.now(), m.regions[region]
	m.sweep(now)
	if f == nil {
		return Flow{}, false
	}
	if f.idle() {
		delete(m.regions, region)
	} else {
		m.regions[region] = &Flow{Since: now}
	}
	f.Until = now
	return *f, true
}

// TakeStore is the flow of all regions together since it was last taken.
func (m *Meter) TakeStore() Flow {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.store
	f.Until = m.now()
	m.store = Flow{Since: f.Until}
	return f
}

// sweep forgets the regions that nobody takes.
func (m *Meter) sweep(now time.Time) {
	if now.Sub(m.swept) < keptFor {
		return
	}
	m.swept = now
	for id, f := range m.regions {
		if now.Sub(f.Since) >= keptFor {
			delete(m.regions, id)
		}
	}
}
