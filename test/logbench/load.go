package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// scenario is one log under one load.
type scenario struct {
	Log     string `json:"log"` // pebble or segment
	Regions int    `json:"regions"`
	Size    int    `json:"size"` // of an entry's payload
	// Skewed says that one region in ten gets all entries of a batch but one, and the others that one in turn.
	Skewed bool `json:"skewed"`
	// Keep is how many entries a region's log holds, unless all together exceed LiveBytes.
	Keep      int   `json:"keep"`
	LiveBytes int64 `json:"live_bytes"`
	// SegmentBytes is the size of a segment, MemTableBytes that of pebble's memtables; 0 is the product's.
	SegmentBytes  int64         `json:"segment_bytes"`
	MemTableBytes int           `json:"memtable_bytes,omitempty"`
	Warmup        time.Duration `json:"warmup_ns"`
	Duration      time.Duration `json:"duration_ns"`
}

func (s *scenario) name() string {
	skewed := ""
	if s.Skewed {
		skewed = ", skewed"
	}
	return fmt.Sprintf("%d × %d B%s", s.Regions, s.Size, skewed)
}

// kept is how many entries each region keeps, about.
func (s *scenario) kept() int {
	return max(8, min(s.Keep, int(s.LiveBytes/int64(s.Regions)/int64(s.Size))))
}

// entriesPerBatch is how many entries the log writer finds when a sync has ended. A region has one entry of its own in flight at a time, and it is
// in the log about half of that time, else on its way to the others and being applied: in a cluster of three stores under 256 clients that is 1 entry a
// batch with one region, and 23 of 48 on every store, those that lead and those that follow. More than clients do not write at a time.
func (s *scenario) entriesPerBatch() int {
	const clients = 256
	return max(1, min(s.Regions, clients)/2)
}

// log is what the benchmark asks of a raft log: what the log writer does, and enough to see that nothing is lost.
type log interface {
	Write(updates []logstore.Update) error
	Entries(region, lo, hi, maxBytes uint64) ([]eraftpb.Entry, error)
	State(region uint64) (*raft_serverpb.RaftLocalState, error)
}

// region is one that the load writes to: it has the entries [first, next).
type region struct {
	id          uint64
	first, next uint64
	state       raft_serverpb.RaftLocalState
	entry       [1]eraftpb.Entry
}

// load makes the log writer's batches.
type load struct {
	scenario
	regions []region
	turn    int // the region whose turn it is
	cold    int // the same among those that are written to rarely
	updates []logstore.Update
	cuts    []logstore.Update // for the next batch
	random  []byte            // what payloads are parts of: nothing that compression could make smaller
	rng     *rand.Rand
}

func newLoad(s scenario) *load {
	l := &load{scenario: s, regions: make([]region, s.Regions), rng: rand.New(rand.NewPCG(1, 1)), random: make([]byte, 1<<20+s.Size)}
	for i := range l.random {
		l.random[i] = byte(l.rng.Uint32())
	}
	for i := range l.regions {
		r := &l.regions[i]
		r.id, r.first, r.next = uint64(i+2), 6, 6
		r.state.HardState = &eraftpb.HardState{Term: 5, Vote: 1}
	}
	return l
}

func (l *load) payload() []byte {
	at := l.rng.IntN(1 << 20)
	return l.random[at : at+l.Size]
}

// fill writes what the regions hold when the run begins. They are to be cut at different times, as they are when they have different ages.
func (l *load) fill(to log) error {
	const batchBytes = 1 << 20
	size := 0
	l.updates = l.updates[:0]
	for i := range l.regions {
		r := &l.regions[i]
		n := l.kept()*3/4 + i*l.kept()/2/len(l.regions)
		for range n {
			e := eraftpb.Entry{Term: 5, Index: r.next, Data: l.payload()}
			if k := len(l.updates); k > 0 && l.updates[k-1].RegionID == r.id {
				l.updates[k-1].Entries = append(l.updates[k-1].Entries, e)
			} else {
				l.updates = append(l.updates, logstore.Update{RegionID: r.id, Entries: []eraftpb.Entry{e}, OldLast: r.next - 1, State: &r.state})
			}
			r.state.LastIndex = r.next
			r.next++
			if size += l.Size; size >= batchBytes {
				if err := to.Write(l.updates); err != nil {
					return err
				}
				size, l.updates = 0, l.updates[:0]
			}
		}
	}
	return to.Write(append(l.updates, logstore.Update{RegionID: l.regions[0].id, Sync: true}))
}

// batch returns the next one. What it returns is good until the next call.
func (l *load) batch() []logstore.Update {
	l.updates = append(l.updates[:0], l.cuts...)
	l.cuts = l.cuts[:0]
	n := l.entriesPerBatch()
	hot := len(l.regions)
	if l.Skewed {
		hot = max(1, hot/10)
		n = min(n, hot)
	}
	for i := range n {
		if l.Skewed && i == n-1 && hot < len(l.regions) {
			l.propose(&l.regions[hot+l.cold%(len(l.regions)-hot)])
			l.cold++
			break
		}
		l.propose(&l.regions[l.turn%hot])
		l.turn++
	}
	return l.updates
}

// propose adds an entry to the batch. A region that is a quarter above what it keeps is cut to a quarter below in the next one, when the
// state engine would have been synced: with the 1,000 that are kept by default, after 500 entries, which is when the product cuts.
func (l *load) propose(r *region) {
	r.entry[0] = eraftpb.Entry{Term: 5, Index: r.next, Data: l.payload()}
	r.state.LastIndex, r.state.HardState.Commit = r.next, r.next-1
	l.updates = append(l.updates, logstore.Update{RegionID: r.id, Entries: r.entry[:], OldLast: r.next - 1, State: &r.state, Sync: true})
	r.next++
	if keep := uint64(l.kept()); r.next-r.first > keep*5/4 {
		r.first = r.next - keep*3/4
		l.cuts = append(l.cuts, logstore.Update{RegionID: r.id, CompactTo: r.first})
	}
}
