package sim

import (
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// How scheduler/client does it.
const (
	askMemberBy = 2 * time.Second
	attemptBy   = 5 * time.Second
	minBackoff  = 20 * time.Millisecond
	maxBackoff  = 500 * time.Millisecond
)

// notLeader is the answer of a scheduler that has no term.
type notLeader struct{}

// schedulerClient is how a process talks to the group, as the real clients do: it asks the leader as last known, and when that fails in a
// way that another leader could mend, it asks one member after the other who leads.
type schedulerClient struct {
	g      *schedulers
	p      *world.Process
	leader *scheduler // nil while unknown
}

func (g *schedulers) client(p *world.Process) *schedulerClient {
	a := g.clients[p]
	if a == nil {
		a = &schedulerClient{g: g, p: p}
		g.clients[p] = a
	}
	return a
}

// serve runs do in a scheduler that leads.
func (s *scheduler) serve(answer func(any), do func(t *schedulerTerm)) {
	if t := s.term; t != nil && t.serves() {
		do(t)
		return
	}
	answer(notLeader{})
}

// find asks the members who leads, from the i-th on.
func (a *schedulerClient) find(i int, done func(*scheduler)) {
	if i == len(a.g.members) {
		done(nil)
		return
	}
	type known struct{ leader *scheduler }
	m := a.g.members[i]
	a.g.c.call(a.p, m.p, askMemberBy, func(answer func(any)) { answer(known{m.knows}) }, func(res any) {
		if k, ok := res.(known); ok && k.leader != nil {
			a.leader = k.leader
			done(k.leader)
			return
		}
		a.find(i+1, done)
	})
}

// forget makes the next call look again, unless another leader was found meanwhile.
func (a *schedulerClient) forget(s *scheduler) {
	if a.leader == s {
		a.leader = nil
	}
}

// schedulerCall is one call, with as many attempts as it takes.
type schedulerCall struct {
	a     *schedulerClient
	until int64
	wait  time.Duration
	do    func(t *schedulerTerm, answer func(any))
	done  func(any)
	// floor is what everybody had been told when the attempt at hand was sent.
	floor floor
}

// call runs do at the leader. done is called once in the life of the process: with the answer, or with nil when patience ends; do may have been run
// several times.
func (a *schedulerClient) call(patience time.Duration, do func(t *schedulerTerm, answer func(any)), done func(any)) {
	x := &schedulerCall{a: a, until: a.p.Monotonic() + int64(patience), wait: minBackoff, do: do, done: done}
	x.attempt()
}

func (x *schedulerCall) left() time.Duration { return time.Duration(x.until - x.a.p.Monotonic()) }

func (x *schedulerCall) attempt() {
	a := x.a
	if x.left() <= 0 {
		x.done(nil)
		return
	}
	to := a.leader
	if to == nil {
		a.find(0, func(found *scheduler) {
			if found == nil {
				x.again()
			} else {
				x.attempt()
			}
		})
		return
	}
	x.floor = a.g.grants.received
	a.g.c.call(a.p, to.p, min(attemptBy, x.left()), func(answer func(any)) {
		to.serve(answer, func(t *schedulerTerm) { x.do(t, answer) })
	}, func(res any) {
		switch res.(type) {
		case nil, notLeader:
			a.forget(to)
			x.again()
		default:
			a.g.grants.receive(x, res)
			x.done(res)
		}
	})
}

func (x *schedulerCall) again() {
	wait := min(x.wait, max(0, x.left()))
	x.wait = min(2*x.wait, maxBackoff)
	x.a.p.After(wait, x.attempt)
}

// lookUpBy is how long clients try to have a region looked up before they do something else.
const lookUpBy = 3 * time.Second

// locate answers which region holds a key, and who led it when last heard; both nil when nobody knows.
func (g *schedulers) locate(from *world.Process, key []byte, done func(*metapb.Region, *metapb.Peer)) {
	g.lookUp(from, func(m *machine.Term) located { return located{m.Picture.RegionOf(key)} }, done)
}

func (g *schedulers) lookUp(from *world.Process, find func(*machine.Term) located, done func(*metapb.Region, *metapb.Peer)) {
	g.client(from).call(lookUpBy, func(t *schedulerTerm, answer func(any)) { answer(find(t.m)) }, func(res any) {
		l, _ := res.(located)
		done(l.split())
	})
}

// allocIDs asks for count consecutive ids; first is 0 when nobody answered.
func (g *schedulers) allocIDs(from *world.Process, count uint64, done func(first uint64)) {
	g.client(from).call(attemptBy, func(t *schedulerTerm, answer func(any)) { t.allocIDs(count, answer) }, func(res any) {
		ids, _ := res.(idRange)
		done(ids.first)
	})
}

// timestamps asks for a batch, from first to last; both 0 when nobody answered.
func (g *schedulers) timestamps(from *world.Process, count uint32, done func(first, last uint64)) {
	g.client(from).call(attemptBy, func(t *schedulerTerm, answer func(any)) { t.timestamps(count, answer) }, func(res any) {
		ts, _ := res.(stamps)
		done(ts.first, ts.last)
	})
}

// region answers what is known of a region; both nil when nobody knows.
func (g *schedulers) region(from *world.Process, id uint64, done func(*metapb.Region, *metapb.Peer)) {
	g.lookUp(from, func(m *machine.Term) located { return located{m.Picture.Region(id)} }, done)
}

// askSplit asks for the ids of a split; nil when it was refused or nobody answered.
func (g *schedulers) askSplit(from *world.Process, region *metapb.Region, parts int, done func([]machine.SplitIDs)) {
	g.client(from).call(attemptBy, func(t *schedulerTerm, answer func(any)) {
		var list []machine.SplitIDs
		t.allocate(func(at machine.Moment) (save *machine.Save, err error) {
			if list, save, err = t.m.Split(region, parts, at); len(list) > 0 {
				t.s.g.grants.grantIDs(t, idRange{list[0].Region, list[parts-1].Region + uint64(len(region.Peers))})
			}
			return save, err
		}, func(err error) { t.answer(list, err, answer) })
	}, func(res any) {
		list, _ := res.([]machine.SplitIDs)
		done(list)
	})
}

// storeHeartbeat reports a store, in one attempt of a few seconds: the next report comes soon.
func (g *schedulers) storeHeartbeat(s *store, stats *pdpb.StoreStats) {
	stats.StoreId = s.id
	g.client(s.p).call(attemptBy, func(t *schedulerTerm, answer func(any)) { t.storeHeartbeat(stats, answer) }, func(any) {})
}

// register is what a store does when it starts: without it nobody asks it anything. It is tried until it is done.
func (g *schedulers) register(s *store) {
	life, meta := s.p.Life(), s.meta()
	g.client(s.p).call(attemptBy, func(t *schedulerTerm, answer func(any)) {
		t.change(func(machine.Moment) (*machine.Save, error) { return t.m.PutStore(meta) }, func(err error) {
			if err == nil {
				answer(true)
			} else {
				answer(notLeader{})
			}
		})
	}, func(res any) {
		if res != true && s.p.Life() == life {
			s.p.After(maxBackoff, func() { g.register(s) })
		}
	})
}

// calm stops merges, for good. The stores divide what is larger than a few hundred bytes, and the schedulers, for whom everything below 20 MiB is small, merge it:
// with such a configuration, which real ones keep apart (P7), there is no rest. Everything else goes on.
func (g *schedulers) calm() {
	g.client(g.founder).call(recovery, func(t *schedulerTerm, answer func(any)) {
		t.change(func(machine.Moment) (*machine.Save, error) {
			return t.m.SetConfig(map[string]string{"merge-schedule-limit": "0"})
		}, func(err error) {
			if err != nil {
				answer(notLeader{})
				return
			}
			answer(true)
		})
	}, func(any) {})
}
