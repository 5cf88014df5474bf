package segment

import (
	"encoding/binary"
	"maps"
	"slices"
)

const (
	// moveAtLeast bounds what a small batch carries of garbage collection's, in bytes.
	moveAtLeast = 64 << 10
	// minSegments are always allowed: with less, what is about to die would be moved.
	minSegments = 3
)

// collector goes through all groups for what lives in the oldest segment.
type collector struct {
	regions []uint64 // still to be visited
	moved   uint64
}

// addMoves begins the batch with what lives in the oldest segment, up to about budget bytes. It must come before the updates, since it
// says again what the index says now.
func (l *Log) addMoves(budget int) error {
	f, c := l.files, &l.collect
	if len(f.live) <= max(minSegments, 2+int(2*l.index.bytes/l.opts.SegmentBytes)) {
		return nil
	}
	oldest := f.live[0]
	if len(c.regions) == 0 {
		c.regions = slices.Sorted(maps.Keys(l.index.groups))
	}
	begun := len(l.batch)
	for ; len(c.regions) > 0; c.regions = c.regions[1:] {
		g := l.index.groups[c.regions[0]]
		if g == nil {
			continue
		}
		if g.hasState && uint64(g.stateSeq) == oldest.seq {
			l.op(opState, c.regions[0], uint64(len(g.state)))
			l.batch = append(l.batch, g.state...)
		}
		all, err := l.moveGroup(c.regions[0], g, oldest, begun+budget)
		if err != nil || !all {
			c.moved += uint64(len(l.batch) - begun)
			return err
		}
	}
	c.moved += uint64(len(l.batch) - begun)
	return nil
}

// moveGroup adds the runs of a group's entries that stand in the segment; false when the batch was full before their end.
func (l *Log) moveGroup(region uint64, g *group, seg *segment, full int) (bool, error) {
	in := func(i int) bool {
		return i < len(g.entries) && uint64(g.entries[i].seq) == seg.seq && g.entries[i].length > 0
	}
	for i := 0; i < len(g.entries); i++ {
		end, room := i, full-len(l.batch)
		for ; in(end) && room > 0; end++ {
			room -= int(g.entries[end].length)
		}
		if end > i {
			l.op(opMove, region, g.first+uint64(i), uint64(end-i))
			for _, p := range g.entries[i:end] {
				if err := l.copyEntry(seg, p); err != nil {
					return false, err
				}
			}
		}
		if in(end) {
			return false, nil
		}
		i = end
	}
	return true, nil
}

func (l *Log) copyEntry(seg *segment, p place) error {
	l.batch = binary.AppendUvarint(l.batch, uint64(p.length))
	at := len(l.batch)
	l.batch = extend(l.batch, int(p.length))
	return readPlace(seg, p, l.batch[at:])
}
