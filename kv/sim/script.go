package sim

import (
	"bufio"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// A script is a directed scenario: what chance would hardly ever arrange, step by step. One step a line; # begins a comment.
//
//	stores 5 · replicas 5 · seed 7 · prevote off · lease off · loggc 5 · sleep 5     before the first other step
//	begin                       start, and wait until every store has its replica of the region and there is a leader
//	let L leader                names: L is the store that leads; let A B follower the others, by id
//	run 500ms                   let time pass
//	put K V on X · get K V on X must succeed, within 10 s; V may be - for none
//	try N put K V on X · try N get K on X · try N read K on X (as a replica) · try N swap K OLD NEW on X · try N add Y on X · try N remove Y on X   starts it and goes on; N names it
//	await N ok|refused|open|V   what has become of N: done, refused, no answer yet, or (get) done with the value V; waits up to 10 s except for open
//	kill X · start X · suspend X · resume X · kill all · start all
//	cut X Y · cut X -> Y · isolate X · heal
//	drop TYPE X -> Y · keep TYPE X -> Y · pass          messages (MsgAppend, *) are lost, or kept until pass; X or Y may be *; with "fitting" behind it,
//	                            only appends of a leader's own term that the receiver would accept; with "region", only
//	                            those of the region that steps are about
//	release                     what is kept goes on its way; the rules stay. forget: what is kept is lost, and the rules end.
//	forget-rules                the rules end, what is kept stays kept
//	ticks off X · ticks on X · ticks off all · tick X N a store without ticks never campaigns and never beats; N ticks at once
//	scheduler off · scheduler on
//	schedulers cut · schedulers suspend · schedulers back · schedulers heal · schedulers right     the one that leads is cut off from the others, stands still, has its calendar
//	                            turned back; all is right again
//	hold WORKER X · free WORKER X                       raft, log, apply, quick, snapshot: the worker stands still; front: swaps stop between reading and writing
//	transfer X · expect leader X · expect follower X · expect no leader · expect peers N
//	until leader X · until follower X                   wait, up to 60 s
//	until asleep X · expect asleep X · expect awake X   the region's peer on X, or on all that are up
//	within 3s leader · within 30s settled               by then somebody leads, not asleep and ready · the schedulers' picture is whole and true, and leaders are spread
//	region K                    from now on let, transfer, add, remove, change, split, expect, until are about the region that holds the key K; - is the first
//	                            key. put, get and swap go to the region that holds their key, as the store knows it.
//	try N merge K on X          the present region is to vanish in its neighbour that holds the key K
//	try N split K… on X · try N change C… on X          C is +Y ^Y (a voter, a learner on store Y), -Y ~Y (remove, make a learner of the peer on Y), !Y (promote)
//	expect regions N · expect regions N on X · expect peer X (with data) · expect no peer X · expect nothing X (no peer of any region)
//	crash X keeping all|nothing                         a kill after which of the unsynced writes all or none are there
//	judge                       heal everything; the cluster must come right and all checks hold
type script struct {
	c     *Cluster
	names map[string]*store
	tries map[string]*try
	hand  *world.Process
	rules []rule
	kept  []func()
	line  int
	// region is the one that steps are about.
	region uint64
}

const scriptHand = 301

// RunScript plays a script and reports what was wrong.
func RunScript(text string, sink func(world.Entry)) (Result, error) {
	s := &script{names: map[string]*store{}, tries: map[string]*try{}}
	cfg := Default(1)
	cfg.Clients, cfg.Replicas = 0, cfg.Stores
	scan := bufio.NewScanner(strings.NewReader(text))
	for s.line = 1; scan.Scan(); s.line++ {
		words := strings.Fields(strings.SplitN(scan.Text(), "#", 2)[0])
		if len(words) == 0 {
			continue
		}
		var err error
		switch {
		case s.c == nil && words[0] == "begin":
			s.c = New(cfg, sink)
			err = s.begin()
		case s.c == nil:
			err = configure(&cfg, words)
		default:
			err = s.step(words)
		}
		if err == nil && s.c != nil && len(s.c.result.Violations) > 0 {
			err = errors.New(s.c.result.Violations[0])
		}
		if err != nil {
			var r Result
			if s.c != nil {
				r = s.c.finish()
			}
			return r, errors.Annotatef(err, "line %d: %s", s.line, strings.Join(words, " "))
		}
	}
	if s.c == nil {
		return Result{}, errors.New("the script does not begin")
	}
	r := s.c.finish()
	return r, r.Err()
}

func configure(cfg *Config, words []string) error {
	if len(words) != 2 {
		return errors.New("expected a setting and its value")
	}
	on := words[1] == "on"
	n, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil && words[1] != "on" && words[1] != "off" {
		return err
	}
	switch words[0] {
	case "stores":
		cfg.Stores = int(n)
		cfg.Replicas = int(n)
	case "replicas":
		cfg.Replicas = int(n)
	case "seed":
		cfg.Seed = n
	case "prevote":
		cfg.Machine.PreVote = on
	case "lease":
		if !on {
			cfg.Machine.LeaseDuration = 0
		}
	case "loggc":
		cfg.Machine.LogGC.Threshold, cfg.Machine.LogGC.Count = max(1, n/2), n
	case "sleep":
		cfg.Machine.SleepTicks = int(n)
	case "maxmsg":
		cfg.Machine.Raft.MaxSizePerMsg = n
	default:
		return errors.Errorf("unknown setting %s", words[0])
	}
	return nil
}

func (s *script) begin() error {
	s.hand = s.c.w.NewProcess(scriptHand, "hand")
	s.hand.Start()
	s.c.filter = s.filter
	s.c.Boot()
	s.region = s.c.home
	return s.until(60*time.Second, func() bool {
		l := s.leader()
		if l == nil {
			return false
		}
		v := l.st.View(s.region)
		if len(v.Region.Peers) != s.c.cfg.Replicas || slices.ContainsFunc(v.Region.Peers, learns) {
			return false
		}
		for _, p := range v.Region.Peers {
			if w := s.c.storeWith(p.StoreId).st.View(s.region); w == nil || !w.Initialized || w.Log.Applied < v.Log.Applied {
				return false
			}
		}
		return true
	})
}

// leader is the store that leads in the highest term, nil if none does.
func (s *script) leader() *store {
	var best *store
	for _, st := range s.c.stores {
		if !st.p.Up() {
			continue
		}
		if v := st.st.View(s.region); v != nil && v.IsLeader && v.Ready && (best == nil || v.Term > best.st.View(s.region).Term) {
			best = st
		}
	}
	return best
}

// until lets time pass until cond holds.
func (s *script) until(limit time.Duration, cond func() bool) error {
	s.c.w.RunWhile(s.c.w.Now()+world.Time(limit), func() bool { return !cond() })
	if len(s.c.result.Violations) > 0 {
		return errors.New(s.c.result.Violations[0])
	}
	if !cond() {
		return errors.Errorf("it did not happen within %s", limit)
	}
	return nil
}

// find is a store by its name or number.
func (s *script) find(name string) (*store, error) {
	if st := s.names[name]; st != nil {
		return st, nil
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || n > len(s.c.stores) {
		return nil, errors.Errorf("no store is called %s", name)
	}
	return s.c.stores[n-1], nil
}

// several are the stores that a word stands for: all, *, or one.
func (s *script) several(name string) ([]*store, error) {
	if name == "all" || name == "*" {
		return s.c.stores, nil
	}
	st, err := s.find(name)
	return []*store{st}, err
}

func (s *script) step(w []string) error {
	do, ok := scriptSteps[w[0]]
	if !ok {
		return errors.Errorf("there is no step called %s", w[0])
	}
	if len(w)-1 < do.words {
		return errors.Errorf("%s needs %d words", w[0], do.words)
	}
	return do.run(s, w[1:])
}

// scriptSteps are the steps, with the number of words that they need at least.
var scriptSteps = map[string]struct {
	words int
	run   func(*script, []string) error
}{
	"let":          {2, (*script).let},
	"run":          {1, (*script).pass},
	"put":          {4, func(s *script, w []string) error { return s.must("put", w) }},
	"get":          {4, func(s *script, w []string) error { return s.must("get", w) }},
	"try":          {4, (*script).tryIt},
	"await":        {2, (*script).await},
	"kill":         {1, func(s *script, w []string) error { return s.each(w[0], (*store).kill) }},
	"start":        {1, func(s *script, w []string) error { return s.each(w[0], (*store).start) }},
	"suspend":      {1, func(s *script, w []string) error { return s.each(w[0], func(st *store) { st.p.Suspend() }) }},
	"resume":       {1, func(s *script, w []string) error { return s.each(w[0], func(st *store) { st.p.Resume() }) }},
	"crash":        {3, (*script).crash},
	"cut":          {2, (*script).cut},
	"isolate":      {1, (*script).isolate},
	"heal":         {0, func(s *script, _ []string) error { s.c.net.HealAll(); return nil }},
	"drop":         {4, func(s *script, w []string) error { return s.addRule(w, false) }},
	"keep":         {4, func(s *script, w []string) error { return s.addRule(w, true) }},
	"pass":         {0, (*script).letPass},
	"forget":       {0, (*script).forget},
	"release":      {0, (*script).release},
	"forget-rules": {0, func(s *script, _ []string) error { s.rules = nil; return nil }},
	"tick":         {2, (*script).tick},
	"scheduler": {1, func(s *script, w []string) error {
		s.c.sched.power(w[0] == "on")
		return nil
	}},
	"schedulers": {1, (*script).schedulers},
	"ticks":      {2, func(s *script, w []string) error { return s.each(w[1], func(st *store) { st.still = w[0] == "off" }) }},
	"hold":       {2, func(s *script, w []string) error { return s.hold(w, true) }},
	"free":       {2, func(s *script, w []string) error { return s.hold(w, false) }},
	"transfer":   {1, (*script).transfer},
	"expect":     {2, (*script).expect},
	"until":      {2, (*script).untilRole},
	"within":     {2, (*script).within},
	"region":     {1, (*script).choose},
	"judge":      {0, (*script).judge},
}

func (s *script) each(name string, do func(*store)) error {
	list, err := s.several(name)
	if err == nil {
		for _, st := range list {
			do(st)
		}
	}
	return err
}

func (s *script) let(w []string) error {
	names, role := w[:len(w)-1], w[len(w)-1]
	l := s.leader()
	if l == nil {
		return errors.New("there is no leader")
	}
	if role == "leader" {
		s.names[names[0]] = l
		return nil
	}
	for _, st := range s.c.stores {
		if st != l && len(names) > 0 {
			s.names[names[0]], names = st, names[1:]
		}
	}
	return nil
}

func (s *script) pass(w []string) error {
	d, err := time.ParseDuration(w[0])
	if err == nil {
		s.c.w.RunUntil(s.c.w.Now() + world.Time(d))
	}
	return err
}

func (s *script) crash(w []string) error {
	return s.each(w[0], func(st *store) {
		keepAll := w[2] == "all"
		st.disk.keep = func(n int) int {
			if keepAll {
				return n
			}
			return 0
		}
		st.kill()
		st.disk.keep = nil
	})
}

func (s *script) tick(w []string) error {
	n, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	return s.each(w[0], func(st *store) {
		for range n {
			st.ended(st.step.Tick())
			st.pump()
			s.c.w.RunUntil(s.c.w.Now() + world.Time(2*time.Millisecond))
		}
	})
}

var scriptWorkers = map[string]raftstore.WorkerKind{
	"raft": raftstore.RaftWorker, "log": raftstore.LogWriter, "apply": raftstore.ApplyWorker, "quick": raftstore.QuickTasks, "snapshot": raftstore.SnapshotTasks,
}

func (s *script) hold(w []string, hold bool) error {
	if w[0] == "front" {
		return s.each(w[1], func(st *store) { st.front.hold(hold) })
	}
	kind, ok := scriptWorkers[w[0]]
	if !ok {
		return errors.Errorf("there is no worker called %s", w[0])
	}
	return s.each(w[1], func(st *store) {
		st.held[kind] = hold
		st.pump()
	})
}

func (s *script) transfer(w []string) error {
	to, err := s.find(w[0])
	l := s.leader()
	if err != nil || l == nil {
		return errors.Errorf("no leader, or %v", err)
	}
	v := l.st.View(s.region)
	for _, p := range v.Region.Peers {
		if p.StoreId == to.id {
			l.st.Admin(&machine.AdminRequest{RegionID: s.region, Op: machine.TransferLeader{To: p}})
			l.pump()
			return nil
		}
	}
	return errors.New("the store has no peer")
}

func (s *script) expect(w []string) error {
	switch {
	case w[0] == "no" && w[1] == "peer" || w[0] == "peer":
		return s.expectPeer(w[len(w)-1], w[0] == "peer")
	case w[0] == "regions":
		return s.expectRegions(w[1:])
	case w[0] == "nothing":
		return s.expectNothing(w[1])
	case w[0] == "no":
		if l := s.leader(); l != nil {
			return errors.Errorf("store %d leads", l.id)
		}
	case w[0] == "leader":
		want, err := s.find(w[1])
		if l := s.leader(); err != nil || l != want {
			return errors.Errorf("another leads, or none (%v)", err)
		}
	case w[0] == "follower":
		st, err := s.find(w[1])
		if err != nil || st.st.View(s.region).IsLeader {
			return errors.Errorf("it leads (%v)", err)
		}
	case w[0] == "peers":
		l := s.leader()
		if l == nil || strconv.Itoa(len(l.st.View(s.region).Region.Peers)) != w[1] {
			return errors.New("there are others, or there is no leader")
		}
	case w[0] == "asleep" || w[0] == "awake":
		if is, err := s.asleep(w[1]); err != nil || is != (w[0] == "asleep") {
			return errors.Errorf("asleep: %t (%v)", is, err)
		}
	default:
		return errors.New("cannot expect that")
	}
	return nil
}

func (s *script) untilRole(w []string) error {
	if w[0] == "asleep" {
		return s.until(60*time.Second, func() bool {
			is, err := s.asleep(w[1])
			return is && err == nil
		})
	}
	st, err := s.find(w[1])
	if err != nil {
		return err
	}
	return s.until(60*time.Second, func() bool {
		if !st.p.Up() {
			return false
		}
		v := st.st.View(s.region)
		return v != nil && v.IsLeader == (w[0] == "leader")
	})
}

// asleep tells whether the home region's peers on these stores sleep, as far as the stores are up.
func (s *script) asleep(name string) (bool, error) {
	list, err := s.several(name)
	for _, st := range list {
		if err == nil && st.p.Up() {
			if v := st.st.View(s.c.home); v == nil || !v.Asleep {
				return false, nil
			}
		}
	}
	return true, err
}

func (s *script) within(w []string) error {
	d, err := time.ParseDuration(w[0])
	if err != nil {
		return err
	}
	if w[1] == "settled" {
		var what string
		err := s.until(d, func() bool {
			what = s.c.sched.settled()
			return what == ""
		})
		return errors.Annotate(err, what)
	}
	return s.until(d, func() bool {
		l := s.leader()
		return l != nil && !l.st.View(s.c.home).Asleep
	})
}

// judge undoes everything that a script can do, and holds the cluster to what it promises.
func (s *script) judge([]string) error {
	if err := s.letPass(nil); err != nil {
		return err
	}
	s.c.net.HealAll()
	for _, st := range s.c.stores {
		st.p.Resume()
		st.still = false
		clear(st.held)
		st.start()
		st.pump()
	}
	if err := s.until(60*time.Second, func() bool { return s.leader() != nil }); err != nil {
		return err
	}
	s.c.w.RunUntil(s.c.w.Now() + world.Time(5*time.Second))
	s.c.compareReplicas()
	return nil
}
