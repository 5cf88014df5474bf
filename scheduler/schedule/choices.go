package schedule

import (
	"maps"

	"github.com/shoal-kv/shoal/scheduler/cluster"
)

// What was chosen and what was not is counted where it is decided, for whoever watches. Nothing is decided by these counts.

// Passed is a store that somebody passed over for a barrier.
type Passed struct {
	By    string
	For   Barrier
	Store uint64
}

// choices counts what was chosen in a term.
type choices struct {
	hot map[HotChoice]uint64
	// sources and targets are the stores that were passed over when something was to be moved from one, and to one.
	sources, targets map[Passed]uint64
}

func newChoices() choices {
	return choices{make(map[HotChoice]uint64), make(map[Passed]uint64), make(map[Passed]uint64)}
}

// source counts a store that something was to leave, unless there is no barrier: it says whether there is none.
func (c choices) source(by string, b Barrier, store uint64) bool {
	if b != Open {
		c.sources[Passed{by, b, store}]++
	}
	return b == Open
}

// target is source for a store that something was to come to.
func (c choices) target(by string, b Barrier, store uint64) bool {
	if b != Open {
		c.targets[Passed{by, b, store}]++
	}
	return b == Open
}

func (c choices) noteHot(what HotEvent, store *cluster.Store) {
	c.hot[HotChoice{what, store.ID()}]++
}

// HotChoices counts the stores that were looked at for the sake of hot traffic in this term.
func (c *Coordinator) HotChoices() map[HotChoice]uint64 { return maps.Clone(c.choices.hot) }

// PassedOver counts the stores that schedulers and checkers passed over in this term when they looked for one to move something from, and to.
func (c *Coordinator) PassedOver() (sources, targets map[Passed]uint64) {
	return maps.Clone(c.choices.sources), maps.Clone(c.choices.targets)
}

// takes and leads are mayTake and mayLead for a scheduler that decides: who may not is counted.
func (j *job) takes(s *cluster.Store, r *cluster.Region) bool {
	return j.choices.target(j.w.cfg.Name, j.mayTake(s, r, j.now), s.ID())
}

func (j *job) leads(s *cluster.Store) bool {
	return j.choices.target(j.w.cfg.Name, j.mayLead(s, j.now), s.ID())
}
