package sim

import (
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// The steps of a script that have to do with who leads the schedulers. Probes ask them for timestamps and ids all along.

// schedulers does something to the scheduler that leads: cut it off from the others, but not from who asks it; let it stand still; turn its calendar
// back by an hour. With heal, all of them run and hear each other; with right, they have the right time.
func (s *script) schedulers(w []string) error {
	switch w[0] {
	case "heal":
		s.c.net.HealAll()
		for _, m := range s.c.sched.members {
			m.p.Resume()
		}
		return nil
	case "right":
		for _, m := range s.c.sched.members {
			m.p.SetWallRight()
		}
		return nil
	}
	var leader *world.Process
	if err := s.until(30*time.Second, func() bool {
		leader = s.c.sched.leadingProcess()
		return leader != nil
	}); err != nil {
		return err
	}
	switch w[0] {
	case "cut":
		for _, m := range s.c.sched.members {
			if m.p != leader {
				s.c.net.Cut(leader, m.p)
				s.c.net.Cut(m.p, leader)
			}
		}
	case "suspend":
		leader.Suspend()
	case "back":
		leader.StepWall(-time.Hour)
	default:
		return errors.Errorf("cannot do %s to a scheduler", w[0])
	}
	return nil
}
