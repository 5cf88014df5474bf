package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/gogo/protobuf/proto"

	"github.com/shoal-kv/shoal/kv/sim/world"
)

// client issues one operation after the other, with a real client's cache of regions, retries and patience (client_route.go), and tells
// the history what it did and saw.
type client struct {
	c     *Cluster
	id    int
	p     *world.Process
	rng   *rand.Rand
	cache regionCache
	// known is what it last saw of a key: what a swap expects.
	known map[string]string
	// n counts operations, values the values that were written: none is written twice.
	n, values int
	// patience is how long an operation may take before the client gives up.
	patience time.Duration
	// resting: it begins no more operations. busy: one is on its way.
	resting, busy bool
}

const (
	firstClient    = 201
	clientPatience = 20 * time.Second
)

func newClient(c *Cluster, i int) *client {
	name := clientName(i)
	return &client{
		c: c, id: i + 1, p: c.w.NewProcess(firstClient+i, name), rng: c.w.Rand(name),
		known: make(map[string]string), patience: clientPatience,
	}
}

func clientName(i int) string { return fmt.Sprintf("client-%d", i+1) }

func (cl *client) start() {
	cl.p.Start()
	cl.think()
}

func (cl *client) think() {
	mean := cl.c.cfg.Think
	cl.p.After(world.Between(cl.rng, mean/7, 2*mean-mean/7), cl.operate)
}

// operate does one operation, and the next after it.
func (cl *client) operate() {
	if cl.resting {
		return
	}
	cl.do(cl.draw(), func(bool) { cl.think() })
}

// do carries a task to its end: done says whether all of it was answered.
func (cl *client) do(t *task, done func(ok bool)) {
	cl.n++
	cl.busy = true
	cl.c.result.Counts.Operations++
	e := &errand{cl: cl, task: t, deadline: cl.c.w.Now() + world.Time(cl.patience)}
	e.done = func(ok bool) {
		if ok {
			cl.c.result.Counts.Answered++
		} else {
			cl.c.result.Counts.Undecided++
		}
		cl.busy = false
		if tr := cl.c.w.Trace; tr.Telling() {
			tr.Tell(world.Answer, cl.p, nil, fmt.Sprintf("%s: answered %t", t.name, ok))
		}
		done(ok)
	}
	e.step()
}

// value makes a value that nobody has ever written.
func (cl *client) value() string {
	cl.values++
	return fmt.Sprintf("c%d.%d%s", cl.id, cl.values, strings.Repeat(".", cl.c.cfg.Padding))
}

// note puts a request into the trace.
func (cl *client) note(request proto.Message) {
	b, err := proto.Marshal(request)
	cl.c.must(err)
	tr := cl.c.w.Trace
	tr.Add(world.Operation, cl.p, b)
	if tr.Telling() {
		tr.Tell(world.Operation, cl.p, nil, fmt.Sprintf("%T %v", request, request))
	}
}
