package raft

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"
)

// A group of nodes for the scenarios of the course's stages. A network delivers messages in the order in which they
// were sent until none are left; it is in the course's mode, so nothing waits for a disk.

// voiceless is a member that is down.
type voiceless struct{}

func (voiceless) Step(eraftpb.Message) error      { return nil }
func (voiceless) takeMessages() []eraftpb.Message { return nil }

type member interface {
	Step(eraftpb.Message) error
	takeMessages() []eraftpb.Message
}

func (r *Raft) takeMessages() []eraftpb.Message {
	msgs := r.msgs
	r.msgs = nil
	return msgs
}

type link struct{ from, to uint64 }

type network struct {
	members map[uint64]member
	disks   map[uint64]*MemoryStorage
	cut     map[link]bool
	ignored map[eraftpb.MessageType]bool
}

// newNetwork connects the given members, numbered from 1; a nil one becomes a new node.
func newNetwork(members ...member) *network {
	nw := &network{members: map[uint64]member{}, disks: map[uint64]*MemoryStorage{}}
	nw.heal()
	ids := idsUpTo(len(members))
	for i, m := range members {
		id := ids[i]
		if m == nil {
			nw.disks[id] = NewMemoryStorage()
			m = newTestRaft(id, ids, 10, 1, nw.disks[id])
		}
		nw.members[id] = m
	}
	return nw
}

func (nw *network) node(id uint64) *Raft { return nw.members[id].(*Raft) }

func (nw *network) nodes() (all []*Raft) {
	for id := range uint64(len(nw.members)) {
		if r, ok := nw.members[id+1].(*Raft); ok {
			all = append(all, r)
		}
	}
	return all
}

// send delivers messages, and all that follows from them.
func (nw *network) send(msgs ...eraftpb.Message) {
	for len(msgs) > 0 {
		m := msgs[0]
		to := nw.members[m.To]
		_ = to.Step(m)
		msgs = msgs[1:]
		for _, out := range to.takeMessages() {
			if !nw.cut[link{out.From, out.To}] && !nw.ignored[out.MsgType] {
				msgs = append(msgs, out)
			}
		}
	}
}

func (nw *network) campaign(id uint64) { nw.send(hupMsg(id)) }

func (nw *network) propose(id uint64, data string) {
	nw.send(proposal(id, data))
}

func (nw *network) beat(id uint64) {
	nw.send(eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgBeat})
}

// transfer asks node at to hand the leadership to.
func (nw *network) transfer(at, to uint64) {
	nw.send(eraftpb.Message{From: to, To: at, MsgType: eraftpb.MessageType_MsgTransferLeader})
}

func (nw *network) disconnect(a, b uint64) {
	nw.cut[link{a, b}], nw.cut[link{b, a}] = true, true
}

func (nw *network) isolate(id uint64) {
	for other := range nw.members {
		if other != id {
			nw.disconnect(id, other)
		}
	}
}

func (nw *network) heal() {
	nw.cut, nw.ignored = map[link]bool{}, map[eraftpb.MessageType]bool{}
}

func hupMsg(id uint64) eraftpb.Message {
	return eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgHup}
}

func proposal(id uint64, data string) eraftpb.Message {
	e := &eraftpb.Entry{}
	if data != "" {
		e.Data = []byte(data)
	}
	return eraftpb.Message{From: id, To: id, MsgType: eraftpb.MessageType_MsgPropose, Entries: []*eraftpb.Entry{e}}
}

func idsUpTo(n int) []uint64 {
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = uint64(i) + 1
	}
	return ids
}

func newTestConfig(id uint64, peers []uint64, election, heartbeat int, storage Storage) *Config {
	return &Config{ID: id, peers: peers, ElectionTick: election, HeartbeatTick: heartbeat, Storage: storage}
}

func newTestRaft(id uint64, peers []uint64, election, heartbeat int, storage Storage) *Raft {
	return newRaft(newTestConfig(id, peers, election, heartbeat, storage))
}

// storageWith returns a storage whose log has these terms at indexes 1, 2, …
func storageWith(terms ...uint64) *MemoryStorage {
	s := NewMemoryStorage()
	if err := s.Append(entriesOf(terms...)); err != nil {
		panic(err)
	}
	return s
}

func entriesOf(terms ...uint64) []eraftpb.Entry {
	ents := make([]eraftpb.Entry, len(terms))
	for i, term := range terms {
		ents[i] = eraftpb.Entry{Index: uint64(i) + 1, Term: term}
	}
	return ents
}

// store makes everything durable that a node has, and takes what it may apply.
func store(t *testing.T, r *Raft, s *MemoryStorage) []eraftpb.Entry {
	t.Helper()
	require.NoError(t, s.Append(r.RaftLog.unstableEntries()))
	r.RaftLog.stabled = r.RaftLog.LastIndex()
	ents := r.RaftLog.nextEnts()
	r.RaftLog.applied = r.RaftLog.committed
	return ents
}

func requireLeader(t *testing.T, r *Raft) {
	t.Helper()
	require.Equal(t, StateLeader, r.State)
	require.Equal(t, r.id, r.Lead)
}
