package sim

import (
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Processes die and are started again, and stand still while the clocks go on.

func processNemeses() []nemesis {
	return []nemesis{
		{name: "kill", every: 10 * time.Second, draw: drawKill, do: doKill},
		{name: "suspend", every: 12 * time.Second, draw: drawSuspend, do: doSuspend},
	}
}

func drawKill(d *draft) Step {
	s := Step{For: d.between(20*time.Millisecond, 20*time.Second)}
	switch x := d.rng.Float64(); {
	case x < 0.6:
		s.How, s.Who = "one", []string{d.server()}
	case x < 0.9 && d.cfg.Stores > 2:
		s.How, s.Who = "several", d.stores(2+d.rng.IntN(d.cfg.Stores-2))
	default:
		s.How, s.Who = "all", d.stores(d.cfg.Stores)
	}
	return s
}

func doKill(c *Cluster, s Step) (func(), bool) {
	var killed []*world.Process
	for _, p := range c.who(s, s.Who) {
		if p.Up() {
			c.kill(p)
			killed = append(killed, p)
		}
	}
	return func() {
		for _, p := range killed {
			c.revive(p)
		}
	}, len(killed) > 0
}

func drawSuspend(d *draft) Step {
	return Step{Who: []string{d.server()}, For: d.between(100*time.Millisecond, 20*time.Second)}
}

func doSuspend(c *Cluster, s Step) (func(), bool) {
	var held []*world.Process
	for _, p := range c.who(s, s.Who) {
		if p.Up() && !p.Suspended() {
			p.Suspend()
			c.result.Counts.Suspensions++
			held = append(held, p)
		}
	}
	return func() {
		for _, p := range held {
			p.Resume()
		}
	}, len(held) > 0
}
