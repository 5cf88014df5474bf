package raftstore

import "github.com/pingcap/kvproto/pkg/pdpb"

// Stepper runs a store without a goroutine: its owner, the simulator, says when which worker takes a step. Everything else is the
// store's own: queues and their limits, orders, the handling of failures.
//
// The owner looks after every call that may have put something into a queue which workers Wait, and lets them Step, each at its time
// and never two at once.
type Stepper struct {
	s       *Store
	raft    []*raftWorker
	store   *storeWorker
	workers []worker
	kinds   []WorkerKind
	broken  bool
}

// WorkerKind says what a worker does, so that its owner can charge for it.
type WorkerKind uint8

// The kinds of workers.
const (
	RaftWorker WorkerKind = iota
	StoreWorker
	LogWriter
	ApplyWorker
	QuickTasks
	SnapshotTasks
	ScanTasks
	Reporter
	HashTasks
)

// NewStepper takes a store that was opened and not started.
func NewStepper(s *Store) *Stepper {
	p := &Stepper{s: s}
	add := func(kind WorkerKind, w worker) {
		p.workers, p.kinds = append(p.workers, w), append(p.kinds, kind)
	}
	out := s.outlets()
	for i, m := range s.machines {
		w := &raftWorker{s: s, m: m, box: s.raft[i], out: out}
		p.raft = append(p.raft, w)
		add(RaftWorker, w)
	}
	p.store = &storeWorker{s: s, out: out}
	add(StoreWorker, p.store)
	add(LogWriter, &logWriter{s: s})
	add(ApplyWorker, &applyWorker{s: s})
	add(QuickTasks, &taskWorker{s: s, queue: s.quick})
	add(SnapshotTasks, &taskWorker{s: s, queue: s.snapshots})
	add(ScanTasks, &taskWorker{s: s, queue: s.scans})
	add(Reporter, &reporter{s: s})
	add(HashTasks, &taskWorker{s: s, queue: s.hashes})
	return p
}

// Workers are the kinds of the workers; the others' argument is an index of it.
func (p *Stepper) Workers() []WorkerKind { return p.kinds }

// Waits says that a worker has something to do. A broken store's workers have nothing to do any more.
func (p *Stepper) Waits(worker int) bool { return !p.broken && p.workers[worker].waiting() }

// Begin says that a worker's next step, which takes its time, begins now: what the log writer finds in its queue then is what that step writes,
// and what comes later is for the one after.
func (p *Stepper) Begin(worker int) {
	if w, ok := p.workers[worker].(*logWriter); ok && !p.broken {
		w.begin()
	}
}

// Step lets a worker do what is there. The error is the store's end, as on Store.Fatal.
func (p *Stepper) Step(worker int) error {
	if p.broken || !p.workers[worker].waiting() {
		return nil
	}
	p.workers[worker].step()
	return p.ended()
}

// Tick is the passing of one tick interval for all workers that count ticks.
func (p *Stepper) Tick() error {
	if p.broken {
		return nil
	}
	for _, w := range p.raft {
		w.handle(true, p.s.opts.Clock())
	}
	if p.s.opts.Machine.SleepTicks > 0 {
		p.store.handle(true)
	}
	return p.ended()
}

func (p *Stepper) ended() error {
	select {
	case err := <-p.s.fatal:
		p.broken = true
		return err
	default:
		return nil
	}
}

// StoreStats is what the store reports of itself, at a wall time in seconds.
func (p *Stepper) StoreStats(start uint32) *pdpb.StoreStats { return p.s.storeStats(start) }
