package machine

import (
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// behind holds the region metas that are still to be saved, so that the next leader knows the regions before their
// heartbeats come: the newest of each region, in the order in which the regions first changed. What is lost with a term
// comes back with the heartbeats.
type behind struct {
	order   []uint64
	pending map[uint64]*metapb.Region // nil: to be deleted
}

func newBehind() behind { return behind{pending: make(map[uint64]*metapb.Region)} }

func (b *behind) put(id uint64, m *metapb.Region) {
	if _, ok := b.pending[id]; !ok {
		b.order = append(b.order, id)
	}
	b.pending[id] = m
}

// changed notes what a heartbeat changed; nothing if the meta is as known.
func (b *behind) changed(r *cluster.Region, change cluster.Change) {
	if !change.Meta && len(change.Overlapped) == 0 {
		return
	}
	for _, other := range change.Overlapped {
		b.put(other.ID(), nil)
	}
	b.put(r.ID(), r.Meta)
}

// Lags says that Behind has something to take.
func (t *Term) Lags() bool { return len(t.behind.order) > 0 }

// Behind takes at most limit of the changes that have to be made durable behind the heartbeats that brought them. They are
// written one batch after the other, the next when the one before is durable; a batch that fails ends the term.
func (t *Term) Behind(limit int) []Op {
	b := &t.behind
	n := min(limit, len(b.order))
	ops := make([]Op, 0, n)
	for _, id := range b.order[:n] {
		op := Op{Key: regionKey(id)}
		if m := b.pending[id]; m != nil {
			op.Value = mustMarshal(m)
		}
		ops = append(ops, op)
		delete(b.pending, id)
	}
	b.order = b.order[n:]
	return ops
}
