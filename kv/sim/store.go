package sim

import (
	"bytes"
	"io"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// store is one store: the machines of a real one, and a disk that forgets.
type store struct {
	c          *Cluster
	id         uint64
	up         bool
	life       int // events of an earlier life are void
	log, state *memdb.DB
	files      *snapfile.MemFS

	disk  *raftstore.Disk
	raft  *machine.RaftMachine
	store *machine.StoreMachine
	apply *machine.ApplyMachine
	views map[uint64]*machine.RegionView

	mail, storeMail               []machine.Mail
	writes                        []machine.WriteTask
	applies                       []machine.ApplyTask
	busy, storeBusy, wBusy, aBusy bool
}

func newStore(c *Cluster, id uint64) *store {
	return &store{c: c, id: id, log: memdb.New(), state: memdb.New(), files: snapfile.NewMemFS()}
}

func (s *store) writeFirst(first *metapb.Region) error {
	return raftstore.WriteFirstRegion(&raftstore.Disk{Log: logstore.New(s.log), State: s.state}, first, false)
}

// start makes the machines from what the disk holds.
func (s *store) start() {
	snaps, err := snapfile.New(s.files)
	s.c.must(err)
	s.disk = &raftstore.Disk{Log: logstore.New(s.log), State: s.state, Snapshots: snaps}
	found, err := s.disk.Load(s.id)
	s.c.must(err)
	cfg := s.c.cfg.Machine
	cfg.StoreID, cfg.Seed = s.id, s.c.cfg.Seed+s.id*7919+uint64(s.life)
	s.raft, err = machine.NewRaftMachine(cfg, found.Regions)
	s.c.must(err)
	s.store, err = machine.NewStoreMachine(s.id, found)
	s.c.must(err)
	s.apply = machine.NewApplyMachine(s.id, found.Regions)
	s.views = make(map[uint64]*machine.RegionView)
	s.up = true
	s.later(s.c.cfg.Tick, s.tick)
}

// crash loses what was not synced: of each engine, and independently, a random prefix stays.
func (s *store) crash() {
	s.c.result.Crashes++
	s.c.trace('C', s.id, nil)
	s.up = false
	s.life++
	s.mail, s.storeMail, s.writes, s.applies = nil, nil, nil, nil
	s.busy, s.storeBusy, s.wBusy, s.aBusy = false, false, false, false
	keep := func(n int) int { return s.c.rng.IntN(n + 1) }
	s.log, s.state = s.log.Crash(keep), s.state.Crash(keep)
	s.files.Crash(keep)
	s.c.client.storeDied(s.id)
}

// later makes an event of this life of the store.
func (s *store) later(d time.Duration, do func()) {
	life := s.life
	s.c.after(d, func() {
		if s.up && s.life == life {
			do()
		}
	})
}

func (s *store) tick() {
	s.post(machine.Addressed{RegionID: 1, Mail: machine.Tick{}})
	s.later(s.c.cfg.Tick+s.c.between(0, s.c.cfg.Tick/20), s.tick)
}

// post puts mail into a worker's mailbox; the worker takes all of it a little later, as a goroutine would.
func (s *store) post(a machine.Addressed) {
	if a.Store {
		s.storeMail = append(s.storeMail, a.Mail)
		if !s.storeBusy {
			s.storeBusy = true
			s.later(s.c.between(1, 100*time.Microsecond), s.handleStore)
		}
		return
	}
	s.mail = append(s.mail, a.Mail)
	if !s.busy {
		s.busy = true
		s.later(s.c.between(1, 200*time.Microsecond), s.handleRaft)
	}
}

func (s *store) handleRaft() {
	mail := s.mail
	s.mail, s.busy = nil, false
	round := s.raft.Handle(mail, s.c.now)
	round.CarryOut(s.outlets())
	s.c.checkLeaders()
}

func (s *store) handleStore() {
	mail := s.storeMail
	s.storeMail, s.storeBusy = nil, false
	round := s.store.Handle(mail, s.c.now)
	round.CarryOut(s.outlets())
}

func (s *store) outlets() machine.Outlets {
	return machine.Outlets{
		Publish: func(v *machine.RegionView) {
			s.c.trace('V', s.id, []byte{byte(v.Term), byte(v.Log.Applied), b2i(v.IsLeader)})
			if s.views[v.Region.Id] = v; v.Gone {
				delete(s.views, v.Region.Id)
			}
		},
		Send:  s.send,
		Write: s.write,
		Apply: func(t []machine.ApplyTask) { s.applies = append(s.applies, t...); s.wakeApply() },
		Post:  s.post,
		Reply: s.reply,
		Ask: func(hb machine.RegionHeartbeat) {
			s.later(s.c.between(time.Millisecond, 20*time.Millisecond), func() { s.c.sched.heartbeat(s, hb) })
		},
		Run: s.run,
	}
}

func b2i(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (s *store) reply(r machine.Reply) {
	s.c.trace('R', s.id, []byte{b2i(r.Err == nil)})
	if r.Grant != nil {
		r.Grant(r.Read, r.Err)
	} else {
		r.Done(r.Err)
	}
}

func (s *store) send(msgs []*raft_serverpb.RaftMessage) {
	for _, m := range msgs {
		b, err := m.Marshal()
		s.c.must(err)
		s.c.trace('M', s.id, b)
		copies := 1
		if s.c.chance(s.c.cfg.Duplicate) {
			copies = 2
		}
		for range copies {
			if !s.c.chance(s.c.cfg.Loss) {
				s.c.after(s.c.between(100*time.Microsecond, 5*time.Millisecond), func() { s.arrive(b) })
			}
		}
	}
}

// arrive delivers a message; a snapshot brings its file along.
func (s *store) arrive(b []byte) {
	m := new(raft_serverpb.RaftMessage)
	s.c.must(m.Unmarshal(b))
	to := s.c.stores[m.ToPeer.StoreId-1]
	if m.Message.GetMsgType() == eraftpb.MessageType_MsgSnapshot {
		ok := to.up && s.up && s.copyFile(to, m)
		if s.up {
			s.post(machine.Addressed{RegionID: m.RegionId, Mail: machine.SnapshotSent{RegionID: m.RegionId, ToPeer: m.ToPeer.Id, OK: ok}})
		}
		if !ok {
			return
		}
		s.c.result.Snapshots++
	}
	if to.up {
		to.post(machine.Addressed{RegionID: m.RegionId, Mail: machine.Step{Msg: m}})
	}
}

func (s *store) copyFile(to *store, m *raft_serverpb.RaftMessage) bool {
	meta := m.Message.Snapshot.Metadata
	key := snapfile.Key{RegionID: m.RegionId, Term: meta.Term, Index: meta.Index}
	file, _, err := s.disk.Snapshots.OpenToSend(key)
	if err != nil {
		return false
	}
	data, err := io.ReadAll(file)
	s.c.must(err)
	s.c.must(file.Close())
	recv, err := to.disk.Snapshots.Receive(key)
	if err != nil {
		return false
	}
	_, err = io.Copy(recv, bytes.NewReader(data))
	s.c.must(err)
	_, err = recv.Commit()
	s.c.must(err)
	return true
}

func (s *store) write(tasks []machine.WriteTask) {
	s.writes = append(s.writes, tasks...)
	if !s.wBusy {
		s.wBusy = true
		s.later(s.c.between(200*time.Microsecond, 3*time.Millisecond), s.writeLog)
	}
}

// writeLog is the log writer: what gathered while it was busy is one batch with one sync.
func (s *store) writeLog() {
	tasks := s.writes
	s.writes, s.wBusy = nil, false
	after, mail, err := s.disk.WriteLog(tasks, nil)
	s.c.must(err)
	s.c.trace('W', s.id, []byte{byte(len(tasks))})
	s.send(after)
	for _, m := range mail {
		s.post(m)
	}
}

func (s *store) wakeApply() {
	if !s.aBusy {
		s.aBusy = true
		s.later(s.c.between(50*time.Microsecond, 2*time.Millisecond), s.applyOnce)
	}
}

func (s *store) applyOnce() {
	s.aBusy = false
	batch := s.state.NewBatch()
	round, rest, err := s.disk.Apply(s.apply, s.applies, batch)
	s.c.must(err)
	if s.applies = rest; len(rest) > 0 {
		s.wakeApply()
	}
	for _, r := range round.Reply {
		s.reply(r)
	}
	for _, m := range round.Mail {
		s.post(m)
	}
}

func (s *store) run(t machine.Task) {
	s.later(s.c.between(100*time.Microsecond, 10*time.Millisecond), func() {
		mail, err := s.disk.RunTask(t)
		if _, drop := t.(machine.DropSnapshot); !drop {
			s.c.must(err)
		}
		if mail != nil {
			s.post(machine.Addressed{RegionID: 1, Mail: mail})
		}
	})
}
