package server

import (
	"time"

	"github.com/shoal-kv/shoal/scheduler/machine"
	"github.com/shoal-kv/shoal/scheduler/schedule"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

const (
	// scheduleEvery is how often schedulers may look, and upkeepEvery how many such looks there are to each look after drained stores.
	scheduleEvery = 100 * time.Millisecond
	upkeepEvery   = 10
)

// schedule lets the schedulers work, and pushes what they want to the stores, until the leadership is lost.
func (t *term) schedule(lost <-chan struct{}) {
	tick := time.NewTicker(scheduleEvery)
	defer tick.Stop()
	seen := uint64(0)
	for n := 1; ; n++ {
		select {
		case <-lost:
			return
		case <-tick.C:
		}
		var commands []*operator.Command
		var ended []endedOperator
		_, _ = t.desk.ask(func(at machine.Moment) (*machine.Save, error) { // it cannot fail
			commands = t.machine.Tick(at)
			ended, seen = endedSince(t.machine, seen)
			return nil, nil
		})
		t.push(commands)
		for _, op := range ended {
			t.metrics.operatorEnded(op.Record, op.region)
		}
		if n%upkeepEvery == 0 {
			if err := t.desk.change(t.machine.Upkeep); err != nil {
				return // every failed write ends the term
			}
		}
	}
}

// push sends commands to the stores that they are for, as far as those have streams.
func (t *term) push(commands []*operator.Command) {
	for _, c := range commands {
		res, err := t.told(c)
		if err != nil {
			return
		}
		t.metrics.sent(c.Leader.GetStoreId(), res, t.streams.push(c.Leader.GetStoreId(), res))
	}
}

// scheduling lets f look at what is scheduled. What it returns must be its own.
func scheduling[T any](t *term, f func(*schedule.Coordinator) T) T {
	t.desk.mu.RLock()
	defer t.desk.mu.RUnlock()
	return f(t.machine.Schedule)
}

// config is the configuration of scheduling that is in force.
func (t *term) config() schedule.Config { return scheduling(t, (*schedule.Coordinator).Config) }
