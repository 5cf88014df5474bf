package raftstore

import (
	"time"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/proto/region"
)

// outlets connects a round's deeds with the goroutines that do them.
func (s *Store) outlets() machine.Outlets {
	return machine.Outlets{
		Publish: s.publish,
		Send:    s.opts.Transport.Send,
		Write:   s.enqueueWrites,
		Apply:   func(t []machine.ApplyTask) { s.applyQueue.put(t...) },
		Post:    s.post,
		Reply:   carryReply,
		Ask:     func(c machine.SchedulerCall) { s.reports.put(c) },
		Run:     s.enqueueTask,
	}
}

func (s *Store) enqueueWrites(tasks []machine.WriteTask) {
	for i := range tasks {
		s.logBytes.Add(sizeOf(&tasks[i].Update))
	}
	s.logQueue.put(tasks...)
}

func sizeOf(u *logstore.Update) int64 {
	n := int64(64)
	for i := range u.Entries {
		n += int64(len(u.Entries[i].Data)) + 64
	}
	return n
}

// enqueueTask keeps what happens to snapshots that are held in order: a late deletion must not meet the one of the same key that was taken since.
func (s *Store) enqueueTask(t machine.Task) {
	drop, isDrop := t.(machine.DropSnapshot)
	_, isBuild := t.(machine.BuildSnapshot)
	_, isScan := t.(machine.MeasureRegion)
	switch {
	case isScan:
		s.scans.put(t)
	case isBuild, isDrop && !drop.Received:
		s.snapshots.put(t)
	default:
		s.quick.put(t)
	}
}

// enqueueHash takes a hash that apply asks for, unless too many wait: each holds a snapshot of the engine.
func (s *Store) enqueueHash(t *machine.ComputeHash) {
	if !s.hashes.tryPut(t) {
		_ = t.Snapshot.Close() // nothing was read from it
	}
}

// maxHashes is how many hashes may wait.
const maxHashes = 16

// dropHashes gives up what waits when the store stops.
func (s *Store) dropHashes() {
	s.hashes.close()
	for _, t := range s.hashes.take(nil) {
		_ = t.(*machine.ComputeHash).Snapshot.Close() // nothing was read from it
	}
}

func carryReply(r machine.Reply) {
	if r.Grant != nil {
		r.Grant(r.Read, r.Err)
	} else {
		r.Done(r.Err)
	}
}

// carryOut performs a round, after whoever watches the store has seen it.
func (s *Store) carryOut(round *machine.Round, out *machine.Outlets) {
	if s.opts.Watch.Round != nil {
		s.opts.Watch.Round(round)
	}
	round.CarryOut(*out)
}

// A worker is one of the store's goroutines without the goroutine: what it does when it is woken is one step. In production
// run takes the steps (serve); in the simulator a Stepper does.
type worker interface {
	// waiting says that a step has something to do.
	waiting() bool
	// step does what is there; false when the store is broken and the worker must not be asked again.
	step() bool
}

