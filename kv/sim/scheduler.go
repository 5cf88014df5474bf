package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/election"
	"github.com/shoal-kv/shoal/scheduler/machine"
)

// schedulers is the scheduler group: processes, each with a member of one modelled etcd in it. What a leader decides is the product's
// (scheduler/machine), and so is who may lead (scheduler/election).
//
//	scheduler_etcd.go    the map with its leases, and who leads etcd
//	scheduler_lead.go    campaign, renew, lose
//	scheduler_term.go    the shell around a leader's machine
//	scheduler_client.go  finding the leader, and asking
//	scheduler_stream.go  region heartbeats and what is pushed to stores
//	scheduler_check.go   what must hold
//	scheduler_probe.go   processes that ask for timestamps and ids all along
type schedulers struct {
	c       *Cluster
	members []*scheduler
	etcd    *etcd
	clients map[*world.Process]*schedulerClient
	links   map[uint64]*link
	grants  grants
	probes  []*probe
	// founder asks what has to be asked before a store runs.
	founder *world.Process
	// off says that the group was turned off on purpose.
	off     bool
	foreign uint64
	flaw    flaw
}

// flaw breaks the simulation's own glue, so that a test can see the checkers at work.
type flaw uint8

const (
	sound flaw = iota
	// forgetsBounds: a term is loaded without the bounds that were saved.
	forgetsBounds
	// trustsLease: nobody looks at the lease.
	trustsLease
	// trustsGrant: nobody looks at the lease once more after a grant.
	trustsGrant
)

const (
	firstScheduler = 101
	founderID      = 191
	clusterID      = 7
	// schedulerLease and timestampWindow are the product's defaults.
	schedulerLease  = 3 * time.Second
	timestampWindow = 3 * time.Second
	// founding bounds how long the group may take to answer before there is a store.
	founding = 30 * time.Second
)

func newSchedulers(c *Cluster) *schedulers {
	g := &schedulers{
		c: c, clients: make(map[*world.Process]*schedulerClient), links: make(map[uint64]*link),
		founder: c.w.NewProcess(founderID, "founder"),
	}
	for i := range max(1, c.cfg.Schedulers) {
		g.members = append(g.members, &scheduler{g: g, p: c.w.NewProcess(firstScheduler+i, schedulerName(i+1))})
	}
	g.etcd = newEtcd(g)
	for i := range probeCount {
		g.probes = append(g.probes, newProbe(g, i))
	}
	return g
}

func schedulerName(id int) string { return fmt.Sprintf("scheduler-%d", id) }

// scheduler is one process of the group.
type scheduler struct {
	g *schedulers
	p *world.Process
	// key is the leader key as this member's etcd has it: a moment old, or older when the member is cut off.
	key leaderKey

	// What follows belongs to one life.
	candidate election.Candidate
	// leadsEtcd is what this member believes of its own etcd; moves counts the changes of etcd's lead that it has heard of, and looked those that its
	// candidate has.
	leadsEtcd     bool
	moves, looked int
	// knows is the leader as far as this member knows, and nil when it knows of none.
	knows *scheduler
	term  *schedulerTerm
}

func (g *schedulers) start() {
	for _, s := range g.members {
		s.start()
	}
	g.etcd.tick()
	g.founder.Start()
}

// founded is when the first store starts: from now on etcd may be slow, and the group is asked by others than stores.
func (g *schedulers) founded() {
	if g.etcd.hiccups == 0 {
		g.etcd.hiccups = 0.003
		for _, p := range g.probes {
			p.start()
		}
	}
}

func (s *scheduler) start() {
	if s.p.Up() {
		return
	}
	s.p.Start()
	s.candidate = election.Candidate{Lease: schedulerLease}
	s.leadsEtcd, s.moves, s.looked, s.knows, s.term = false, 0, 0, nil, nil
	s.p.Soon(world.Between(s.g.etcd.rng, 0, campaignEvery), s.campaign)
}

// kill ends the process as a signal does: its connections are cut, if the other side can hear of it.
func (s *scheduler) kill() {
	if !s.p.Up() {
		return
	}
	if t := s.term; t != nil {
		t.over = true
		t.breakStreams()
	}
	s.p.Kill()
}

// processes are those of the group.
func (g *schedulers) processes() []*world.Process {
	var ps []*world.Process
	for _, s := range g.members {
		ps = append(ps, s.p)
	}
	return ps
}

