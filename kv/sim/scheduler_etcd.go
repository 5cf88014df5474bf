package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// etcd is a model of the map that the schedulers share: linearizable, durable, at times slow. A member of it lives in each scheduler, so it works as
// long as a majority of the schedulers do and hear each other, and one of its members leads it; leases are measured by that member's clock. When the
// lead moves, every lease is granted a second time, with an election timeout on top.
type etcd struct {
	g   *schedulers
	rng *rand.Rand
	// revision counts writes.
	revision int64
	data     map[string][]byte
	leader   leaderKey
	leases   []etcdLease
	// lead is whose member leads, nil while there is none; moves counts the changes. seen is when it was last known to work, and bears how long it
	// may be silent.
	lead  *scheduler
	moves int
	seen  world.Time
	bears time.Duration
	// hiccups is the share of messages that take long.
	hiccups float64
}

// leaderKey is the key of that name; its revision, that of its creation, is 0 when it does not exist.
type leaderKey struct {
	holder   *scheduler
	revision int64
	lease    int64
}

type etcdLease struct {
	id int64
	// ends is of the leading member's monotonic clock.
	ends int64
}

const (
	etcdTick            = 100 * time.Millisecond
	etcdElectionTimeout = time.Second
)

func newEtcd(g *schedulers) *etcd {
	return &etcd{g: g, rng: g.c.w.Rand("etcd"), data: make(map[string][]byte)}
}

// ask is a request from a member of the group. done is called once in the life of its process: with what do, which happens at one instant, returned, or with nil
// when patience ends: then do may have happened or not.
func (e *etcd) ask(s *scheduler, patience time.Duration, do func() any, done func(any)) {
	life, over := s.p.Life(), false
	end := func(res any) {
		if !over && s.p.Life() == life {
			over = true
			done(res)
		}
	}
	s.p.After(patience, func() { end(nil) })
	e.g.c.w.After(e.delay(), func() {
		if !e.reaches(s) {
			return
		}
		res, leads, moves := do(), e.lead == s, e.moves
		e.g.c.w.After(e.delay(), func() {
			if e.lead == nil || e.linked(s, e.lead) {
				s.p.Deliver(func() {
					if s.p.Life() == life {
						s.hearOfEtcd(leads, moves)
					}
					end(res)
				})
			}
		})
	})
}

func (e *etcd) delay() time.Duration {
	if world.Chance(e.rng, e.hiccups) {
		return world.Between(e.rng, 0, time.Second)
	}
	return world.Between(e.rng, 200*time.Microsecond, 3*time.Millisecond)
}

func (e *etcd) linked(a, b *scheduler) bool {
	return a == b || e.g.c.net.Connected(a.p, b.p) && e.g.c.net.Connected(b.p, a.p)
}

func works(s *scheduler) bool { return s.p.Up() && !s.p.Suspended() }

// couldLead says that a member hears a majority, itself included.
func (e *etcd) couldLead(s *scheduler) bool {
	if !works(s) {
		return false
	}
	n := 0
	for _, other := range e.g.members {
		if works(other) && e.linked(s, other) {
			n++
		}
	}
	return 2*n > len(e.g.members)
}

func (e *etcd) reaches(s *scheduler) bool {
	return e.lead != nil && e.couldLead(e.lead) && e.linked(s, e.lead)
}

// tick elects, tells members who leads, and ends leases.
func (e *etcd) tick() {
	now := e.g.c.w.Now()
	switch {
	case e.lead != nil && e.couldLead(e.lead):
		e.seen = now
		e.expire()
	case now-e.seen > world.Time(e.bears):
		e.elect()
	}
	for _, s := range e.g.members {
		if s.p.Up() && e.reaches(s) {
			s.key = e.leader
		}
		if s.moves != e.moves && e.lead != nil && s.p.Up() && e.linked(s, e.lead) {
			leads, moves, life := e.lead == s, e.moves, s.p.Life()
			s.p.Soon(world.Between(e.rng, 0, 2*etcdTick), func() {
				if s.p.Life() == life {
					s.hearOfEtcd(leads, moves)
				}
			})
		}
	}
	e.g.c.w.After(etcdTick, e.tick)
}