// serve takes a worker's steps until done; with drain also what is left then.
func serve(done, wake <-chan struct{}, w worker, drain bool) {
	for {
		select {
		case <-wake:
		case <-done:
			for drain && w.waiting() && w.step() {
			}
			return
		}
		for w.waiting() && (drain || !closed(done)) {
			if !w.step() {
				return
			}
		}
	}
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// raftWorker drives one RaftMachine.
type raftWorker struct {
	s    *Store
	m    *machine.RaftMachine
	box  *mailbox[machine.Mail]
	out  machine.Outlets
	mail []machine.Mail
	// due is when the machine wants to be called again, mail or not; 0 for never.
	due machine.Instant
}

func (w *raftWorker) waiting() bool { return w.box.waiting() }

func (w *raftWorker) step() bool {
	w.handle(false, w.s.opts.Clock())
	return true
}

// handle takes the mail that is there, and a tick behind it if it is time for one. now was read before the mail is looked at.
func (w *raftWorker) handle(tick bool, now machine.Instant) {
	w.mail = w.box.take(w.mail)
	if tick {
		w.mail = append(w.mail, machine.Tick{})
	}
	if len(w.mail) == 0 && (w.due == 0 || now < w.due) {
		return
	}
	w.s.opts.Metrics.raftMail.Add(float64(len(w.mail)))
	began := time.Now()
	round := w.m.Handle(w.mail, now)
	w.due = round.Wake
	w.s.carryOut(&round, &w.out)
	w.s.opts.Metrics.handled(began, tick)
	w.s.opts.Metrics.lagged(round.Lags)
}

func (w *raftWorker) run(done <-chan struct{}, at *pulse) {
	ticker := time.NewTicker(w.s.opts.Tick)
	defer ticker.Stop()
	alarm := time.NewTimer(w.s.opts.Tick)
	defer alarm.Stop()
	for {
		tick := false
		if w.due > 0 {
			alarm.Reset(time.Duration(w.due - w.s.opts.Clock()))
		}
		select {
		case <-alarm.C:
		case <-w.box.wake:
		case <-ticker.C:
			tick = true // ticks that were missed are not made up for: a follower that slept must not hurry
		case <-done:
			w.stop()
			return
		}
		now := w.s.opts.Clock()
		at.begin(now)
		w.handle(tick, now)
		at.end()
	}
}

// stop answers everybody who waits: first what the machine holds, then what is still in the mailbox.
func (w *raftWorker) stop() {
	round := w.m.Stop(w.s.opts.Clock())
	w.s.carryOut(&round, &w.out)
	w.box.close()
	round = w.m.Handle(w.box.take(nil), w.s.opts.Clock())
	w.s.carryOut(&round, &w.out)
}

// storeWorker drives the StoreMachine.
type storeWorker struct {
	s    *Store
	out  machine.Outlets
	mail []machine.Mail
}

func (w *storeWorker) waiting() bool { return w.s.Router.store.waiting() }

func (w *storeWorker) step() bool {
	w.handle(false)
	return true
}

func (w *storeWorker) handle(tick bool) {
	w.mail = w.s.Router.store.take(w.mail)
	if tick {
		w.mail = append(w.mail, machine.Tick{})
	}
	round := w.s.store.Handle(w.mail, w.s.opts.Clock())
	w.s.carryOut(&round, &w.out)
}

func (w *storeWorker) run(done <-chan struct{}) {
	ticker := time.NewTicker(w.s.opts.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-w.s.Router.store.wake:
			w.handle(false)
		case <-ticker.C:
			w.handle(true)
		case <-done:
			return
		}
	}
}

// logWriter writes one batch a step: everything that gathered since the last. What comes while it writes is the next batch.
type logWriter struct {
	s       *Store
	tasks   []machine.WriteTask
	begun   bool // tasks are those of a batch that is not written yet
	updates []logstore.Update
}

func (w *logWriter) waiting() bool { return w.begun || w.s.logQueue.waiting() }

// begin settles which updates the next step writes.
func (w *logWriter) begin() {
	if !w.begun {
		w.tasks, w.begun = w.s.logQueue.take(w.tasks), true
	}
}

// step writes one batch. After a failure the store promises nothing more: no message leaves, nobody is told.
func (w *logWriter) step() bool {
	s := w.s
	begin := time.Now()
	w.begin()
	w.begun = false
	after, mail, err := s.opts.Disk.WriteLog(w.tasks, w.updates)
	if err != nil {
		s.fail(err)
		return false
	}
	s.opts.Metrics.logWritten(begin, w.tasks)
	for i := range w.tasks {
		s.logBytes.Add(-sizeOf(&w.tasks[i].Update))
	}
	if len(after) > 0 {
		s.opts.Transport.Send(after)
	}
	s.postAll(mail)
	return true
}

// applyWorker makes one engine batch a step.
type applyWorker struct {
	s     *Store
	batch engine.Batch
	tasks []machine.ApplyTask // what the last step left
	space []machine.ApplyTask // the queue's former array
}

func (w *applyWorker) waiting() bool { return len(w.tasks) > 0 || w.s.applyQueue.waiting() }

func (w *applyWorker) step() bool {
	s := w.s
	if w.batch == nil {
		w.batch = s.opts.Disk.State.NewBatch()
	}
	if len(w.tasks) == 0 {
		w.space = s.applyQueue.take(w.space)
		w.tasks = w.space
	}
	begin := time.Now()
	round, rest, err := s.opts.Disk.Apply(s.apply, w.tasks, w.batch)
	s.opts.Metrics.applied(begin, len(round.Reply))
	if s.opts.Watch.Apply != nil {
		// What was parked may come back: then more is left than there was.
		s.opts.Watch.Apply(w.tasks[:max(0, len(w.tasks)-len(rest))], &round)
	}
	for _, r := range round.Reply {
		carryReply(r)
	}
	s.postAll(round.Mail)
	if round.Hash != nil && err == nil {
		s.enqueueHash(round.Hash)
	}
	if w.tasks = rest; err != nil {
		s.fail(err)
		w.abandon()
		return false
	}
	return true
}

