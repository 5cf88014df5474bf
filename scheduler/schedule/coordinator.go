// Package schedule decides what should change in the cluster: which region needs a replica, a new place, another leader, a split or a merge.
//
// A Coordinator looks at the picture in two ways. Checkers look at one region at a time, at every heartbeat of it and in a patrol over all of them: what
// the placement rules ask for, and whether the region is too small (check_*.go). Schedulers look at stores, each in its own rhythm that slows down while there is nothing
// to do: leaders, regions and traffic are spread, a store is emptied of leaders (sched_*.go). What both come up with are operators; package operator carries them
// out, within limits.
//
// Decisions are functions of the picture, the configuration, the instant, and a seeded stream of random numbers where any choice will do. Nothing is remembered that the next leader
// needs: it sees half-done changes in its first heartbeats, and goes on from there. Until most regions have reported to a new leader nothing is moved or removed
// (PITFALLS P6). What keeps stores from being moved back and forth (P7) is in score.go.
//
// Why something that is wanted is not done is remembered in words (reasons.go).
package schedule

import (
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/scheduler/cluster"
	"github.com/shoal-kv/shoal/scheduler/schedule/operator"
	"github.com/shoal-kv/shoal/scheduler/schedule/placement"
)

const (
	// patrolled is how many regions one tick looks at.
	patrolled = 128
	// enoughHeard is the share of the known regions that must have reported before anything is moved, and waitLongest how long that is waited for.
	enoughHeard = 0.9
	waitLongest = 2 * time.Minute
)

// Coordinator makes the decisions of one term.
type Coordinator struct {
	pic     *cluster.Picture
	ctl     *operator.Controller
	cfg     Config
	rules   *placement.Set
	newID   func() (uint64, bool)
	rng     random
	workers []*worker
	reasons reasons
	scatter scatterGroups
	choices choices
	// cursor is where the patrol is, since when it is under way, and how long the one before took.
	cursor []byte
	lap    patrolTime
	born   time.Time
	// prepared says that enough regions have reported.
	prepared bool
	// split holds when a region was last seen to have split.
	split map[uint64]time.Time
}

type patrolTime struct {
	began time.Time
	took  time.Duration
}

// Options are what a coordinator is made of besides the picture.
type Options struct {
	// NewID takes an id out of the stock; false if there is none.
	NewID func() (uint64, bool)
	Seed  uint64
	Now   time.Time
}

// New makes a coordinator with the default configuration and schedulers.
func New(pic *cluster.Picture, opts Options) *Coordinator {
	c := &Coordinator{
		pic: pic, ctl: operator.NewController(pic), newID: opts.NewID, rng: random{opts.Seed}, born: opts.Now,
		reasons: newReasons(), scatter: make(scatterGroups), choices: newChoices(), split: make(map[uint64]time.Time),
	}
	if err := c.Configure(DefaultConfig(), nil, nil); err != nil {
		panic("the default configuration is wrong: " + err.Error())
	}
	for _, name := range DefaultSchedulers() {
		if err := c.SetScheduler(SchedulerConfig{Name: name}, opts.Now); err != nil {
			panic("a default scheduler is wrong: " + err.Error())
		}
	}
	return c
}

// CheckConfig says whether Configure will take it.
func CheckConfig(cfg Config, rules []*placement.Rule, groups []placement.Group) (*placement.Set, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	all := rules
	own := false
	for _, r := range rules {
		if err := r.Check(); err != nil {
			return nil, err
		}
		own = own || r.GroupID == placement.DefaultGroup && r.ID == placement.DefaultID
	}
	if !own {
		all = append([]*placement.Rule{cfg.defaultRule()}, rules...)
	}
	for i := range groups {
		if err := groups[i].Check(); err != nil {
			return nil, err
		}
	}
	return placement.NewSet(all, groups)
}

// Configure changes the configuration and the placement rules that were set.
func (c *Coordinator) Configure(cfg Config, rules []*placement.Rule, groups []placement.Group) error {
	set, err := CheckConfig(cfg, rules, groups)
	if err != nil {
		return err
	}
	c.cfg, c.rules = cfg, set
	c.ctl.SetLimits(cfg.limits())
	c.pic.SetDownAfter(time.Duration(cfg.MaxStoreDownTime))
	return nil
}

// Config is the configuration.
func (c *Coordinator) Config() Config { return c.cfg }

// Rules are the placement rules, the default one among them.
func (c *Coordinator) Rules() *placement.Set { return c.rules }

// Operators holds the operators in flight and those that ended. It is for reading.
func (c *Coordinator) Operators() *operator.Controller { return c.ctl }

// Prepared says that enough regions have reported to this term for anything to be moved or removed.
func (c *Coordinator) Prepared(now time.Time) bool {
	if !c.prepared {
		c.prepared = float64(c.pic.Heard()) >= enoughHeard*float64(c.pic.RegionCount()) || now.Sub(c.born) > waitLongest
	}
	return c.prepared
}

