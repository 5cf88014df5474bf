package sim

import (
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Schedulers, and the one that leads above all, die, stand still, are cut off from the others, or have their clocks turned. The other nemeses hit
// them too, but seldom.

func schedulerNemeses() []nemesis {
	return []nemesis{{name: "scheduler", every: 10 * time.Second, draw: drawScheduler, do: doScheduler}}
}

// leadingScheduler in a step stands for whoever it is at that moment.
const leadingScheduler = "scheduler"

func drawScheduler(d *draft) Step {
	s := Step{Who: []string{leadingScheduler}, For: d.between(300*time.Millisecond, 20*time.Second)}
	if d.rng.IntN(4) == 0 {
		s.Who[0] = schedulerName(1 + d.rng.IntN(d.cfg.Schedulers))
	}
	s.How = pick(d.rng, "kill", "suspend", "isolate", "calendar", "drift")
	switch s.How {
	case "isolate":
		for i := range d.cfg.Schedulers {
			s.With = append(s.With, schedulerName(i+1))
		}
	case "calendar":
		s.Amount = d.amount(0.1, 10_000)
		if d.rng.IntN(2) == 0 {
			s.Amount = -s.Amount
		}
	case "drift":
		s.Amount = drawDrift(d).Amount
	}
	return s
}

func doScheduler(c *Cluster, s Step) (func(), bool) {
	switch s.How {
	case "kill":
		return doKill(c, s)
	case "suspend":
		return doSuspend(c, s)
	case "calendar":
		return doCalendar(c, s)
	case "drift":
		return doDrift(c, s)
	}
	return doPartition(c, s)
}

// leadingProcess is that of the scheduler that leads, nil when none does.
func (g *schedulers) leadingProcess() *world.Process {
	if t := g.leading(); t != nil {
		return t.s.p
	}
	return nil
}
