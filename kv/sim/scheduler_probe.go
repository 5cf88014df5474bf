package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/machine"
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
	// region is the id of the first region, as far as it is known.
	region uint64
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
	switch p.rng.IntN(6) {
	case 0:
		p.g.allocIDs(p.p, 1+p.rng.Uint64N(400), func(uint64) { p.next() })
	case 1:
		p.split()
	default:
		p.askTime()
	}
}

// split asks for the ids of a split that it does not make.
func (p *probe) split() {
	p.g.region(p.p, p.region, func(r *metapb.Region, _ *metapb.Peer) {
		if r == nil {
			p.findRegion()
			return
		}
		p.g.askSplit(p.p, r, 1+p.rng.IntN(5), func([]machine.SplitIDs) { p.next() })
	})
}

func (p *probe) findRegion() {
	p.g.locate(p.p, nil, func(r *metapb.Region, _ *metapb.Peer) {
		p.region = r.GetId()
		p.next()
	})
}

func (p *probe) askTime() {
	count := 1 + p.rng.Uint32N(20)
	if p.rng.IntN(20) == 0 {
		count = 1 + p.rng.Uint32N(oracle.MaxLogical-1)
	}
	p.g.timestamps(p.p, count, func(uint64, uint64) { p.next() })
}
