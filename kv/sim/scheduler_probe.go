package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/oracle"
)

const (
	firstProbe = 181
	probeCount = 2
)

// probe asks for timestamps and ids all along, so that what is handed out is seen from several sides.
type probe struct {
	g   *schedulers
	p   *world.Process
	rng *rand.Rand
}

func newProbe(g *schedulers, i int) *probe {
	name := fmt.Sprintf("probe-%d", i+1)
	return &probe{g: g, p: g.c.w.NewProcess(firstProbe+i, name), rng: g.c.w.Rand(name)}
}

func (p *probe) start() {
	p.p.Start()
	p.next()
}

func (p *probe) next() {
	p.p.After(world.Between(p.rng, 20*time.Millisecond, 300*time.Millisecond), p.ask)
}

// ask asks for a few, and at times for as many as there can be at once.
func (p *probe) ask() {
	if p.rng.IntN(3) == 0 {
		p.g.allocIDs(p.p, 1+p.rng.Uint64N(400), func(uint64) { p.next() })
		return
	}
	count := 1 + p.rng.Uint32N(20)
	if p.rng.IntN(20) == 0 {
		count = 1 + p.rng.Uint32N(oracle.MaxLogical-1)
	}
	p.g.timestamps(p.p, count, func(uint64, uint64) { p.next() })
}
