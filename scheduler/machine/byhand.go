package machine

import (
	"time"

	"github.com/shoal-kv/shoal/scheduler/schedule"
)

// ByHand lets an operator of the cluster have regions changed: what change adds is carried out like any other decision. Nothing of it is saved, for the
// next leader sees in the regions' reports how far it came.
func (t *Term) ByHand(at Moment, change func(c *schedule.Coordinator, now time.Time) error) error {
	if !t.Bootstrapped() {
		return ErrNotBootstrapped
	}
	t.moment = at
	return change(t.Schedule, at.Now)
}

// ForgetRegion takes a region out of the picture, and out of the durable map behind that; false if it is not known. If it exists, its next report brings it back.
func (t *Term) ForgetRegion(id uint64, at Moment) bool {
	if !t.Picture.Forget(id) {
		return false
	}
	t.Schedule.Operators().Gone(id, at.Now)
	t.behind.put(id, nil)
	return true
}
