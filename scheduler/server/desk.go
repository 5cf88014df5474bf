package server

import (
	stderrors "errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/meta"
)

// desk is where a machine is asked: one question at a time, and what must be durable first is, one turn after the other.
type desk struct {
	t *term
	// saved hears how each write ended; it may be nil.
	saved func(error)
	// waited is for how long questions wait for their turn.
	waited prometheus.Observer
	// mu guards the machine and is never held across a write; turn is held from the question to the end of the write.
	mu   sync.RWMutex
	turn sync.Mutex
}

// question is a call into the machine.
type question func(machine.Moment) (*machine.Save, error)

func (d *desk) ask(q question) (*machine.Save, error) {
	at, began := d.t.moment(), time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waited.Observe(time.Since(began).Seconds())
	return q(at)
}

// allocate asks for what is handed out, again and again until nothing has to be saved first. What was granted when the lease
// ended meanwhile is thrown away: the next leader may be past it already.
func (d *desk) allocate(q question) error {
	save, err := d.ask(q)
	if save != nil {
		err = d.allocateInTurn(q)
	}
	if err == nil && !d.t.leadership.Holds() {
		return machine.ErrNotLeader
	}
	return err
}

func (d *desk) allocateInTurn(q question) error {
	d.turn.Lock()
	defer d.turn.Unlock()
	for {
		save, err := d.ask(q)
		if save == nil {
			return err
		}
		if err := d.persist(save); err != nil {
			return err
		}
	}
}

// change asks once, and is done when what came out is durable.
func (d *desk) change(q question) error {
	d.turn.Lock()
	defer d.turn.Unlock()
	save, err := d.ask(q)
	if save == nil {
		return err
	}
	return d.persist(save)
}

// persist writes a save and reports it. The caller has the turn.
func (d *desk) persist(save *machine.Save) error {
	began := time.Now()
	err := d.write(save)
	d.t.metrics.wrote(began, err)
	if d.saved != nil {
		d.saved(err)
	}
	if err != nil {
		return err
	}
	now := d.t.clocks.Monotonic()
	d.mu.Lock()
	defer d.mu.Unlock()
	save.Done(now)
	return nil
}

func (d *desk) write(save *machine.Save) error {
	if save.IfAbsent == "" {
		return unsaved(d.t.store.Write(metaOps(save.Ops)...))
	}
	created, err := d.t.store.WriteIfAbsent(save.IfAbsent, metaOps(save.Ops)...)
	if err == nil && !created {
		return machine.ErrAlreadyBootstrapped
	}
	return unsaved(err)
}

func metaOps(ops []machine.Op) []meta.Op {
	list := make([]meta.Op, len(ops))
	for i, op := range ops {
		if op.Value == nil {
			list[i] = meta.Delete(op.Key)
		} else {
			list[i] = meta.Put(op.Key, op.Value)
		}
	}
	return list
}

// unsavedError says that a write failed, and with it the term.
type unsavedError struct{ cause error }

func (e *unsavedError) Error() string { return "not leader: " + e.cause.Error() }
func (e *unsavedError) Unwrap() error { return e.cause }

func unsaved(err error) error {
	if err == nil {
		return nil
	}
	return &unsavedError{err}
}

// endsTerm says that the leadership was lost over an error, or before it.
func endsTerm(err error) bool {
	var u *unsavedError
	return stderrors.Is(err, machine.ErrNotLeader) || stderrors.As(err, &u)
}
