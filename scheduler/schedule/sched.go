package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
)

// The names of the schedulers, as the family's tools know them.
const (
	BalanceLeader = "balance-leader-scheduler"
	BalanceRegion = "balance-region-scheduler"
	HotRegion     = "balance-hot-region-scheduler"
	EvictLeader   = "evict-leader-scheduler"
	GrantLeader   = "grant-leader-scheduler"
	EvictSlow     = "evict-slow-store-scheduler"
	ShuffleLeader = "shuffle-leader-scheduler"
	ShuffleRegion = "shuffle-region-scheduler"
)

// DefaultSchedulers are those that run when nothing was set.
func DefaultSchedulers() []string {
	return []string{BalanceLeader, BalanceRegion, HotRegion, EvictSlow}
}

// KnownSchedulers are all that there are.
func KnownSchedulers() []string {
	return []string{BalanceLeader, BalanceRegion, HotRegion, EvictLeader, GrantLeader, EvictSlow, ShuffleLeader, ShuffleRegion}
}

// SchedulerConfig is a scheduler that runs, or that is not to run although it does by default.
type SchedulerConfig struct {
	Name string `json:"name"`
	// Stores are those that evict-leader and grant-leader are for.
	Stores []uint64 `json:"stores,omitempty"`
	// Batch is how many operators one look may make; 0 means as many as by default.
	Batch int `json:"batch,omitempty"`
	// Removed says that it does not run.
	Removed bool `json:"removed,omitempty"`
}

// DefaultBatch and MaxBatch are how many operators one look makes if nothing is set, and at most.
const (
	DefaultBatch = 8
	MaxBatch     = 100
)

// Batches is how many operators one look may make.
func (s SchedulerConfig) Batches() int {
	if s.Batch > 0 {
		return s.Batch
	}
	return DefaultBatch
}

// Check says what is wrong with it.
func (s SchedulerConfig) Check() error {
	if s.Batch < 0 || s.Batch > MaxBatch {
		return errors.Errorf("batch is %d; it must lie between 1 and %d", s.Batch, MaxBatch)
	}
	switch s.Name {
	case BalanceLeader, BalanceRegion, HotRegion, EvictSlow, ShuffleLeader, ShuffleRegion:
		return nil
	case EvictLeader, GrantLeader:
		if len(s.Stores) == 0 && !s.Removed {
			return errors.Errorf("%s needs the id of a store", s.Name)
		}
		return nil
	}
	return errors.Errorf("scheduler %q not found", s.Name)
}

// scheduler looks at the stores and makes operators for regions that it chooses.
type scheduler interface {
	// schedule adds what should be done now, and tells the job what it did, or why it did nothing.
	schedule(j *job)
}

// job is one look of a scheduler.
type job struct {
	*Coordinator
	now  time.Time
	w    *worker
	done int
	// limited says that a region was drawn that a store's limit kept from being moved.
	limited bool
}

// add takes an operator in; false if it cannot be.
func (j *job) add(op *operator.Operator) bool {
	if err := j.ctl.Add(j.now, op); err != nil {
		j.w.why = err.Error()
		return false
	}
	j.done++
	return true
}

// idle says why nothing was done.
func (j *job) idle(format string, args ...any) { j.w.why = fmt.Sprintf(format, args...) }

const (
	// minRest and maxRest bound how long a scheduler waits until it looks again. It waits longer each time it finds nothing.
	minRest = 50 * time.Millisecond
	maxRest = 5 * time.Second
	// tries is how many regions of a store are drawn before another store is looked at.
	tries = 10
)

// worker is a scheduler that runs.
type worker struct {
	cfg SchedulerConfig
	do  scheduler
	// next is when it looks again, rest how long it waited.
	next   time.Time
	rest   time.Duration
	paused time.Time
	why    string
	looked time.Time
	made   uint64
}

