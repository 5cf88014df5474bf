package sim

import (
	"fmt"
	"time"

	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// link is a store's heartbeat stream to the leader, opened again whenever it breaks: a new one is made for each life of the store. It delivers
// in order, and loses what the network loses.
type link struct {
	g *schedulers
	s *store
	// t is who it leads to; nil while there is no stream.
	t    *schedulerTerm
	wait time.Duration
	// queue holds the newest report of each region while there is no stream.
	queue []*pdpb.RegionHeartbeatRequest
	// sent numbers the reports, before is the last of the stream before, and got is, by region, the last that arrived.
	sent, before uint64
	got          map[uint64]uint64
}

const (
	pingAfter   = 10 * time.Second
	pingTimeout = 3 * time.Second
)

// connect begins a store's life with the schedulers.
func (g *schedulers) connect(s *store) {
	l := &link{g: g, s: s, wait: minBackoff}
	g.links[s.id] = l
	g.founded()
	g.register(s)
	l.open()
}

// gone says that the store's life is over.
func (l *link) gone() bool { return l.g.links[l.s.id] != l || !l.s.p.Up() }

// open opens a stream and, when there is one, makes the store report everything: a new leader knows nothing but what stores tell it.
func (l *link) open() {
	if l.gone() {
		return
	}
	a := l.g.client(l.s.p)
	again := func() {
		l.s.p.After(l.wait, l.open)
		l.wait = min(2*l.wait, maxBackoff)
	}
	to := a.leader
	if to == nil {
		a.find(0, func(found *scheduler) {
			if found == nil {
				again()
			} else {
				l.open()
			}
		})
		return
	}
	l.g.c.call(l.s.p, to.p, attemptBy, func(answer func(any)) {
		to.serve(answer, func(t *schedulerTerm) {
			t.streams[l.s.id] = l
			l.before, l.got = l.sent, make(map[uint64]uint64)
			answer(t)
		})
	}, func(res any) {
		t, ok := res.(*schedulerTerm)
		if !ok {
			a.forget(to)
			again()
			return
		}
		if l.gone() {
			return
		}
		l.t, l.wait = t, minBackoff
		for _, hb := range l.queue {
			l.send(hb)
		}
		l.queue = nil
		l.s.st.Resend()
		l.g.storeHeartbeat(l.s, l.s.step.StoreStats(uint32(l.s.lives)))
		l.s.pump()
		l.s.p.After(pingAfter, func() { l.ping(t) })
	})
}

// ping finds out that nobody is there any more.
func (l *link) ping(t *schedulerTerm) {
	if l.gone() || l.t != t {
		return
	}
	l.g.c.call(l.s.p, t.s.p, pingTimeout, func(answer func(any)) { answer(!t.over && t.streams[l.s.id] == l) }, func(res any) {
		if res != true {
			l.broke(t)
			return
		}
		l.s.p.After(pingAfter, func() { l.ping(t) })
	})
}

// broke looks for the next leader.
func (l *link) broke(t *schedulerTerm) {
	if l.gone() || l.t != t {
		return
	}
	l.t = nil
	l.g.client(l.s.p).forget(t.s)
	l.s.p.After(l.wait, l.open)
}

// regionHeartbeat reports a region that the store leads.
func (g *schedulers) regionHeartbeat(s *store, hb *pdpb.RegionHeartbeatRequest) {
	l := g.links[s.id]
	if l.t != nil {
		l.send(hb)
		return
	}
	for i, old := range l.queue {
		if old.Region.Id == hb.Region.Id {
			l.queue[i] = hb
			return
		}
	}
	l.queue = append(l.queue, hb)
}

func (l *link) send(hb *pdpb.RegionHeartbeatRequest) {
	b, err := hb.Marshal()
	l.g.c.must(err)
	l.g.c.w.Trace.Add(world.Scheduler, l.s.p, b)
	l.sent++
	t, number := l.t, l.sent
	l.g.c.net.Send(l.s.p, t.s.p, func() {
		if !t.over && t.streams[l.s.id] == l && number > max(l.before, l.got[hb.Region.Id]) {
			l.got[hb.Region.Id] = number
			t.regionHeartbeat(l, hb)
		}
	})
}

func (t *schedulerTerm) regionHeartbeat(l *link, hb *pdpb.RegionHeartbeatRequest) {
	r := wire.Region(hb)
	command, err := t.m.RegionHeartbeat(r, t.moment())
	if err == nil {
		t.checkTaken(r)
	}
	t.saveBehind()
	switch {
	case !t.holds():
		t.breakStream(l)
	case command != nil:
		t.push(command)
	}
}

// push sends a command to the store that leads the region, if that has a stream.
func (t *schedulerTerm) push(command *operator.Command) {
	l := t.streams[command.Leader.StoreId]
	if l == nil {
		return
	}
	t.checkOrder(command)
	res := wire.Command(command, clusterID)
	b, err := res.Marshal()
	t.s.g.c.must(err)
	tr := t.s.g.c.w.Trace
	tr.Add(world.Scheduler, t.s.p, b)
	if tr.Telling() {
		tr.Tell(world.Scheduler, t.s.p, l.s.p, fmt.Sprintf("region %d %s", command.Region, command.For))
	}
	once := false
	t.s.g.c.net.Send(t.s.p, l.s.p, func() {
		if !once && !l.gone() && l.t == t {
			once = true
			l.s.answer(res)
		}
	})
}

// breakStreams ends all streams, and breakStream one; the stores hear of it, unless the network is against it.
func (t *schedulerTerm) breakStreams() {
	for _, s := range t.s.g.c.stores {
		if l := t.streams[s.id]; l != nil {
			t.breakStream(l)
		}
	}
}

func (t *schedulerTerm) breakStream(l *link) {
	delete(t.streams, l.s.id)
	t.s.g.c.net.Send(t.s.p, l.s.p, func() { l.broke(t) })
}