// member is the scheduler in a process, or nil.
func (g *schedulers) member(p *world.Process) *scheduler {
	for _, s := range g.members {
		if s.p == p {
			return s
		}
	}
	return nil
}

// power turns the whole group off or on.
func (g *schedulers) power(on bool) {
	g.off = !on
	for _, s := range g.members {
		if on {
			s.start()
		} else {
			s.kill()
		}
	}
}

// leading is the term that serves, nil when there is none at the moment.
func (g *schedulers) leading() *schedulerTerm {
	for _, s := range g.members {
		if t := s.term; t != nil && s.p.Up() && t.serves() && t.holds() {
			return t
		}
	}
	return nil
}

// foreignID is an id that no scheduler hands out.
func (g *schedulers) foreignID() uint64 {
	g.foreign++
	return 1<<40 + g.foreign
}

func (s *scheduler) now() time.Time { return time.Unix(0, s.p.Monotonic()) }

// registry is the group as a store sees it that does not run yet. Each of its calls lets the world go on until it is answered, so it is
// not for use within an event.
func (g *schedulers) registry() raftstore.Registry { return (*registry)(g) }

type registry schedulers

// await asks on the founder's behalf.
func (r *registry) await(do func(t *schedulerTerm, answer func(any))) any {
	var res any
	waiting := true
	(*schedulers)(r).client(r.founder).call(founding, do, func(a any) { res, waiting = a, false })
	r.c.w.RunWhile(r.c.w.Now()+2*world.Time(founding), func() bool { return waiting })
	if res == nil {
		r.c.violate("no scheduler answers before there is a fault")
		return errors.New("no scheduler answers")
	}
	return res
}

// awaitDone is await for an answer that is an error or nothing.
func (r *registry) awaitDone(do func(t *schedulerTerm, done func(error))) error {
	res := r.await(func(t *schedulerTerm, answer func(any)) {
		do(t, func(err error) {
			if err == nil {
				answer(true)
			} else {
				answer(err)
			}
		})
	})
	err, _ := res.(error)
	return err
}

// ClusterID implements raftstore.Registry.
func (r *registry) ClusterID() uint64 { return clusterID }

// AllocID implements raftstore.Registry.
func (r *registry) AllocID(context.Context) (uint64, error) {
	res := r.await(func(t *schedulerTerm, answer func(any)) { t.allocIDs(1, answer) })
	if ids, ok := res.(idRange); ok {
		return ids.first, nil
	}
	return 0, res.(error)
}

// IsBootstrapped implements raftstore.Registry.
func (r *registry) IsBootstrapped(context.Context) (bool, error) {
	res := r.await(func(t *schedulerTerm, answer func(any)) { answer(t.m.Bootstrapped()) })
	if yes, ok := res.(bool); ok {
		return yes, nil
	}
	return false, res.(error)
}

// Bootstrap implements raftstore.Registry.
func (r *registry) Bootstrap(_ context.Context, s *metapb.Store, first *metapb.Region) error {
	r.c.home = first.Id
	return r.awaitDone(func(t *schedulerTerm, done func(error)) {
		t.change(func(at machine.Moment) (*machine.Save, error) { return t.m.Bootstrap(s, first, at) }, done)
	})
}

// GetRegionByID implements raftstore.Registry.
func (r *registry) GetRegionByID(_ context.Context, id uint64) (*metapb.Region, *metapb.Peer, error) {
	res := r.await(func(t *schedulerTerm, answer func(any)) { answer(located{t.m.Picture.Region(id)}) })
	if l, ok := res.(located); ok {
		meta, leader := l.split()
		return meta, leader, nil
	}
	return nil, nil, res.(error)
}

// putStore registers a store at set-up.
func (g *schedulers) putStore(s *metapb.Store) {
	g.c.must((*registry)(g).awaitDone(func(t *schedulerTerm, done func(error)) {
		t.change(func(machine.Moment) (*machine.Save, error) { return t.m.PutStore(s) }, done)
	}))
}

// located is a region, or nothing.
type located struct{ r *cluster.Region }

func (l located) split() (*metapb.Region, *metapb.Peer) {
	if l.r == nil {
		return nil, nil
	}
	return l.r.Meta, l.r.Leader
}
