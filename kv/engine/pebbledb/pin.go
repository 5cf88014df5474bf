package pebbledb

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// pin keeps one old snapshot open. Whenever pebble's oldest snapshot is closed, pebble looks for a compaction that this has made
// worth while: more than a microsecond and a dozen allocations, which a store would pay for every read. Below the pin,
// closing a snapshot is free. The pin is renewed once in a while, so that it holds back next to nothing, and dropped
// when a range goes, so that a quiet engine gives back the space at once.
type pin struct {
	mu   sync.Mutex
	snap *pebble.Snapshot
	uses int
}

// pinUses is how many snapshots share one pin.
const pinUses = 1000

func (p *pin) newSnapshot(db *pebble.DB) *pebble.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.uses++; p.snap == nil || p.uses >= pinUses {
		old := p.snap
		p.snap, p.uses = db.NewSnapshot(), 0
		if old != nil {
			_ = old.Close() // answers nil, always
		}
	}
	return db.NewSnapshot()
}

func (p *pin) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.snap != nil {
		_ = p.snap.Close()
		p.snap = nil
	}
}
