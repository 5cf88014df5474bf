package raftstore

import (
	"time"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
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
		Ask:     func(hb machine.RegionHeartbeat) { s.reports.put(hb) },
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

func (s *Store) enqueueTask(t machine.Task) {
	if _, slow := t.(machine.BuildSnapshot); slow {
		s.snapshots.put(t)
	} else {
		s.quick.put(t)
	}
}

func carryReply(r machine.Reply) {
	if r.Grant != nil {
		r.Grant(r.Read, r.Err)
	} else {
		r.Done(r.Err)
	}
}

func (s *Store) runRaftWorker(done <-chan struct{}, m *machine.RaftMachine, box *mailbox[machine.Mail], at *pulse) {
	out := s.outlets()
	ticker := time.NewTicker(s.opts.Tick)
	defer ticker.Stop()
	var mail []machine.Mail
	for {
		var tick bool
		select {
		case <-box.wake:
		case <-ticker.C:
			tick = true // ticks that were missed are not made up for: a follower that slept must not hurry
		case <-done:
			s.stopRaftWorker(m, box, out)
			return
		}
		now := s.opts.Clock()
		mail = box.take(mail)
		if tick {
			mail = append(mail, machine.Tick{})
		}
		if len(mail) == 0 {
			continue
		}
		s.opts.Metrics.raftMail.Add(float64(len(mail)))
		at.begin(now)
		round := m.Handle(mail, now)
		round.CarryOut(out)
		at.end()
	}
}

// stopRaftWorker answers everybody who waits: first what the machine holds, then what is still in the mailbox.
func (s *Store) stopRaftWorker(m *machine.RaftMachine, box *mailbox[machine.Mail], out machine.Outlets) {
	round := m.Stop(s.opts.Clock())
	round.CarryOut(out)
	box.close()
	round = m.Handle(box.take(nil), s.opts.Clock())
	round.CarryOut(out)
}

func (s *Store) runStoreWorker(done <-chan struct{}) {
	out := s.outlets()
	box := s.Router.store
	var mail []machine.Mail
	for {
		select {
		case <-box.wake:
		case <-done:
			return
		}
		mail = box.take(mail)
		round := s.store.Handle(mail, s.opts.Clock())
		round.CarryOut(out)
	}
}

// runLogWriter writes until it is told to stop and nothing is left.
func (s *Store) runLogWriter(done <-chan struct{}, at *pulse) {
	var tasks []machine.WriteTask
	var updates []logstore.Update
	for stopping := false; ; {
		if !stopping {
			select {
			case <-s.logQueue.wake:
			case <-done:
				stopping = true
			}
		}
		tasks = s.logQueue.take(tasks)
		if len(tasks) == 0 {
			if stopping {
				return
			}
			continue
		}
		at.begin(s.opts.Clock())
		going := s.writeLog(tasks, updates)
		if at.end(); !going {
			return
		}
	}
}

// writeLog writes one batch. After a failure the store promises nothing more: no message leaves, nobody is told.
func (s *Store) writeLog(tasks []machine.WriteTask, updates []logstore.Update) bool {
	begin := time.Now()
	after, mail, err := s.opts.Disk.WriteLog(tasks, updates)
	if err != nil {
		s.fail(err)
		return false
	}
	s.opts.Metrics.logWritten(begin, tasks)
	for i := range tasks {
		s.logBytes.Add(-sizeOf(&tasks[i].Update))
	}
	if len(after) > 0 {
		s.opts.Transport.Send(after)
	}
	for _, m := range mail {
		s.post(m)
	}
	return true
}

// runApplyWorker applies until it is told to stop and nothing is left.
func (s *Store) runApplyWorker(done <-chan struct{}, at *pulse) {
	defer at.end()
	batch := s.opts.Disk.State.NewBatch()
	defer func() { _ = batch.Close() }()
	var space []machine.ApplyTask
	for stopping := false; ; {
		if !stopping {
			select {
			case <-s.applyQueue.wake:
			case <-done:
				stopping = true
			}
		}
		space = s.applyQueue.take(space)
		if len(space) == 0 && stopping {
			return
		}
		for tasks := space; len(tasks) > 0; {
			begin := time.Now()
			at.begin(s.opts.Clock())
			round, rest, err := s.opts.Disk.Apply(s.apply, tasks, batch)
			s.opts.Metrics.applied(begin, len(round.Reply))
			for _, r := range round.Reply {
				carryReply(r)
			}
			for _, m := range round.Mail {
				s.post(m)
			}
			if tasks = rest; err != nil {
				s.fail(err)
				s.abandonApply(tasks)
				return
			}
		}
		at.end()
	}
}

// abandonApply tells everybody who waits for an entry that the broken engine will never apply.
func (s *Store) abandonApply(tasks []machine.ApplyTask) {
	for len(tasks) > 0 {
		for i := range tasks {
			tasks[i].Abandon(carryReply, region.ErrUndetermined)
		}
		tasks = s.applyQueue.take(nil)
	}
	s.applyQueue.close()
}

func (s *Store) runTasks(done <-chan struct{}, queue *mailbox[machine.Task]) {
	var tasks []machine.Task
	for {
		select {
		case <-queue.wake:
		case <-done:
			return
		}
		tasks = queue.take(tasks)
		for _, t := range tasks {
			select {
			case <-done:
				return
			default:
			}
			if !s.runTask(t) {
				return
			}
		}
	}
}

func (s *Store) runTask(t machine.Task) bool {
	mail, err := s.opts.Disk.RunTask(t)
	if err != nil {
		switch t.(type) {
		case machine.BuildSnapshot, machine.DropSnapshot:
			s.opts.Logger.Warn("snapshot file", zap.Any("task", t), zap.Error(err))
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

func regionOf(t machine.Task) uint64 {
	switch t := t.(type) {
	case machine.ReadLog:
		return t.RegionID
	case machine.BuildSnapshot:
		return t.RegionID
	case machine.SyncState:
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
