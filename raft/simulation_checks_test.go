package raft_test

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft"
	"github.com/shoal-kv/shoal/raft/rafttest"
)

// What TestSimulation holds all the time.

// stampRound notes when a leader's rounds began, as the owner of a lease does.
func (s *simulation) stampRound(n *rafttest.Node) {
	round := n.HeartbeatRound()
	if round == 0 {
		return
	}
	stamps := s.stamps[n.Raft.Term]
	if stamps == nil {
		stamps = map[uint64]int{}
		s.stamps[n.Raft.Term] = stamps
	}
	for ; round > 0; round-- {
		if _, ok := stamps[round]; ok {
			return
		}
		stamps[round] = s.now
	}
}

// hasLease tells whether a leader may answer reads without asking anybody.
func (s *simulation) hasLease(n *rafttest.Node) bool {
	round := n.QuorumRound()
	if round == 0 {
		return false
	}
	began, ok := s.stamps[n.Raft.Term][round]
	return ok && s.now < began+simElection
}

func (s *simulation) checkRead(rs raft.ReadState) {
	read := binary.BigEndian.Uint64(rs.RequestCtx)
	if rs.Index < s.reads[read] {
		s.fail("read %d may be served from index %d, but %d was committed when it arrived", read, rs.Index, s.reads[read])
	}
	s.answered++
}

// checkApplied compares an applied entry with what the other nodes have applied there, and with the node's own disk.
func (s *simulation) checkApplied(n *rafttest.Node, e eraftpb.Entry) {
	if before, ok := s.applied[e.Index]; !ok {
		s.applied[e.Index] = n.Machine
	} else if before.Hash != n.Machine.Hash || before.Conf.String() != n.Machine.Conf.String() {
		s.fail("node %d has applied %s and is at %+v there, others are at %+v", n.ID(), rafttest.DescribeEntry(&e), n.Machine, before)
	}
	if conf := n.Status().Conf; n.AppliedTerm() > 0 && conf.String() != n.Machine.Conf.State().String() {
		s.fail("node %d has members %v and counts the votes of %v", n.ID(), n.Machine.Conf, conf)
	}
	s.last = max(s.last, e.Index)
	if term, err := n.Disk.MemoryStorage.Term(e.Index); err != raft.ErrCompacted && (err != nil || term != e.Term) {
		s.fail("node %d applies %s, which is not durable there (%d, %v)", n.ID(), rafttest.DescribeEntry(&e), term, err)
	}
}

// mayGo tells whether a node has been removed for good and its owner would destroy it.
func (s *simulation) mayGo(n *rafttest.Node) bool {
	return s.final && n.Dismissed() && !s.addedAgain(n, n.Machine.Index)
}

// addedAgain tells whether a node belongs to the group by what others have applied behind index.
func (s *simulation) addedAgain(n *rafttest.Node, index uint64) bool {
	return slices.ContainsFunc(s.Nodes, func(m *rafttest.Node) bool {
		return m.Machine.Index > index && m.Machine.Conf.Contains(n.ID())
	})
}

// check holds the invariants of a moment.
func (s *simulation) check() {
	for _, n := range s.Nodes {
		if n.Running() && s.mayGo(n) {
			s.gone[n.ID()] = n.Machine.Index
			n.Crash()
		}
		if !n.Running() {
			continue
		}
		l := n.Raft.RaftLog
		s.committed = max(s.committed, l.Committed())
		if n.Raft.State != raft.StateLeader {
			continue
		}
		term := n.Raft.Term
		if other, ok := s.leaders[term]; ok && other != n.ID() {
			s.fail("nodes %d and %d lead in term %d", other, n.ID(), term)
		} else if !ok {
			s.leaders[term] = n.ID()
			s.checkComplete(n)
		}
		if s.lockstep && s.hasLease(n) {
			for _, other := range s.Nodes {
				if other.Running() && other.Raft.State == raft.StateLeader && other.Raft.Term > term {
					s.fail("node %d leads in term %d while %d trusts its lease of term %d", other.ID(), other.Raft.Term, n.ID(), term)
				}
			}
		}
	}
}

// checkComplete: a new leader has all that has been applied anywhere.
func (s *simulation) checkComplete(n *rafttest.Node) {
	want, ok := s.applied[s.last]
	if !ok {
		return
	}
	cold := n.Disk.Cold
	n.Disk.Cold = 0
	term, err := n.Raft.RaftLog.Term(s.last)
	n.Disk.Cold = cold
	if err != raft.ErrCompacted && (err != nil || term != want.Term) {
		s.fail("node %d leads in term %d without entry %d/%d: %d, %v", n.ID(), n.Raft.Term, want.Term, s.last, term, err)
	}
}

// checkLogs: if two logs have an entry of the same index and term, they agree up to there (log matching).
func (s *simulation) checkLogs() {
	for i, a := range s.Nodes {
		for _, b := range s.Nodes[i+1:] {
			s.compareLogs(a, b)
		}
	}
}

func (s *simulation) compareLogs(a, b *rafttest.Node) {
	firstA, entsA := entriesOf(a)
	firstB, entsB := entriesOf(b)
	matched := false
	for index := min(firstA+uint64(len(entsA)), firstB+uint64(len(entsB))); index > max(firstA, firstB); index-- {
		x, y := entsA[index-1-firstA], entsB[index-1-firstB]
		if x.Term == y.Term {
			matched = true
		}
		if matched && (x.Term != y.Term || x.EntryType != y.EntryType || !bytes.Equal(x.Data, y.Data)) {
			s.fail("nodes %d and %d agree behind %s, but the other has %s there", a.ID(), b.ID(), rafttest.DescribeEntry(&x), rafttest.DescribeEntry(&y))
		}
	}
}

// entriesOf returns what is on a node's disk, and the index at which it begins.
func entriesOf(n *rafttest.Node) (uint64, []eraftpb.Entry) {
	first, _ := n.Disk.FirstIndex()
	last, _ := n.Disk.LastIndex()
	ents, _ := n.Disk.MemoryStorage.Entries(first, last+1)
	return first, ents
}
