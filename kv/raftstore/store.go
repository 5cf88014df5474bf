// Package raftstore keeps many regions on one store: each a raft group, all sharing few goroutines, one raft log and one fsync.
//
// The deciding is done by machines (package machine). Here are the shells that own the goroutines:
//
//	raft worker    n of them; mail in, Handle, carry out. A region always lives on the same one.
//	store worker   one; the same around the StoreMachine.
//	log writer     one; takes all updates of all workers that wait, writes one batch with one sync, then lets the promises
//	               leave and tells the workers. While a sync runs the next batch gathers: group commit without a timer.
//	apply worker   one; committed entries into engine batches, without a sync; then the replies.
//	task workers   four; old log, state syncs and deletions on one, snapshots, hashes of regions and measurements on the others.
//	heartbeats     one; reports to the scheduler.
//
// The walk of a write: Router.Propose → raft worker (one entry of all that waits) → appends leave for the followers, and the log writer
// syncs → committed and persisted here → apply worker → Done. The walk of a read: View → engine snapshot → View again (RegionView.StillHolds), or
// Router.Read when there is no lease.
//
// A failed write or sync of either engine is the end: the store reports it on Fatal, promises nothing more, and must be closed.
package raftstore

import (
	"context"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Transport takes messages to other stores: best effort, never blocks, may lose, may reorder. Of a snapshot's end, lost or arrived, it must
// always tell (Router.SnapshotSent): raft sends nothing else to a peer until then.
type Transport interface {
	Send(msgs []*raft_serverpb.RaftMessage)
}

// Scheduler is what a running store asks of the control plane. Its answers come back through Store.Answer and Store.Resend.
type Scheduler interface {
	// StoreHeartbeat reports the store as a whole; it may take as long as ctx.
	StoreHeartbeat(ctx context.Context, stats *pdpb.StoreStats) error
	// RegionHeartbeat reports a leader's region; best effort, never blocks.
	RegionHeartbeat(hb *pdpb.RegionHeartbeatRequest)
	// AskBatchSplit asks for the ids of count regions that are to be split off a region. It never blocks; answer is called once at most.
	AskBatchSplit(r *metapb.Region, count int, answer func([]*pdpb.SplitID, error))
	// ReportBatchSplit tells what a region was divided into, in the order of keys; best effort, never blocks.
	ReportBatchSplit(regions []*metapb.Region)
}

// Limits bound the queues of a store.
type Limits struct {
	// MailboxMessages is how many messages may wait at one raft worker before further ones are dropped.
	MailboxMessages int
	// ProposalBytes is how much may be between Propose and Done, Reads how many reads may wait, LogQueueBytes how much may
	// wait for the log writer before appends from other stores are dropped.
	ProposalBytes, Reads, LogQueueBytes int64
	// SnapshotBytesPerSec bounds the reading of snapshots that are sent, HashBytesPerSec the comparing of replicas; 0 is no bound.
	SnapshotBytesPerSec, HashBytesPerSec int64
}

// Options say what a store is made of.
type Options struct {
	Machine     machine.Config
	RaftWorkers int
	Limits      Limits
	Tick        time.Duration
	// StoreHeartbeatInterval is how often the store reports itself; Stats adds what it knows (capacity and the like).
	StoreHeartbeatInterval time.Duration
	Stats                  func(*pdpb.StoreStats)
	// Flow adds to the report of a region what was read and written; may be nil.
	Flow func(*pdpb.RegionHeartbeatRequest)
	// SnapshotAge is after how long a received snapshot is removed that nobody came for; 0 is never.
	SnapshotAge time.Duration
	Disk        *Disk
	Transport   Transport
	Scheduler   Scheduler
	Clock       func() machine.Instant
	Logger      *zap.Logger
	Metrics     *Metrics
	Watch       Watch
}

// Watch is told what the machines decided, before it is carried out. The simulator checks it and makes its trace of it; nil functions are not called.
type Watch struct {
	Round func(*machine.Round)
	// Apply sees the tasks that became one engine batch, when the engine has it.
	Apply func([]machine.ApplyTask, *machine.ApplyRound)
}

// Store is one running store.
type Store struct {
	*Router
	opts     Options
	machines []*machine.RaftMachine
	store    *machine.StoreMachine
	apply    *machine.ApplyMachine

	logQueue   *mailbox[machine.WriteTask]
	applyQueue *mailbox[machine.ApplyTask]
	quick      *mailbox[machine.Task]
	snapshots  *mailbox[machine.Task]
	hashes     *mailbox[machine.Task]
	scans      *mailbox[machine.Task]
	reports    *mailbox[machine.SchedulerCall]
	beat       chan struct{} // asks for a store heartbeat out of turn
	pulses     []*pulse      // fixed once the store is started

	endTasks                       context.CancelFunc // ends what builds or hashes
	snapshotThrottle, hashThrottle throttle

	raftStop, writerStop, applyStop, restStop stopper
	fatal                                     chan error
	failOnce, closeOnce                       sync.Once
}

// stopper ends a rank of goroutines and waits for them. Ranks stop one after the other.
type stopper struct {
	done chan struct{}
	wg   sync.WaitGroup
}

func (s *stopper) goRun(run func(done <-chan struct{})) {
	if s.done == nil {
		s.done = make(chan struct{})
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		run(s.done)
	}()
}

func (s *stopper) stop() {
	if s.done != nil {
		close(s.done)
	}
	s.wg.Wait()
}

// Open reads what the disk holds and makes a store of it that does nothing yet.
func Open(opts Options) (*Store, error) {
	found, err := opts.Disk.Load(opts.Machine.StoreID)
	if err != nil {
		return nil, err
	}
	s := &Store{
		Router: newRouter(opts.Machine.StoreID, opts.RaftWorkers, opts.Limits), opts: opts,
		logQueue: newMailbox[machine.WriteTask](0), applyQueue: newMailbox[machine.ApplyTask](0),
		quick: newMailbox[machine.Task](0), snapshots: newMailbox[machine.Task](0), hashes: newMailbox[machine.Task](maxHashes), scans: newMailbox[machine.Task](0),
		reports: newMailbox[machine.SchedulerCall](0),
		beat:    make(chan struct{}, 1),
		fatal:   make(chan error, 1),
	}
	var running context.Context
	running, s.endTasks = context.WithCancel(context.Background())
	s.snapshotThrottle = newThrottle(running, opts.Limits.SnapshotBytesPerSec)
	s.hashThrottle = newThrottle(running, opts.Limits.HashBytesPerSec)
	if s.store, err = machine.NewStoreMachine(opts.Machine.StoreID, found); err != nil {
		return nil, err
	}
	s.store.WatchStores(opts.Machine)
	s.apply = machine.NewApplyMachine(opts.Machine.StoreID, found)
	byWorker := make([][]machine.Restored, opts.RaftWorkers)
	for _, r := range found.Regions {
		for i, box := range s.raft {
			if box == s.owner(r.Region.Id) {
				byWorker[i] = append(byWorker[i], r)
			}
		}
	}
	for _, restored := range byWorker {
		m, err := machine.NewRaftMachine(opts.Machine, restored)
		if err != nil {
			return nil, err
		}
		s.machines = append(s.machines, m)
	}
	return s, nil
}

// Start sets the workers going.
func (s *Store) Start() {
	out := s.outlets()
	writer, apply := s.pulsed("log writer", &logWriter{s: s}), &applyWorker{s: s}
	applying := s.pulsed("apply worker", apply)
	s.writerStop.goRun(func(done <-chan struct{}) { serve(done, s.logQueue.wake, writer, true) })
	s.applyStop.goRun(func(done <-chan struct{}) {
		serve(done, s.applyQueue.wake, applying, true)
		apply.close()
	})
	for _, queue := range []*mailbox[machine.Task]{s.quick, s.snapshots, s.hashes, s.scans} {
		tasks, drain := &taskWorker{s: s, queue: queue}, queue == s.hashes // hashes have something to give back, and end at once
		s.restStop.goRun(func(done <-chan struct{}) { serve(done, queue.wake, tasks, drain) })
	}
	s.restStop.goRun(func(done <-chan struct{}) { serve(done, s.reports.wake, &reporter{s: s}, false) })
	s.restStop.goRun(s.runStoreHeartbeats)
	s.raftStop.goRun((&storeWorker{s: s, out: out}).run)
	for i, m := range s.machines {
		w, at := &raftWorker{s: s, m: m, box: s.raft[i], out: out}, s.newPulse("raft worker")
		s.raftStop.goRun(func(done <-chan struct{}) { w.run(done, at) })
	}
}

// Fatal delivers the error after which the store must be closed.
func (s *Store) Fatal() <-chan error { return s.fatal }

func (s *Store) fail(err error) {
	s.failOnce.Do(func() {
		s.opts.Metrics.criticals.WithLabelValues("disk").Inc()
		s.opts.Logger.Error("the store stops: what is on its disk is not known any more", zap.Error(err))
		s.fatal <- err
	})
}

// Fail makes err the store's end; an engine calls it when it finds itself broken.
func (s *Store) Fail(err error) { s.fail(err) }

// Close stops the workers, rank by rank: first those who make work, then those who finish it. What was never decided is
// answered "undetermined". The disk is the caller's to close.
func (s *Store) Close() {
	s.closeOnce.Do(func() {
		s.endTasks()
		s.raftStop.stop()
		s.writerStop.stop()
		s.applyStop.stop()
		s.restStop.stop()
		s.dropHashes()
	})
}

// Resend makes the store and every leader on it report to the scheduler: its leader has changed, and the next one does not
// use a store that it has not heard of.
func (s *Store) Resend() {
	select {
	case s.beat <- struct{}{}:
	default:
	}
	s.all(machine.Resend{})
}
