package raft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/raft/confchange"
)

// Status is a copy of a node's state.
type Status struct {
	ID        uint64
	HardState eraftpb.HardState
	SoftState
	// Applied, Committed, Stabled and LastIndex are the indexes of the log; FirstIndex is the first entry it still has.
	Applied, Committed, Stabled, LastIndex, FirstIndex uint64
	// AppliedTerm is the term of the applied entry: reads that trust a lease may be served only once it is the leader's
	// own (R10). It is 0 while a snapshot has not been applied.
	AppliedTerm uint64
	// LeadTransferee is the node to which the leader is handing over.
	LeadTransferee uint64
	// Conf is the configuration as of the applied index.
	Conf eraftpb.ConfState
	// Progress is nil unless the node leads.
	Progress map[uint64]Progress
}

// Status returns a copy of the node's state.
func (rn *RawNode) Status() Status {
	r := rn.Raft
	return Status{
		ID: r.id, HardState: r.hardState(), SoftState: r.softState(),
		Applied: r.RaftLog.applied, Committed: r.RaftLog.committed, Stabled: r.RaftLog.stabled,
		LastIndex: r.RaftLog.LastIndex(), FirstIndex: r.RaftLog.firstIndex(),
		AppliedTerm: rn.AppliedTerm(), LeadTransferee: r.leadTransferee,
		Conf: *r.conf.State(), Progress: rn.GetProgress(),
	}
}

// AppliedTerm is Status().AppliedTerm without the rest.
func (rn *RawNode) AppliedTerm() uint64 {
	l := rn.Raft.RaftLog
	if l.applied < l.offset {
		return 0
	}
	term, err := l.Term(l.applied)
	if err != nil {
		return 0
	}
	return term
}

// GetProgress returns copies of what a leader knows of the members; nil on other nodes.
func (rn *RawNode) GetProgress() map[uint64]Progress {
	if rn.Raft.State != StateLeader {
		return nil
	}
	prs := make(map[uint64]Progress, len(rn.Raft.Prs))
	for id, pr := range rn.Raft.Prs { // order-free: a copy
		own := *pr
		own.inflight.ring = slices.Clone(own.inflight.ring)
		prs[id] = own
	}
	return prs
}

func (s Status) String() string {
	// A node is in no configuration that cannot be restored.
	conf, _ := confchange.Restore(&s.Conf)
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s term=%d vote=%d lead=%d applied=%d committed=%d stabled=%d last=%d first=%d %s",
		s.ID, s.RaftState, s.HardState.Term, s.HardState.Vote, s.Lead, s.Applied, s.Committed, s.Stabled, s.LastIndex, s.FirstIndex, conf)
	if s.LeadTransferee != None {
		fmt.Fprintf(&b, " transferee=%d", s.LeadTransferee)
	}
	for _, id := range conf.Members() {
		if pr, ok := s.Progress[id]; ok {
			fmt.Fprintf(&b, "\n  %d: %s", id, &pr)
		}
	}
	return b.String()
}
