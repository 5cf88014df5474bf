package schedule

import (
	"slices"
	"time"
)

// Reason says why something that is wanted is not done.
type Reason struct {
	// Who wants it.
	Who  string
	Text string
	// Since is when it was first so, At when it was last.
	Since, At time.Time
}

// mostReasons bounds the regions that reasons are remembered for.
const mostReasons = 2048

// reasons are by region: the latest of each.
type reasons struct{ byRegion map[uint64]*Reason }

func newReasons() reasons { return reasons{make(map[uint64]*Reason)} }

func (rs *reasons) note(region uint64, who, text string, now time.Time) {
	old := rs.byRegion[region]
	switch {
	case old != nil && old.Who == who && old.Text == text:
		old.At = now
	case old != nil || len(rs.byRegion) < mostReasons:
		rs.byRegion[region] = &Reason{Who: who, Text: text, Since: now, At: now}
	}
}

func (rs *reasons) clear(region uint64) {
	if len(rs.byRegion) > 0 {
		delete(rs.byRegion, region)
	}
}

// RegionReason is one region's.
type RegionReason struct {
	Region uint64
	Reason
}

// Reason says why a region is not as it should be; false if it is, or nobody has looked yet.
func (c *Coordinator) Reason(region uint64) (Reason, bool) {
	if r := c.reasons.byRegion[region]; r != nil {
		return *r, true
	}
	return Reason{}, false
}

// Reasons lists all regions that are not as they should be, as far as they are remembered.
func (c *Coordinator) Reasons() []RegionReason {
	var list []RegionReason
	for _, id := range sortedKeys(c.reasons.byRegion) {
		list = append(list, RegionReason{id, *c.reasons.byRegion[id]})
	}
	return slices.Clip(list)
}
