package cluster

// mostDisplaced bounds how many displaced regions are remembered.
const mostDisplaced = 1 << 14

// displace remembers a region whose whole range others have taken. A hole must not be filled with the past (P3, P4); and since holes are short, the latest are enough.
func (p *Picture) displace(r *Region) {
	if p.displaced[r.ID()] == nil {
		p.displacedIDs = append(p.displacedIDs, r.ID())
	}
	p.displaced[r.ID()] = r
	if len(p.displacedIDs) > mostDisplaced {
		delete(p.displaced, p.displacedIDs[0]) // if it has come back meanwhile and gone again, it is forgotten too early: no harm
		p.displacedIDs = p.displacedIDs[1:]
	}
}

// Displaced is a region that has left the picture, as it was last; nil if it is not remembered.
func (p *Picture) Displaced(id uint64) *Region { return p.displaced[id] }
