package check

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// promises notes that a peer has promised something in a term, for which the term must be durable, and the vote unless candidate is 0. A later
// term may have become durable in the same write; it takes nothing back.
func (c *Checker) promises(st *store, rec *regionRecord, p *peer, term, candidate uint64) {
	rec.promised[st.id] = max(rec.promised[st.id], term)
	if p.destroyed {
		return
	}
	hs := st.disk.State(rec.id).GetHardState()
	switch {
	case hs.GetTerm() < term:
		c.fail("store %d: region %d peer %d speaks for term %d, and only term %d is durable", st.id, rec.id, p.id, term, hs.GetTerm())
	case candidate != 0 && hs.GetTerm() == term && hs.GetVote() != candidate:
		c.fail("store %d: region %d peer %d votes for peer %d in term %d, and the durable vote is for peer %d",
			st.id, rec.id, p.id, candidate, term, hs.GetVote())
	}
}

// acknowledged takes in that a follower vouches for its log up to an index.
func (c *Checker) acknowledged(st *store, rec *regionRecord, p *peer, m *eraftpb.Message) {
	if m.Reject || m.Index == 0 {
		return
	}
	c.promises(st, rec, p, m.Term, 0)
	rec.committed = max(rec.committed, min(m.Commit, m.Index))
	l := rec.leaders[m.Term]
	if l == nil {
		c.fail("store %d: region %d peer %d acknowledges index %d to peer %d, which does not lead in term %d", st.id, rec.id, p.id, m.Index, m.To, m.Term)
		return
	}
	l.acked[p.id] = max(l.acked[p.id], m.Index)
	state := st.disk.State(rec.id)
	if p.destroyed || state.GetHardState().GetTerm() > m.Term {
		return // a later leader may have taken the entry away, in the same write
	}
	// What a split has made is durable with its batch, and a start gives it the raft state that is still on its way to the log.
	born := m.Index == machine.InitIndex && p.given >= machine.InitIndex
	has := st.disk.Term(rec.id, m.Index)
	if has == 0 && state.GetLastIndex() < m.Index && !born {
		c.fail("store %d: region %d peer %d acknowledges index %d in term %d, and its durable log ends at %d",
			st.id, rec.id, p.id, m.Index, m.Term, state.GetLastIndex())
	}
	if want := c.leaderTerm(rec, l, m.Term, m.Index); has != 0 && want != 0 && has != want {
		c.fail("store %d: region %d peer %d acknowledges index %d in term %d; its entry is of term %d, the leader's of term %d",
			st.id, rec.id, p.id, m.Index, m.Term, has, want)
	}
}

// leaderTerm is the term of a leader's entry, 0 when it cannot be told any more.
func (c *Checker) leaderTerm(rec *regionRecord, l *leadership, term, index uint64) uint64 {
	p := c.stores[l.store].peers[rec.id]
	if p == nil || p.id != l.peer || p.term != term {
		return 0
	}
	return p.log.term(index)
}

// holds says that a store's durable log has an entry of that term, or has had what was committed there and deleted it.
func (st *store) holds(region, index, term uint64) bool {
	has := st.disk.Term(region, index)
	return has == term || has == 0 && st.disk.State(region).GetLastIndex() >= index
}