// Heartbeat looks at a region that has just been taken into the picture, with what that changed. It returns what to tell the region's leader, or nil.
func (c *Coordinator) Heartbeat(r *cluster.Region, grown bool, change cluster.Change, now time.Time) *operator.Command {
	for _, gone := range change.Overlapped {
		c.ctl.Gone(gone.ID(), now)
		c.forget(gone.ID())
	}
	if grown {
		c.split[r.ID()] = now
	}
	if command := c.ctl.Judge(r, now); command != nil {
		if op := c.urgent(r, now); op == nil || c.ctl.Add(now, op) != nil {
			return command
		}
		return c.ctl.Judge(r, now)
	}
	if c.ctl.Has(r.ID()) {
		return nil
	}
	c.check(r, now)
	return c.ctl.Judge(r, now)
}

// Tick does what is due: it ends operators that take too long, patrols regions, and lets schedulers work. It returns what to tell leaders unasked, and is to be called
// some ten times a second.
func (c *Coordinator) Tick(now time.Time) []*operator.Command {
	if !c.cfg.HaltScheduling {
		c.patrol(now)
		if c.Prepared(now) {
			c.work(now)
		}
	}
	return c.ctl.Tick(now)
}

// patrol checks the next regions in the order of their keys.
func (c *Coordinator) patrol(now time.Time) {
	if len(c.cursor) == 0 {
		c.lap.began = now
	}
	list := c.pic.Scan(c.cursor, nil, patrolled)
	for _, r := range list {
		if !c.ctl.Has(r.ID()) {
			c.check(r, now)
		}
	}
	c.cursor = nil
	if len(list) == patrolled {
		c.cursor = list[len(list)-1].Meta.EndKey
	}
	if len(c.cursor) == 0 {
		c.lap.took = now.Sub(c.lap.began)
		for id, at := range c.split { // order-free: each is judged by itself
			if now.Sub(at) > time.Duration(c.cfg.SplitMergeInterval) {
				delete(c.split, id)
			}
		}
	}
}

// PatrolTime is how long the latest patrol over all regions took.
func (c *Coordinator) PatrolTime() time.Duration { return c.lap.took }

// check looks at one region that has no operator, and adds what it needs.
func (c *Coordinator) check(r *cluster.Region, now time.Time) {
	if r.Leader == nil || c.cfg.HaltScheduling {
		return
	}
	op := c.checkJoint(r)
	if op == nil {
		op = c.checkBoundary(r)
	}
	if op == nil {
		op = c.checkRules(r, now)
	}
	if op != nil {
		if err := c.ctl.Add(now, op); err != nil {
			c.reasons.note(r.ID(), op.Desc, err.Error(), now)
		}
		return
	}
	c.checkMerge(r, now)
}

// urgent is what may take the place of the operator that a region has: to repair it rather than to move it.
func (c *Coordinator) urgent(r *cluster.Region, now time.Time) *operator.Operator {
	if p, _ := c.ctl.Priority(r.ID()); p >= operator.High || len(r.Down) == 0 || c.cfg.HaltScheduling {
		return nil
	}
	return c.checkRules(r, now)
}

func (c *Coordinator) forget(region uint64) {
	c.reasons.clear(region)
	delete(c.split, region)
}

// options say how regions are changed here.
func (c *Coordinator) options() operator.Options {
	return operator.Options{
		Joint: c.cfg.EnableJointConsensus, Learners: c.cfg.EnableRaftLearner, NewID: c.newID, Best: c.bestLeader,
	}
}

// Add takes in an operator that an operator of the cluster asks for.
func (c *Coordinator) Add(now time.Time, op *operator.Operator) error { return c.ctl.Add(now, op) }

// Cancel ends a region's operator; false if it has none.
func (c *Coordinator) Cancel(region uint64, now time.Time) bool {
	return c.ctl.Cancel(region, "by an operator of the cluster", now)
}

// store is how the rules see stores.
func (c *Coordinator) store(id uint64) *cluster.Store { return c.pic.Store(id) }

// led is a region by id that somebody leads, or the reason why there is none.
func (c *Coordinator) led(id uint64) (*cluster.Region, error) {
	r := c.pic.Region(id)
	switch {
	case r == nil:
		return nil, errors.Errorf("region %d not found", id)
	case r.Leader == nil:
		return nil, errors.Errorf("region %d: nobody leads it", id)
	}
	return r, nil
}

// present are a region's peers as targets of a change that leaves them as they are.
func present(r *cluster.Region) []operator.Target {
	var list []operator.Target
	for _, p := range r.Meta.Peers {
		role := metapb.PeerRole_Voter
		if p.Role == metapb.PeerRole_Learner || p.Role == metapb.PeerRole_DemotingVoter {
			role = metapb.PeerRole_Learner
		}
		list = append(list, operator.Target{Store: p.StoreId, Role: role})
	}
	return list
}
