package cluster

// displaced remembers regions whose whole range others have taken, as they were last: most were merged, and the few that were only overtaken by what was split
// off them report again. A hole is not to be filled with the past (P3, P4), and a hole is short: the latest of them are enough.
type displaced struct {
	last  map[uint64]*Region
	order []uint64 // oldest first
}

// mostDisplaced bounds what is remembered.
const mostDisplaced = 1 << 14

func newDisplaced() displaced { return displaced{last: make(map[uint64]*Region)} }

func (d *displaced) add(r *Region) {
	if d.last[r.ID()] == nil {
		d.order = append(d.order, r.ID())
	}
	d.last[r.ID()] = r
	if len(d.order) > mostDisplaced {
		delete(d.last, d.order[0])
		d.order = d.order[1:]
	}
}

// back forgets a region that is in the picture again. Its place in the order stays, which at worst makes it the oldest too early.
func (d *displaced) back(id uint64) { delete(d.last, id) }
