package sim

import (
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/pdpb"

	"github.com/shoal-kv/shoal/kv/sim/world"
	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/wire"
)

// schedulerTerm is what scheduler/server has around a leader's machine: turns to save, guarded writes, the look at the lease after
// a grant.
type schedulerTerm struct {
	s *scheduler
	// revision is the leader key's, and guards writes; end is of the process's monotonic clock.
	revision, lease int64
	end             time.Time
	over            bool
	// m is nil until the term is loaded.
	m *machine.Term
	// turns are those who wait to save, while somebody does.
	turns  []func()
	saving bool
	// behind says that region metas are being written.
	behind  bool
	streams map[uint64]*link
	// seen are the epochs of the regions as they were taken in.
	seen map[uint64]epoch
}

func (t *schedulerTerm) serves() bool { return !t.over && t.m != nil }

func (t *schedulerTerm) inLease() bool { return t.s.now().Before(t.end) }

// holds says that the lease has not ended.
func (t *schedulerTerm) holds() bool { return t.s.g.flaw == trustsLease || t.inLease() }

func (t *schedulerTerm) moment() machine.Moment {
	at := machine.Moment{Now: t.s.now(), LeaseEnd: t.end, Wall: t.s.p.Wall()}
	if t.s.g.flaw == trustsLease {
		at.LeaseEnd = at.Now.Add(time.Hour)
	}
	return at
}

// question is a call into the machine.
type question func(machine.Moment) (*machine.Save, error)

// allocate asks until nothing has to be saved first, and then looks at the lease again. Between the grant and the look the process may stand still.
func (t *schedulerTerm) allocate(q question, done func(error)) {
	granted := func(err error) {
		t.s.p.Soon(world.Between(t.s.g.etcd.rng, 0, 200*time.Microsecond), func() {
			if err == nil && t.s.g.flaw != trustsGrant && !t.holds() {
				err = machine.ErrNotLeader
			}
			done(err)
		})
	}
	save, err := q(t.moment())
	if save == nil {
		granted(err)
		return
	}
	t.inTurn(func(release func()) {
		t.allocateInTurn(q, func(err error) {
			release()
			granted(err)
		})
	})
}

func (t *schedulerTerm) allocateInTurn(q question, done func(error)) {
	save, err := q(t.moment())
	if save == nil {
		done(err)
		return
	}
	t.persist(save, func(err error) {
		if err != nil {
			done(err)
			return
		}
		t.allocateInTurn(q, done)
	})
}

// change asks once, and is done when what came out is durable.
func (t *schedulerTerm) change(q question, done func(error)) {
	t.inTurn(func(release func()) {
		save, err := q(t.moment())
		if save == nil {
			release()
			done(err)
			return
		}
		t.persist(save, func(err error) {
			release()
			done(err)
		})
	})
}

// inTurn runs do when nobody else saves, until it calls release.
func (t *schedulerTerm) inTurn(do func(release func())) {
	turn := func() {
		do(func() {
			if len(t.turns) == 0 {
				t.saving = false
				return
			}
			next := t.turns[0]
			t.turns = t.turns[1:]
			t.s.p.Soon(0, next)
		})
	}
	if t.saving {
		t.turns = append(t.turns, turn)
		return
	}
	t.saving = true
	turn()
}

func (t *schedulerTerm) persist(save *machine.Save, done func(error)) {
	t.write(save.Ops, save.IfAbsent, func(o outcome) {
		switch o {
		case written:
			save.Done(t.s.now())
			done(nil)
		case exists:
			done(machine.ErrAlreadyBootstrapped)
		default:
			done(machine.ErrNotLeader)
		}
	})
}

// write ends the term when it is not known to have happened.
func (t *schedulerTerm) write(ops []machine.Op, absent string, done func(outcome)) {
	if t.over {
		t.s.p.Soon(0, func() { done(lost) })
		return
	}
	e := t.s.g.etcd
	e.ask(t.s, writeBy, func() any { return e.write(t.revision, ops, absent) }, func(res any) {
		o, _ := res.(outcome)
		if o == lost {
			t.lose("a write failed")
		}
		done(o)
	})
}

// scheduleEvery is how often schedulers may look, and upkeepEvery how many such looks there are to each look after drained stores.
const (
	scheduleEvery = 100 * time.Millisecond
	upkeepEvery   = 10
)

// schedule is the schedulers' configuration.
func (c *Config) schedule() schedule.Config {
	cfg := schedule.DefaultConfig()
	if c.LostAfter > 0 {
		cfg.MaxStoreDownTime = schedule.Duration(c.LostAfter)
	}
	if c.MergeAfter > 0 {
		cfg.SplitMergeInterval = schedule.Duration(c.MergeAfter)
	}
	return cfg
}

// schedule lets the schedulers work, for the n-th time.
func (t *schedulerTerm) schedule(n int) {
	if t.over {
		return
	}
	if t.holds() {
		for _, command := range t.m.Tick(t.moment()) {
			t.push(command)
		}
	}
	if n%upkeepEvery == 0 {
		t.change(t.m.Upkeep, func(error) {})
	}
	t.s.p.After(scheduleEvery, func() { t.schedule(n + 1) })
}

// saveBehind writes region metas, one batch after the other.
func (t *schedulerTerm) saveBehind() {
	if t.behind || t.over || !t.m.Lags() {
		return
	}
	t.behind = true
	t.write(t.m.Behind(regionsPerWrite), "", func(outcome) {
		t.behind = false
		t.saveBehind()
	})
}

const regionsPerWrite = 100

// idRange are ids that were handed out, stamps timestamps: first to last, both included.
type (
	idRange struct{ first, last uint64 }
	stamps  struct{ first, last uint64 }
)

func (t *schedulerTerm) allocIDs(count uint64, answer func(any)) {
	var ids idRange
	t.allocate(func(at machine.Moment) (save *machine.Save, err error) {
		ids.first, save, err = t.m.AllocIDs(count, at)
		ids.last = ids.first + count - 1
		if save == nil && err == nil {
			t.s.g.grants.grantIDs(t, ids)
		}
		return save, err
	}, func(err error) { t.answer(ids, err, answer) })
}

func (t *schedulerTerm) timestamps(count uint32, answer func(any)) {
	var ts stamps
	t.allocate(func(at machine.Moment) (*machine.Save, error) {
		physical, logical, save, err := t.m.Timestamps.Next(count, at)
		if save == nil && err == nil {
			ts.last = uint64(physical)<<18 | uint64(logical)
			ts.first = ts.last - uint64(count) + 1
			t.s.g.grants.grantStamps(t, ts)
		}
		return save, err
	}, func(err error) { t.answer(ts, err, answer) })
}

// answer sends what was granted.
func (t *schedulerTerm) answer(granted any, err error, answer func(any)) {
	switch {
	case errors.Cause(err) == machine.ErrNotLeader:
		answer(notLeader{})
	case err != nil:
		answer(err)
	default:
		t.s.g.grants.answered(t)
		answer(granted)
	}
}

func (t *schedulerTerm) storeHeartbeat(stats *pdpb.StoreStats, answer func(any)) {
	err := t.m.StoreHeartbeat(stats.StoreId, wire.Stats(stats), t.moment())
	if !t.holds() {
		answer(notLeader{})
		return
	}
	if err != nil {
		answer(err)
		return
	}
	answer(true)
}
