package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/pdpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/kv/sim/world"
)

// store is one store: the product's, in a process that can die, over a disk that forgets.
type store struct {
	c *Cluster
	// id is 0 while the machine has an empty disk, in place of one that was lost.
	id   uint64
	p    *world.Process
	disk *disk
	// disks counts those that were lost; enrolling says that somebody asks for a new id.
	disks     int
	enrolling bool
	// lives counts starts: every life draws other election timeouts.
	lives   uint64
	metrics *raftstore.Metrics
	figures *prometheus.Registry // where the metrics are

	// What follows belongs to one life.
	opened *raftstore.Disk
	st     *raftstore.Store
	step   *raftstore.Stepper
	busy   []bool
	front  *front
	// changed is, by region, the index of the last change of members that was handed to the log writer.
	changed map[uint64]uint64
	// held are workers that stand still; still, when set, keeps ticks away. Scripts do that.
	held  map[raftstore.WorkerKind]bool
	still bool
	// dying mutes a store that takes its last steps while its machine dies.
	dying bool
}

func newStore(c *Cluster, id uint64) *store {
	name, figures := storeName(id), prometheus.NewRegistry()
	return &store{
		c: c, id: id, p: c.w.NewProcess(int(id), name), disk: newDisk(c.w, name),
		metrics: raftstore.NewMetrics(figures), figures: figures, held: make(map[raftstore.WorkerKind]bool),
	}
}

func storeName(id uint64) string { return fmt.Sprintf("store-%d", id) }

// join makes an empty disk a member of the cluster.
func (s *store) join() {
	ident, err := raftstore.OpenIdent(context.Background(), s.disk.log, s.disk.state, s.c.sched.registry(), kvrpcpb.APIVersion_V1)
	s.c.must(err)
	if ident.StoreId != s.id {
		s.c.violate("store %d was given the id %d", s.id, ident.StoreId)
	}
}

// found makes the first store the home of the first region, and every store known.
func (s *store) found() {
	d, err := s.disk.open(s.p, s.c.w.Trace)
	s.c.must(err)
	s.c.must(raftstore.Bootstrap(context.Background(), d, s.meta(), s.c.sched.registry()))
	s.c.sched.putStore(s.meta())
}

func (s *store) meta() *metapb.Store {
	return &metapb.Store{Id: s.id, Address: fmt.Sprintf("%s:%d", s.p.Name, s.id), Version: "8.5.0"}
}

// start begins a life from what the disk holds.
func (s *store) start() {
	if s.p.Up() || s.c.w.Halted() {
		return
	}
	if s.id == 0 {
		s.enrol()
		return
	}
	s.p.Start()
	s.lives++
	if err := s.open(); err != nil {
		if !ails(err) {
			s.c.violate("store %d does not start again: %+v", s.id, err)
		}
		s.ended(err)
		return
	}
	s.step = raftstore.NewStepper(s.st)
	s.busy = make([]bool, len(s.step.Workers()))
	s.front, s.changed = newFront(s), make(map[uint64]uint64)
	s.watchStart()
	s.p.After(s.c.cfg.Tick, s.tick)
	s.c.sched.connect(s)
	s.beat()
}

// open makes the store of what the disk holds.
func (s *store) open() (err error) {
	if s.opened, err = s.disk.open(s.p, s.c.w.Trace); err != nil {
		return err
	}
	cfg := s.c.cfg.Machine
	cfg.StoreID, cfg.Seed = s.id, s.c.cfg.Seed*31+s.id*7919+s.lives
	s.st, err = raftstore.Open(raftstore.Options{
		Machine: cfg, RaftWorkers: 1, Limits: s.c.cfg.Limits, Tick: s.c.cfg.Tick, Stats: func(*pdpb.StoreStats) {},
		Disk: s.opened, Transport: s, Scheduler: s, Clock: func() machine.Instant { return machine.Instant(s.p.Monotonic()) },
		Logger: zap.NewNop(), Metrics: s.metrics,
		Watch: raftstore.Watch{Round: s.watchRound, Apply: s.watchApply},
	})
	return err
}

// kill ends the life as a machine's death does. What was being written may have reached the disk, without anybody hearing of it, or a part of
// it: of an ingestion the data without the mark.
func (s *store) kill() {
	if !s.p.Up() {
		return
	}
	s.c.result.Counts.Kills++
	s.dying = true
	if world.Chance(s.disk.rng, 0.3) {
		s.disk.fail("state-sync", errIO)
	}
	for i := range s.busy { // none in a store that did not start
		if s.step.Waits(i) && world.Chance(s.disk.rng, 0.5) {
			_ = s.step.Step(i)
		}
	}
	s.dying = false
	s.busy = nil
	s.p.Kill()
	s.disk.crash()
	s.c.checker.Killed(s.id)
}

func (s *store) tick() {
	if !s.still {
		s.ended(s.step.Tick())
		s.pump()
	}
	s.p.After(s.c.cfg.Tick+world.Between(s.disk.rng, 0, s.c.cfg.Tick/20), s.tick)
}

// pump sets every worker going that has something to do and is not at work. It follows every call into the store.
func (s *store) pump() {
	if !s.p.Up() {
		return
	}
	for i, kind := range s.step.Workers() {
		if !s.busy[i] && !s.held[kind] && s.step.Waits(i) {
			s.busy[i] = true
			s.step.Begin(i)
			s.p.Soon(s.disk.latency(kind, s.c.w.Now()), func() {
				s.busy[i] = false
				s.ended(s.step.Step(i))
				s.pump()
			})
		}
	}
}

