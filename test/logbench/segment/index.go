package segment

import (
	"hash/crc32"

	"github.com/pingcap/errors"
)

// place is where an entry stands. The zero value is that of an entry which is not there.
type place struct {
	seq      uint32 // the segment
	at       uint32 // in it
	length   uint32
	checksum uint32
}

// group is what a region has: entries[i] is that of index first+i.
type group struct {
	state    []byte
	stateSeq uint32
	hasState bool
	first    uint64
	entries  []place
	bytes    int64
}

// index finds everything that lives. It keeps count of it in each segment.
type index struct {
	groups map[uint64]*group
	bytes  int64 // of what lives
}

func newIndex() index { return index{groups: make(map[uint64]*group)} }

// take does what the operations of a batch at the offset at in seg say. Recovery and Write both go this way.
func (x *index) take(f *files, seg *segment, at int64, ops []byte) error {
	o := operations{ops: ops}
	base := uint32(at) + headerSize
	for o.more() {
		kind, region := o.kind(), o.number()
		g := x.groups[region]
		if g == nil {
			g = new(group)
			x.groups[region] = g
		}
		switch kind {
		case opState:
			b, _ := o.bytes()
			x.dropState(f, g)
			g.state, g.hasState, g.stateSeq = append(g.state[:0], b...), true, uint32(seg.seq)
			x.count(seg, len(b), 1)
		case opAppend, opMove:
			first, n := o.number(), o.number()
			if kind == opAppend {
				x.truncate(f, g, first)
			}
			for i := range n {
				b, from := o.bytes()
				if o.bad {
					break
				}
				p := place{seq: uint32(seg.seq), at: base + uint32(from), length: uint32(len(b)), checksum: crc32.Checksum(b, castagnoli)}
				x.put(f, g, first+i, p)
				x.count(seg, len(b), 1)
			}
		case opCompact:
			x.compact(f, g, o.number())
		case opReset:
			x.truncate(f, g, 0)
		case opDestroy:
			x.truncate(f, g, 0)
			x.dropState(f, g)
		default:
			o.bad = true
		}
		if !g.hasState && len(g.entries) == 0 {
			delete(x.groups, region)
		}
	}
	if o.bad {
		return errors.Trace(errMalformed)
	}
	return nil
}

func (x *index) count(seg *segment, bytes, sign int) {
	if seg != nil { // while recovering, what is named by something newer may be gone
		seg.life += sign
	}
	x.bytes += int64(sign * bytes)
}

func (x *index) dropState(f *files, g *group) {
	if g.hasState {
		x.count(f.segment(g.stateSeq), len(g.state), -1)
		g.hasState = false
	}
}

func (x *index) drop(f *files, g *group, p place) {
	if p.length > 0 {
		x.count(f.segment(p.seq), int(p.length), -1)
		g.bytes -= int64(p.length)
	}
}

// put gives an entry a place, wherever it lies: while recovering, moved entries come after those that follow them.
func (x *index) put(f *files, g *group, i uint64, p place) {
	g.bytes += int64(p.length)
	end := g.first + uint64(len(g.entries))
	switch {
	case len(g.entries) == 0:
		g.first = i
		g.entries = append(g.entries, p)
	case i == end:
		g.entries = append(g.entries, p)
	case i > end:
		g.entries = append(append(g.entries, make([]place, i-end)...), p)
	case i >= g.first:
		x.drop(f, g, g.entries[i-g.first])
		g.entries[i-g.first] = p
	default:
		g.entries = append(append(make([]place, 0, end-i), p), append(make([]place, g.first-i-1), g.entries...)...)
		g.first = i
	}
}

// truncate drops the entries from an index on.
func (x *index) truncate(f *files, g *group, from uint64) {
	keep := uint64(0)
	if from > g.first {
		keep = min(from-g.first, uint64(len(g.entries)))
	}
	for _, p := range g.entries[keep:] {
		x.drop(f, g, p)
	}
	g.entries = g.entries[:keep]
}

// compact drops the entries below an index.
func (x *index) compact(f *files, g *group, to uint64) {
	if to <= g.first {
		return
	}
	n := min(to-g.first, uint64(len(g.entries)))
	for _, p := range g.entries[:n] {
		x.drop(f, g, p)
	}
	g.first, g.entries = g.first+n, g.entries[n:]
}