func (e *etcd) elect() {
	var candidates []*scheduler
	for _, s := range e.g.members {
		if e.couldLead(s) {
			candidates = append(candidates, s)
		}
	}
	if len(candidates) == 0 {
		return
	}
	e.lead = candidates[e.rng.IntN(len(candidates))]
	e.moves++
	e.seen = e.g.c.w.Now()
	e.bears = world.Between(e.rng, etcdElectionTimeout, 2*etcdElectionTimeout)
	for i := range e.leases {
		e.leases[i].ends = e.lead.p.Monotonic() + int64(schedulerLease+etcdElectionTimeout)
	}
	e.g.c.w.Trace.Add(world.Scheduler, e.lead.p, []byte("etcd"))
	e.g.c.w.Trace.Tell(world.Scheduler, e.lead.p, nil, "leads etcd")
}

func (e *etcd) expire() {
	now := e.lead.p.Monotonic()
	e.leases = slices.DeleteFunc(e.leases, func(l etcdLease) bool {
		if l.ends > now {
			return false
		}
		e.dropKey(l.id)
		return true
	})
}

// dropKey removes the leader key if it hangs on the lease.
func (e *etcd) dropKey(lease int64) {
	if e.leader.revision != 0 && e.leader.lease == lease {
		e.leader = leaderKey{}
	}
}

func (e *etcd) grant() int64 {
	e.revision++
	e.leases = append(e.leases, etcdLease{e.revision, e.lead.p.Monotonic() + int64(schedulerLease)})
	return e.revision
}

// keepAlive answers false when the lease is gone.
func (e *etcd) keepAlive(lease int64) bool {
	for i := range e.leases {
		if e.leases[i].id == lease {
			e.leases[i].ends = e.lead.p.Monotonic() + int64(schedulerLease)
			return true
		}
	}
	return false
}

func (e *etcd) revoke(lease int64) {
	e.leases = slices.DeleteFunc(e.leases, func(l etcdLease) bool { return l.id == lease })
	e.dropKey(lease)
}

// create makes the leader key, if there is none and the lease still is, and answers its revision, or 0.
func (e *etcd) create(holder *scheduler, lease int64) int64 {
	if e.leader.revision != 0 || !slices.ContainsFunc(e.leases, func(l etcdLease) bool { return l.id == lease }) {
		return 0
	}
	e.revision++
	e.leader = leaderKey{holder, e.revision, lease}
	return e.revision
}

// remove deletes the leader key of a revision.
func (e *etcd) remove(revision int64) {
	if e.leader.revision == revision {
		e.leader = leaderKey{}
	}
}

// outcome is what came of a guarded write. lost stands for one that is undetermined, too.
type outcome uint8

const (
	lost outcome = iota
	written
	exists
)

// write changes the map in one step, provided the leader key is that of the given revision.
func (e *etcd) write(guard int64, ops []machine.Op, absent string) outcome {
	if e.leader.revision != guard {
		return lost
	}
	if _, ok := e.data[absent]; absent != "" && ok {
		return exists
	}
	e.revision++
	b := binary.AppendVarint(nil, e.revision)
	for _, op := range ops {
		b = append(append(b, op.Key...), op.Value...)
		if op.Value == nil {
			delete(e.data, op.Key)
		} else {
			e.data[op.Key] = op.Value
		}
	}
	e.g.c.w.Trace.Add(world.Scheduler, e.leader.holder.p, b)
	return written
}

// scan returns what begins with one of the prefixes, in the order of the keys.
func (e *etcd) scan(prefixes []string) (ops []machine.Op) {
	for key, value := range e.data { // order-free: sorted below
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			ops = append(ops, machine.Op{Key: key, Value: value})
		}
	}
	slices.SortFunc(ops, func(a, b machine.Op) int { return strings.Compare(a.Key, b.Key) })
	return ops
}