// ended stops a store whose disk failed, as the real one stops.
func (s *store) ended(err error) {
	if err == nil || s.dying {
		return
	}
	s.c.result.Counts.DiskFailures++
	s.c.w.Trace.Tell(world.Disk, s.p, nil, "stops: "+err.Error())
	s.kill()
	s.c.w.After(world.Between(s.disk.rng, 100*time.Millisecond, 3*time.Second), s.start)
}

// Send implements raftstore.Transport: every message is bytes on a wire.
func (s *store) Send(msgs []*raft_serverpb.RaftMessage) {
	for _, m := range msgs {
		b, err := m.Marshal()
		s.c.must(err)
		to := s.c.storeWith(m.ToPeer.StoreId)
		if s.dying || to == nil {
			continue
		}
		s.c.checker.Sent(s.id, m)
		s.c.w.Trace.Add(world.Message, s.p, b)
		s.c.packets++
		packet := s.c.packets
		if s.c.w.Trace.Telling() {
			s.c.w.Trace.TellMore(world.Message, s.p, to.p, world.Entry{Text: describe(m), Packet: packet})
		}
		if m.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
			s.sendSnapshot(to, m, b, packet)
			continue
		}
		deliver := func() { s.c.net.Send(s.p, to.p, func() { to.arrive(b, packet) }) }
		if s.c.filter == nil || m.Message == nil || s.c.filter(s, to, m, deliver) {
			deliver()
		}
	}
}

// arrive hands a message to the store as it now is.
func (s *store) arrive(b []byte, packet uint64) {
	m := new(raft_serverpb.RaftMessage)
	s.c.must(m.Unmarshal(b))
	if s.c.w.Trace.Telling() {
		var from *world.Process
		if sender := s.c.storeWith(m.FromPeer.StoreId); sender != nil {
			from = sender.p
		}
		s.c.w.Trace.TellMore(world.Deliver, s.p, from, world.Entry{Text: describe(m), Packet: packet})
	}
	s.st.Deliver([]*raft_serverpb.RaftMessage{m})
	s.pump()
}

// sendSnapshot carries the file along. The sender is told how it ended, in any case: a connection's end is noticed.
func (s *store) sendSnapshot(to *store, m *raft_serverpb.RaftMessage, b []byte, packet uint64) {
	meta := m.Message.Snapshot.Metadata
	key := snapfile.Key{RegionID: m.RegionId, Term: meta.Term, Index: meta.Index}
	told := false
	tell := func(ok bool) func() {
		return func() {
			if !told {
				told = true
				s.st.SnapshotSent(m.RegionId, m.ToPeer.Id, ok)
				s.pump()
			}
		}
	}
	s.p.Soon(5*time.Second, tell(false))
	data := s.readSnapshot(key)
	if data == nil {
		s.p.Soon(0, tell(false))
		return
	}
	arrived := false
	deliver := func() {
		s.c.net.Send(s.p, to.p, func() {
			if arrived {
				return
			}
			arrived = true
			ok := to.receiveSnapshot(key, data)
			if ok {
				s.c.result.Counts.Snapshots++
				to.arrive(b, packet)
			}
			s.c.net.Send(to.p, s.p, tell(ok))
		})
	}
	if s.c.filter == nil || s.c.filter(s, to, m, deliver) {
		deliver()
	}
}

func (s *store) readSnapshot(key snapfile.Key) []byte {
	file, err := s.opened.Snapshots.OpenToSend(key)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		return nil // the peer that sends it is gone, or the disk fails: the sender's leader hears that it came to nothing
	}
	return data
}

// receiveSnapshot answers whether the file is here now, whole: a damaged one is refused.
func (s *store) receiveSnapshot(key snapfile.Key, data []byte) bool {
	recv, err := s.opened.Snapshots.Receive(key)
	if err != nil {
		return errors.Is(err, snapfile.ErrExists) // from an earlier transfer whose message came to nothing
	}
	defer recv.Abort()
	if _, err = io.Copy(recv, bytes.NewReader(data)); err == nil {
		_, err = recv.Commit()
	}
	s.c.w.Trace.Add(world.Write, s.p, data)
	return err == nil
}

// beat reports the store to the scheduler now and then.
func (s *store) beat() {
	s.c.sched.storeHeartbeat(s, s.step.StoreStats(uint32(s.lives)))
	every := 5 * time.Second
	if lost := s.c.cfg.LostAfter; lost > 0 {
		every = min(every, lost/3) // or it would be taken for lost between two reports
	}
	s.p.After(every, s.beat)
}

// StoreHeartbeat implements raftstore.Scheduler; beat does it here.
func (s *store) StoreHeartbeat(context.Context, *pdpb.StoreStats) error { return nil }

// RegionHeartbeat implements raftstore.Scheduler.
func (s *store) RegionHeartbeat(hb *pdpb.RegionHeartbeatRequest) { s.c.sched.regionHeartbeat(s, hb) }

// answer takes what the scheduler wants.
func (s *store) answer(resp *pdpb.RegionHeartbeatResponse) {
	s.st.Answer(resp)
	s.pump()
}

func describe(m *raft_serverpb.RaftMessage) string {
	if m.IsTombstone {
		return fmt.Sprintf("region %d peer %d is gone", m.RegionId, m.ToPeer.GetId())
	}
	if e := m.ExtraMsg; e != nil {
		return fmt.Sprintf("region %d %s from peer %d", m.RegionId, e.Type, m.FromPeer.GetId())
	}
	r := m.Message
	return fmt.Sprintf("region %d %s term %d index %d log term %d commit %d entries %d reject %t",
		m.RegionId, r.MsgType, r.Term, r.Index, r.LogTerm, r.Commit, len(r.Entries), r.Reject)
}