// SetScheduler starts, changes or removes a scheduler.
func (c *Coordinator) SetScheduler(cfg SchedulerConfig, now time.Time) error {
	if err := cfg.Check(); err != nil {
		return err
	}
	at := slices.IndexFunc(c.workers, func(w *worker) bool { return w.cfg.Name == cfg.Name })
	switch {
	case cfg.Removed && at >= 0:
		c.workers = slices.Delete(c.workers, at, at+1)
	case cfg.Removed:
	case at >= 0:
		c.workers[at].cfg, c.workers[at].next = cfg, now
	default:
		c.workers = append(c.workers, &worker{cfg: cfg, do: newScheduler(cfg.Name), next: now, rest: minRest})
		slices.SortFunc(c.workers, func(a, b *worker) int { return strings.Compare(a.cfg.Name, b.cfg.Name) })
	}
	return nil
}

func newScheduler(name string) scheduler {
	switch name {
	case BalanceLeader:
		return balanceLeader{}
	case BalanceRegion:
		return balanceRegion{}
	case HotRegion:
		return &hotRegion{}
	case EvictLeader:
		return evictLeader{}
	case GrantLeader:
		return grantLeader{}
	case EvictSlow:
		return &evictSlow{}
	case ShuffleLeader:
		return shuffleLeader{}
	case ShuffleRegion:
		return shuffleRegion{}
	}
	panic("no scheduler is called " + name)
}

// Pause keeps a scheduler from working until an instant; false if it does not run.
func (c *Coordinator) Pause(name string, until time.Time) bool {
	for _, w := range c.workers {
		if w.cfg.Name == name {
			w.paused = until
			return true
		}
	}
	return false
}

// SchedulerState is a scheduler as it is shown.
type SchedulerState struct {
	SchedulerConfig
	Paused time.Time
	// Why is why it did nothing when it last looked, at Looked; empty if it did something.
	Why    string
	Looked time.Time
	// Made is how many operators it has made in this term.
	Made uint64
}

// Schedulers lists those that run.
func (c *Coordinator) Schedulers() []SchedulerState {
	list := make([]SchedulerState, 0, len(c.workers))
	for _, w := range c.workers {
		list = append(list, SchedulerState{SchedulerConfig: w.cfg, Paused: w.paused, Why: w.why, Looked: w.looked, Made: w.made})
	}
	return list
}

// work lets the schedulers look whose time has come.
func (c *Coordinator) work(now time.Time) {
	for _, w := range c.workers {
		if now.Before(w.next) || now.Before(w.paused) {
			continue
		}
		j := &job{Coordinator: c, now: now, w: w}
		w.why, w.looked = "", now
		w.do.schedule(j)
		if w.made += uint64(j.done); j.done > 0 {
			w.rest, w.why = minRest, ""
		} else {
			w.rest = min(maxRest, w.rest*13/10)
		}
		w.next = now.Add(w.rest)
	}
}

// sheds says for which of two reasons a store is to lead nothing, if it is.
func (c *Coordinator) sheds(store uint64) Barrier {
	for _, w := range c.workers {
		switch do := w.do.(type) {
		case evictLeader:
			if slices.Contains(w.cfg.Stores, store) {
				return Evicted
			}
		case *evictSlow:
			if do.store == store {
				return Slow
			}
		}
	}
	return Open
}

// SlowStore is the store whose leaders are evicted because it is slow; 0 for none.
func (c *Coordinator) SlowStore() uint64 {
	for _, w := range c.workers {
		if slow, ok := w.do.(*evictSlow); ok {
			return slow.store
		}
	}
	return 0
}

// granted says that a store keeps all its leaders.
func (c *Coordinator) granted(store uint64) bool {
	for _, w := range c.workers {
		if w.cfg.Name == GrantLeader && slices.Contains(w.cfg.Stores, store) {
			return true
		}
	}
	return false
}

// draw is a random region with a role on a store; nil if there is none.
func (c *Coordinator) draw(store uint64, role cluster.Role) *cluster.Region {
	n := c.pic.CountOn(store, role)
	if n == 0 {
		return nil
	}
	return c.pic.RegionOn(store, role, c.rng.below(n))
}

// alive are the stores that are neither drained nor buried.
func (c *Coordinator) alive() []*cluster.Store {
	var list []*cluster.Store
	for _, s := range c.pic.Stores() {
		if s.Meta.State == 0 {
			list = append(list, s)
		}
	}
	return list
}
