package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// Step is one thing that goes wrong, and how long it stays so. The steps of a run are drawn before it begins (Plan), so a run is its Config and
// its Steps: whoever has both can play it again, and leave steps out.
type Step struct {
	// At is counted from the beginning of the safety phase. For is 0 when the fault needs no undoing.
	At  time.Duration `json:"at"`
	For time.Duration `json:"for,omitempty"`
	// Do names the nemesis, How its variant.
	Do  string `json:"do"`
	How string `json:"how,omitempty"`
	// Who it happens to, and With whom: names of processes, or who "leader" and "follower" of the region that holds Key are at that moment.
	Who  []string `json:"who,omitempty"`
	With []string `json:"with,omitempty"`
	Key  string   `json:"key,omitempty"`
	// Amount is the nemesis' own measure.
	Amount float64 `json:"amount,omitempty"`
}

// String is the step in one line.
func (s Step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", s.At, s.Do)
	if s.How != "" {
		b.WriteString(" " + s.How)
	}
	if len(s.Who) > 0 {
		b.WriteString(" " + strings.Join(s.Who, ","))
	}
	if len(s.With) > 0 {
		b.WriteString(" from " + strings.Join(s.With, ","))
	}
	if s.Key != "" {
		b.WriteString(" at " + s.Key)
	}
	if s.Amount != 0 {
		fmt.Fprintf(&b, " %.3g", s.Amount)
	}
	if s.For > 0 {
		fmt.Fprintf(&b, " for %s", s.For)
	}
	return b.String()
}

// nemesis is one kind of fault: an actor with a random stream of its own.
type nemesis struct {
	name string
	// every is the mean time between two steps at strength 1.
	every time.Duration
	// aimed: a Key says which region it is about.
	aimed bool
	// draw makes a step, without its At.
	draw func(d *draft) Step
	// do performs it, and returns how to undo it, if that is to be done before or when For is over. It answers false when there was nothing to be done
	// to anybody: the leader of a region without one cannot be killed.
	do func(c *Cluster, s Step) (undo func(), done bool)
}

// nemeses are all kinds of faults. A new one is a file with a function that returns it, and a line here. Their order decides between steps of
// the same instant.
func nemeses() []nemesis {
	return slices.Concat(processNemeses(), clockNemeses(), networkNemeses(), weatherNemeses(), diskNemeses(), memberNemeses(), replaceNemeses(), regionNemeses(), schedulerNemeses(), damageNemeses())
}

// Nemeses are the names of the kinds of faults, as Config.Faults has them.
func Nemeses() []string {
	var names []string
	for _, n := range nemeses() {
		names = append(names, n.name)
	}
	return names
}

// Plan draws the steps of a run, in the order in which they happen.
func Plan(cfg Config) []Step {
	var steps []Step
	keys := world.Stream(cfg.Seed, "nemesis keys")
	for _, n := range nemeses() {
		strength := cfg.Faults[n.name]
		if strength <= 0 {
			continue
		}
		d := &draft{cfg: &cfg, rng: world.Stream(cfg.Seed, "nemesis/"+n.name)}
		for at := time.Duration(0); ; {
			at += time.Duration(float64(n.every) / strength * d.rng.ExpFloat64())
			if at >= cfg.Duration {
				break
			}
			s := n.draw(d)
			s.At, s.Do = at.Truncate(time.Microsecond), n.name
			if n.aimed || slices.Contains(s.Who, leader) || slices.Contains(s.With, leader) || slices.Contains(s.Who, follower) {
				s.Key = drawKey(keys)
			}
			steps = append(steps, s)
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return int(a.At - b.At) })
	return steps
}

// Check says what is wrong with steps that come from outside.
func Check(steps []Step) error {
	known := Nemeses()
	for _, s := range steps {
		if !slices.Contains(known, s.Do) {
			return errors.Errorf("there is no nemesis %q; there are %s", s.Do, strings.Join(known, ", "))
		}
	}
	return nil
}

// faults are what is wrong at the moment.
type faults struct {
	nemeses map[string]*nemesis
	// undo holds, in the order of their beginning, what must be undone.
	undo []*undoing
	// cuts counts, for each direction between two processes, the faults that cut it.
	cuts map[[2]int]int
}

type undoing struct {
	undo func()
	over bool
}

func (u *undoing) now() {
	if !u.over {
		u.over = true
		u.undo()
	}
}

func newFaults() faults {
	f := faults{nemeses: make(map[string]*nemesis), cuts: make(map[[2]int]int)}
	for _, n := range nemeses() {
		f.nemeses[n.name] = &n
	}
	return f
}

// strike makes every step happen at its time from now on.
func (c *Cluster) strike(steps []Step) {
	for _, s := range steps {
		c.w.After(s.At, func() { c.perform(s) })
	}
}

func (c *Cluster) perform(s Step) {
	undo, done := c.faults.nemeses[s.Do].do(c, s)
	if !done {
		return
	}
	c.count(s.Do)
	text := s.String()
	c.w.Trace.Add(world.Fault, nil, []byte(text))
	c.w.Trace.Tell(world.Fault, nil, nil, text)
	if undo == nil {
		return
	}
	u := &undoing{undo: undo}
	c.faults.undo = append(c.faults.undo, u)
	c.w.After(s.For, u.now)
}

// count notes that a fault had an effect.
func (c *Cluster) count(fault string) { c.result.Counts.Faults[fault]++ }

// heal undoes everything: all processes are up, the network is fair, the clocks are right and the disks work.
func (c *Cluster) heal() {
	c.w.Trace.Add(world.Fault, nil, []byte("heal"))
	c.w.Trace.Tell(world.Fault, nil, nil, "everything is healed")
	for _, u := range c.faults.undo {
		u.now()
	}
	c.faults.undo = nil
	c.net.HealAll()
	c.net.Weather = world.Fair
	for _, s := range c.stores {
		s.disk.heal()
	}
	for _, p := range c.servers() {
		p.Drift(1)
		p.SetWallRight()
		p.Resume()
		c.revive(p)
	}
}