// abandon tells everybody who waits for an entry that the broken engine will never apply.
func (w *applyWorker) abandon() {
	for tasks := w.tasks; len(tasks) > 0; tasks = w.s.applyQueue.take(nil) {
		for i := range tasks {
			tasks[i].Abandon(carryReply, region.ErrUndetermined)
		}
	}
	w.tasks = nil
	w.s.apply.Abandon(carryReply, region.ErrUndetermined)
	w.s.applyQueue.close()
}

// close answers who waits for what is parked, and lets go of the batch.
func (w *applyWorker) close() {
	w.s.apply.Abandon(carryReply, region.ErrUndetermined)
	if w.batch != nil {
		_ = w.batch.Close()
	}
}

// taskWorker runs one task a step.
type taskWorker struct {
	s     *Store
	queue *mailbox[machine.Task]
	tasks []machine.Task
	space []machine.Task
}

func (w *taskWorker) waiting() bool { return len(w.tasks) > 0 || w.queue.waiting() }

func (w *taskWorker) step() bool {
	if len(w.tasks) == 0 {
		w.space = w.queue.take(w.space)
		w.tasks = w.space
	}
	t := w.tasks[0]
	w.tasks = w.tasks[1:]
	return w.s.runTask(t)
}

func (s *Store) runTask(t machine.Task) bool {
	switch report := t.(type) {
	case machine.ReportDifference:
		s.reportDifference(&report)
		return true
	case machine.ReportDamage:
		s.reportDamage(&report)
		return true
	}
	mail, err := s.opts.Disk.RunTask(t, s.paceOf(t))
	s.tellDamaged(t, err)
	if err != nil {
		switch t := t.(type) {
		case machine.MeasureRegion:
			if !engine.IsCorruption(err) {
				s.fail(err)
				return false
			}
			mail = nil // what was found so far is not what there is
		case machine.BuildSnapshot, machine.DropSnapshot:
			s.opts.Logger.Warn("snapshot", zap.Any("task", t), zap.Error(err))
		case *machine.ComputeHash:
			s.opts.Logger.Warn("hash of a region", zap.Uint64("region", t.RegionID), zap.Error(err))
		default:
			s.fail(err)
			return false
		}
	}
	if mail != nil {
		s.post(machine.Addressed{RegionID: regionOf(t), Mail: mail})
	}
	return true
}

// paceOf is how fast a task may go, and until when it is worth while.
func (s *Store) paceOf(t machine.Task) snapfile.Pace {
	switch t := t.(type) {
	case machine.BuildSnapshot:
		return s.snapshotThrottle.pace(func() bool { return s.present(t.RegionID, t.PeerID) })
	case *machine.ComputeHash:
		return s.hashThrottle.pace(func() bool { return s.present(t.RegionID, t.PeerID) })
	}
	return nil
}

func (s *Store) present(regionID, peerID uint64) bool {
	v := s.View(regionID)
	return v != nil && !v.Gone && v.PeerID == peerID
}

func (s *Store) reportDifference(d *machine.ReportDifference) {
	s.opts.Metrics.differences.Inc()
	s.opts.Logger.Error("replicas of a region differ: see `shoal ctl consistency-check`", zap.Uint64("region", d.RegionID),
		zap.Uint64("peer", d.PeerID), zap.Uint64("index", d.Check.Index), zap.Uint64("hash", d.Check.Hash), zap.Uint64("leader-hash", d.Check.LeaderHash))
}

func regionOf(t machine.Task) uint64 {
	switch t := t.(type) {
	case *machine.ComputeHash:
		return t.RegionID
	case machine.Reload:
		return t.RegionID
	case machine.ReadLog:
		return t.RegionID
	case machine.BuildSnapshot:
		return t.RegionID
	case machine.SyncState:
		return t.RegionID
	case machine.MeasureRegion:
		return t.RegionID
	case machine.DropSnapshot:
		return t.RegionID
	}
	return 0
}

var _ Transport = TransportFunc(nil)

// TransportFunc makes a function a Transport.
type TransportFunc func([]*raft_serverpb.RaftMessage)

// Send calls f.
func (f TransportFunc) Send(msgs []*raft_serverpb.RaftMessage) { f(msgs) }
