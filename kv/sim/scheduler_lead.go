package sim

import (
	"time"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/election"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// How scheduler/meta does it; only the campaign is slower, which costs the simulation less.
const (
	campaignEvery  = 200 * time.Millisecond
	electionCallBy = 3 * time.Second
	writeBy        = 10 * time.Second
	renewEvery     = schedulerLease / 6
)

// hearOfEtcd takes in who leads etcd, unless something newer was heard.
func (s *scheduler) hearOfEtcd(leads bool, moves int) {
	if moves > s.moves {
		s.moves, s.leadsEtcd = moves, leads
		if t := s.term; t != nil && !leads {
			t.lose("its etcd no longer leads")
		}
	}
}

// campaign looks at the leader key, as this member's etcd has it, and goes on until this member leads.
func (s *scheduler) campaign() {
	e, key := s.g.etcd, s.key
	again := func() { s.p.After(campaignEvery, s.campaign) }
	look := election.Look{
		Held: key.revision != 0, Revision: key.revision, Own: key.holder == s,
		LeadsEtcd: s.leadsEtcd, Moved: s.looked != s.moves, Now: s.now(),
	}
	s.looked = s.moves
	s.knows = nil
	if look.Held && !look.Own {
		s.knows = key.holder
	}
	switch s.candidate.Decide(look) {
	case election.Take:
		s.take(again)
	case election.Remove:
		s.knows = nil
		e.ask(s, electionCallBy, func() any { e.remove(key.revision); return true }, func(any) { again() })
	default:
		again()
	}
}

// take makes the leader key under a fresh lease.
func (s *scheduler) take(again func()) {
	e := s.g.etcd
	began := s.now()
	e.ask(s, electionCallBy, func() any { return e.grant() }, func(res any) {
		lease, ok := res.(int64)
		if !ok {
			again()
			return
		}
		e.ask(s, electionCallBy, func() any { return e.create(s, lease) }, func(res any) {
			revision, _ := res.(int64)
			if revision == 0 {
				e.ask(s, renewEvery, func() any { e.revoke(lease); return true }, func(any) {})
				again()
				return
			}
			s.knows = s
			s.term = &schedulerTerm{
				s: s, revision: revision, lease: lease, end: election.Begun(began, schedulerLease),
				streams: make(map[uint64]*link), seen: make(map[uint64]epoch),
			}
			s.p.After(renewEvery, s.term.renew)
			s.term.load()
		})
	})
}

// renew keeps the lease alive: a read of the leader key that a quorum confirms, then the lease itself, while this member's etcd leads throughout.
func (t *schedulerTerm) renew() {
	if t.over {
		return
	}
	s, e := t.s, t.s.g.etcd
	asked, moves := s.now(), s.moves
	if !s.leadsEtcd {
		t.lose("its etcd no longer leads")
		return
	}
	next := func() {
		switch {
		case t.over:
		case !t.inLease():
			t.lose("the lease ran out")
		default:
			s.p.After(renewEvery, t.renew)
		}
	}
	e.ask(s, 2*renewEvery, func() any { return e.leader.revision }, func(res any) {
		revision, ok := res.(int64)
		switch {
		case t.over:
			return
		case !ok:
			next()
			return
		case revision != t.revision:
			t.lose("the leader key was taken away")
			return
		}
		e.ask(s, 2*renewEvery, func() any { return e.keepAlive(t.lease) }, func(res any) {
			switch {
			case t.over:
				return
			case s.moves != moves || !s.leadsEtcd:
				t.lose("its etcd no longer leads")
				return
			case res == true:
				t.end = election.Extended(t.end, asked, schedulerLease)
			}
			next()
		})
	})
}

// load builds the term from the map; it serves when its first save is durable.
func (t *schedulerTerm) load() {
	e := t.s.g.etcd
	l := machine.NewLoader(machine.Config{
		ClusterID: clusterID, Replicas: t.s.g.c.cfg.Replicas, TimestampWindow: timestampWindow,
		Schedule: t.s.g.c.cfg.schedule(), Seed: t.s.g.c.cfg.Seed + uint64(t.revision),
	}, t.s.now())
	e.ask(t.s, electionCallBy, func() any { return e.scan(l.Prefixes()) }, func(res any) {
		ops, ok := res.([]machine.Op)
		if t.over {
			return
		}
		if !ok {
			t.lose("the map was not read")
			return
		}
		for _, op := range ops {
			if t.s.g.flaw == forgetsBounds && len(op.Value) == 8 {
				continue
			}
			t.s.g.c.must(l.Take(op.Key, op.Value))
		}
		m, save := l.Term(t.moment())
		t.persist(save, func(err error) {
			if err == nil {
				t.m = m
				t.begin()
			}
		})
	})
}

// begin is when others may be served.
func (t *schedulerTerm) begin() {
	c := t.s.g.c
	c.result.Counts.SchedulerChanges++
	c.w.Trace.Add(world.Scheduler, t.s.p, []byte("leads"))
	c.w.Trace.Tell(world.Scheduler, t.s.p, nil, "leads the schedulers")
	t.s.p.After(timestampWindow/6, t.keepAhead)
	t.schedule(1)
}

// keepAhead saves bounds before they are needed.
func (t *schedulerTerm) keepAhead() {
	if t.over {
		return
	}
	t.change(t.m.Timestamps.Renew, func(err error) {
		if err != nil {
			return
		}
		t.change(t.m.RenewIDs, func(error) { t.s.p.After(timestampWindow/6, t.keepAhead) })
	})
}

// lose ends the term, gives the lease back, and campaigns anew.
func (t *schedulerTerm) lose(why string) {
	if t.over {
		return
	}
	s := t.s
	t.over, t.end = true, time.Time{}
	s.term, s.knows = nil, nil
	t.breakStreams()
	s.g.c.w.Trace.Add(world.Scheduler, s.p, []byte(why))
	s.g.c.w.Trace.Tell(world.Scheduler, s.p, nil, "does not lead any more: "+why)
	e := s.g.etcd
	e.ask(s, time.Second, func() any { e.revoke(t.lease); return true }, func(any) { s.campaign() })
}
