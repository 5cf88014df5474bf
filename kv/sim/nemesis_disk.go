package sim

import (
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Disks hang, get slow, fail, fill up, and lie about one bit of a snapshot. After a failed write the store stops, as it must, and is started again. What a
// crash takes is in disk.crash: every death of a store loses what was not synced.

func diskNemeses() []nemesis {
	return []nemesis{
		{name: "stall", every: 8 * time.Second, draw: drawStall, do: doStall},
		{name: "slow", every: 12 * time.Second, draw: drawSlow, do: doSlow},
		{name: "eio", every: 12 * time.Second, draw: drawEIO, do: doEIO},
		{name: "full", every: 20 * time.Second, draw: drawFull, do: doFull},
		{name: "flip", every: 10 * time.Second, draw: drawFlip, do: doFlip},
	}
}

func (d *draft) store() []string {
	if world.Chance(d.rng, 0.3) {
		return []string{leader}
	}
	return d.stores(1)
}

func drawStall(d *draft) Step {
	return Step{Who: d.store(), For: d.between(20*time.Millisecond, 5*time.Second)}
}

func doStall(c *Cluster, s Step) (func(), bool) {
	hit := c.whoStores(s)
	for _, st := range hit {
		st.disk.stalledUntil = c.w.Now() + world.Time(s.For)
	}
	return nil, len(hit) > 0
}

// drawSlow: everything takes Amount times as long.
func drawSlow(d *draft) Step {
	return Step{Who: d.store(), Amount: d.amount(2, 100), For: d.between(time.Second, 20*time.Second)}
}

func doSlow(c *Cluster, s Step) (func(), bool) {
	hit := c.whoStores(s)
	for _, st := range hit {
		st.disk.slow = s.Amount
	}
	return func() {
		for _, st := range hit {
			st.disk.slow = 1
		}
	}, len(hit) > 0
}

// The ways in which one write fails.
var ioErrors = [...]string{"log-write", "log-sync", "state-write", "state-sync", "files"}

func drawEIO(d *draft) Step {
	return Step{How: ioErrors[d.rng.IntN(len(ioErrors))], Who: d.store(), For: d.between(time.Second, 5*time.Second)}
}

// doEIO makes the next write or sync of one kind fail; of files, all that come.
func doEIO(c *Cluster, s Step) (func(), bool) {
	hit := c.whoStores(s)
	for _, st := range hit {
		st.disk.fail(s.How, errIO)
	}
	return func() {
		for _, st := range hit {
			st.disk.fail(s.How, nil)
		}
	}, len(hit) > 0
}

func drawFull(d *draft) Step {
	return Step{Who: d.store(), For: d.between(time.Second, 20*time.Second)}
}

func doFull(c *Cluster, s Step) (func(), bool) {
	hit := c.whoStores(s)
	for _, st := range hit {
		st.disk.fill(true)
	}
	return func() {
		for _, st := range hit {
			st.disk.fill(false)
		}
	}, len(hit) > 0
}

// drawFlip: in the next snapshot file that gets its name, one bit becomes wrong. Amount in [0,1) says which. One at a time: the store that
// sent it, or another, has it right.
func drawFlip(d *draft) Step {
	return Step{Who: d.store(), Amount: d.rng.Float64(), For: d.between(time.Second, 20*time.Second)}
}

func doFlip(c *Cluster, s Step) (func(), bool) {
	hit := c.whoStores(s)
	for _, st := range hit {
		st.disk.flipNext(s.Amount)
	}
	return func() {
		for _, st := range hit {
			st.disk.flipNext(-1)
		}
	}, len(hit) > 0
}
