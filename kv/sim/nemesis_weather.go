package sim

import (
	"time"
)

// The network gets worse for a while: for everybody, or (distance) between two.

func weatherNemeses() []nemesis {
	return []nemesis{
		{name: "loss", every: 10 * time.Second, draw: drawWeather(0.01, 0.5), do: doLoss},
		{name: "duplicate", every: 10 * time.Second, draw: drawWeather(0.01, 0.5), do: doDuplicate},
		{name: "reorder", every: 10 * time.Second, draw: drawWeather(0.01, 0.5), do: doReorder},
		{name: "distance", every: 10 * time.Second, draw: drawDistance, do: doDistance},
	}
}

func drawWeather(lo, hi float64) func(*draft) Step {
	return func(d *draft) Step {
		return Step{Amount: d.amount(lo, hi), For: d.between(time.Second, 20*time.Second)}
	}
}

func doLoss(c *Cluster, s Step) (func(), bool) {
	c.net.Weather.Loss = s.Amount
	return func() { c.net.Weather.Loss = c.cfg.Weather.Loss }, true
}

func doDuplicate(c *Cluster, s Step) (func(), bool) {
	c.net.Weather.Duplicate = s.Amount
	return func() { c.net.Weather.Duplicate = c.cfg.Weather.Duplicate }, true
}

// doReorder makes some packets slow, by the more the fewer they are.
func doReorder(c *Cluster, s Step) (func(), bool) {
	c.net.Weather.Slow, c.net.Weather.SlowDelay = s.Amount, time.Duration(float64(20*time.Millisecond)/s.Amount)
	return func() { c.net.Weather.Slow, c.net.Weather.SlowDelay = c.cfg.Weather.Slow, c.cfg.Weather.SlowDelay }, true
}

// drawDistance: what one process sends to another takes longer. Amount is in seconds.
func drawDistance(d *draft) Step {
	s := Step{Who: []string{d.server()}, Amount: d.amount(0.001, 0.5), For: d.between(time.Second, 60*time.Second)}
	if d.rng.IntN(2) == 0 {
		s.With = d.stores(1)
	}
	return s
}

func doDistance(c *Cluster, s Step) (func(), bool) {
	who, with := c.who(s, s.Who), c.who(s, s.With)
	if len(s.With) == 0 {
		with = c.processes()
	}
	links := between(who, with)
	set := func(d time.Duration) {
		for _, l := range links {
			c.net.Distance(l.from, l.to, d)
		}
	}
	set(time.Duration(s.Amount * float64(time.Second)))
	return func() { set(0) }, len(links) > 0
}
