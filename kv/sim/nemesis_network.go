package sim

import (
	"slices"
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Some packets do not get through: links are cut in one direction, the cluster falls apart, links flap, or packets wait.

func networkNemeses() []nemesis {
	return []nemesis{
		{name: "partition", every: 12 * time.Second, draw: drawPartition, do: doPartition},
		{name: "cut", every: 8 * time.Second, draw: drawCut, do: doCut},
		{name: "flap", every: 15 * time.Second, draw: drawFlap, do: doFlap},
		{name: "clog", every: 8 * time.Second, draw: drawClog, do: doClog},
	}
}

// drawPartition: Who cannot talk with With, or with anybody else when there is no With.
func drawPartition(d *draft) Step {
	s := Step{For: d.between(200*time.Millisecond, 20*time.Second)}
	n := d.cfg.Stores
	minority := 1 + d.rng.IntN(max(1, (n-1)/2))
	switch x := d.rng.Float64(); {
	case x < 0.3:
		s.How, s.Who = "leader", d.side([]string{leader})
	case x < 0.5:
		s.How, s.Who = "minority", d.side(d.stores(minority))
	case x < 0.7:
		s.How, s.Who = "majority", d.side(d.stores(n-minority))
	case x < 0.85:
		names := d.stores(n)
		s.How, s.Who, s.With = "bridge", names[:n/2], names[n/2+1:]
	default:
		s.How, s.Who = "servers", d.stores(1)
		for i := range d.cfg.Schedulers {
			s.With = append(s.With, schedulerName(i+1))
		}
	}
	return s
}

func doPartition(c *Cluster, s Step) (func(), bool) {
	here := c.who(s, s.Who)
	there := c.who(s, s.With)
	if len(s.With) == 0 {
		for _, p := range c.processes() {
			if !slices.Contains(here, p) {
				there = append(there, p)
			}
		}
	}
	if s.How == "leader" && c.leaderOf(s.Key) == nil {
		return nil, false
	}
	links := append(between(here, there), between(there, here)...)
	return c.cut(links), len(links) > 0
}

// drawCut: packets from Who to With are lost; those of the other direction arrive.
func drawCut(d *draft) Step {
	s := Step{For: d.between(100*time.Millisecond, 20*time.Second)}
	names := d.stores(2)
	s.Who, s.With = names[:1], names[1:]
	switch x := d.rng.Float64(); {
	case x < 0.2:
		s.How, s.Who, s.With = "hears", []string{leader}, nil // it hears everybody, and nobody hears it
	case x < 0.4:
		s.How, s.Who, s.With = "deaf", nil, []string{leader}
	}
	return s
}

func doCut(c *Cluster, s Step) (func(), bool) {
	from, to := c.who(s, s.Who), c.who(s, s.With)
	switch s.How {
	case "hears":
		to = c.servers()
	case "deaf":
		from = c.servers()
	}
	links := between(from, to)
	return c.cut(links), len(links) > 0
}

// drawFlap: a process' links are cut and healed in turns, Amount seconds each.
func drawFlap(d *draft) Step {
	return Step{Who: []string{d.server()}, Amount: d.amount(0.05, 3), For: d.between(time.Second, 20*time.Second)}
}

func doFlap(c *Cluster, s Step) (func(), bool) {
	who := c.who(s, s.Who)
	links := append(between(who, c.processes()), between(c.processes(), who)...)
	heal, over := c.cut(links), false
	var turn func()
	turn = func() {
		if over {
			return
		}
		if heal != nil {
			heal()
			heal = nil
		} else {
			heal = c.cut(links)
		}
		c.w.After(time.Duration(s.Amount*float64(time.Second)), turn)
	}
	c.w.After(time.Duration(s.Amount*float64(time.Second)), turn)
	return func() {
		over = true
		if heal != nil {
			heal()
		}
	}, len(links) > 0
}

// drawClog: what is sent to or from a process, or between two, waits, and comes at once.
func drawClog(d *draft) Step {
	s := Step{Who: []string{d.server()}, For: d.between(50*time.Millisecond, 5*time.Second)}
	if d.rng.IntN(2) == 0 {
		s.With = d.stores(1)
	}
	return s
}

func doClog(c *Cluster, s Step) (func(), bool) {
	who, with := c.who(s, s.Who), c.who(s, s.With)
	if len(s.With) == 0 {
		with = c.processes()
	}
	links := append(between(who, with), between(with, who)...)
	for _, l := range links {
		c.net.Clog(l.from, l.to, s.For)
	}
	return nil, len(links) > 0
}

type direction struct{ from, to *world.Process }

func between(from, to []*world.Process) []direction {
	var links []direction
	for _, a := range from {
		for _, b := range to {
			if a != b {
				links = append(links, direction{a, b})
			}
		}
	}
	return links
}

// cut cuts links until the function that it returns is called, once. A link that several faults have cut is whole when all of them are over.
func (c *Cluster) cut(links []direction) (heal func()) {
	c.result.Counts.Cuts++
	for _, l := range links {
		key := [2]int{l.from.ID, l.to.ID}
		c.faults.cuts[key]++
		c.net.Cut(l.from, l.to)
	}
	return func() {
		for _, l := range links {
			key := [2]int{l.from.ID, l.to.ID}
			if c.faults.cuts[key]--; c.faults.cuts[key] == 0 {
				c.net.Heal(l.from, l.to)
			}
		}
	}
}
