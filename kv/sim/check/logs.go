package check

import (
	"github.com/cespare/xxhash/v2"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// peerLog is the terms of a peer's log, as it was handed to the log writer.
type peerLog struct {
	base  machine.Pair // the last entry that is gone
	terms []uint64
}

func (l *peerLog) last() uint64 { return l.base.Index + uint64(len(l.terms)) }

// term is the term of the entry at an index, 0 when it is not known.
func (l *peerLog) term(index uint64) uint64 {
	switch {
	case index == l.base.Index:
		return l.base.Term
	case index < l.base.Index || index > l.last():
		return 0
	}
	return l.terms[index-l.base.Index-1]
}

// put sets an entry; what follows it is gone.
func (l *peerLog) put(index, term uint64) { l.terms = append(l.terms[:index-l.base.Index-1], term) }

func (l *peerLog) cut(index uint64) {
	if index > l.base.Index && index <= l.last() {
		at := machine.Pair{Index: index, Term: l.term(index)}
		l.terms, l.base = l.terms[index-l.base.Index:], at
	}
}

// writtenEntry is an entry that some log held, with the term of the one before it (0: not known).
type writtenEntry struct {
	term, before, hash uint64
	store              uint64
}

func identify(e *eraftpb.Entry) entry {
	return entry{e.Index, e.Term, xxhash.Sum64(e.Data) + uint64(e.EntryType)}
}

// wrote takes in what a peer hands to the log writer.
func (c *Checker) wrote(st *store, t *machine.WriteTask) {
	rec := c.region(t.RegionID)
	p := c.peer(st, rec, t.PeerID)
	if p == nil {
		return
	}
	if t.Destroy {
		p.destroyed = true
		return
	}
	if t.Reset {
		p.log = peerLog{base: machine.Pair{Index: t.State.LastIndex}}
		if chosen := rec.chosen.at(t.State.LastIndex); chosen != nil {
			p.log.base.Term = chosen.term
		}
	}
	if len(t.Entries) == 0 && p.log.last() == 0 && t.State.GetLastIndex() == machine.InitIndex { // born by a split
		p.log = peerLog{base: machine.Pair{Index: machine.InitIndex, Term: machine.InitTerm}}
		p.given, p.applied = machine.InitIndex, machine.InitIndex
	}
	if len(t.Entries) > 0 {
		if first := t.Entries[0].Index; first <= p.given {
			c.fail("store %d: region %d peer %d overwrites index %d, and index %d is applied", st.id, rec.id, p.id, first, p.given)
			return
		}
	}
	for i := range t.Entries {
		c.wroteEntry(st, rec, p, &t.Entries[i])
	}
	if t.CompactTo > 0 {
		p.log.cut(t.CompactTo - 1)
	}
	if hs := t.State.GetHardState(); hs != nil {
		rec.committed = max(rec.committed, hs.Commit)
	}
}

// wroteEntry holds one entry against all that was ever written. Two logs that have an entry of the same index and term have the same entry there, and the
// same before: so by induction the whole log up to it.
func (c *Checker) wroteEntry(st *store, rec *regionRecord, p *peer, e *eraftpb.Entry) {
	if e.Index <= p.log.base.Index || e.Index > p.log.last()+1 {
		c.fail("store %d: region %d peer %d writes index %d into a log of (%d, %d]", st.id, rec.id, p.id, e.Index, p.log.base.Index, p.log.last())
		return
	}
	c.agrees(st, rec, identify(e), p.log.term(e.Index-1))
	p.log.put(e.Index, e.Term)
	if e.EntryType != eraftpb.EntryType_EntryNormal {
		if p.change > p.applied && p.change < e.Index && p.term == e.Term && p.view != nil && p.view.IsLeader {
			c.fail("store %d: region %d peer %d, the leader of term %d, proposes a change of peers at %d while the one at %d is pending (R3)",
				st.id, rec.id, p.id, p.term, e.Index, p.change)
		}
		p.change = e.Index
	} else if p.change >= e.Index {
		p.change = 0 // it was overwritten
	}
}

// agrees notes an entry and what came before it.
func (c *Checker) agrees(st *store, rec *regionRecord, e entry, before uint64) {
	room := rec.written.room(e.index)
	for i := range *room {
		w := &(*room)[i]
		if w.term != e.term {
			continue
		}
		if w.hash != e.hash {
			c.fail("region %d: stores %d and %d hold different entries at index %d of term %d", rec.id, w.store, st.id, e.index, e.term)
		}
		if before != 0 && w.before != 0 && before != w.before {
			c.fail("region %d: stores %d and %d hold the same entry at index %d of term %d, and before it entries of terms %d and %d",
				rec.id, w.store, st.id, e.index, e.term, w.before, before)
		}
		if w.before == 0 {
			w.before = before
		}
		return
	}
	*room = append(*room, writtenEntry{e.term, before, e.hash, st.id})
}

// sentAppend takes in a leader's entries. What was committed before its term must be among them, unchanged.
func (c *Checker) sentAppend(st *store, rec *regionRecord, p *peer, m *eraftpb.Message) {
	c.leads(st, rec, p, m.Term)
	c.complete(st, rec, m.Term, m.Index, m.LogTerm)
	before := m.LogTerm
	for i := range m.Entries {
		e := identify(m.Entries[i])
		c.agrees(st, rec, e, before)
		c.complete(st, rec, m.Term, e.index, e.term)
		before = e.term
	}
	c.claim(st, rec, p, m.Commit, m.Term)
}

// complete holds an entry of a leader's log against what was committed before its term.
func (c *Checker) complete(st *store, rec *regionRecord, leads, index, term uint64) {
	if chosen := rec.chosen.at(index); chosen != nil && chosen.store != 0 && chosen.by < leads && chosen.term != term && term != 0 {
		c.fail("store %d: region %d: the leader of term %d has an entry of term %d at index %d; store %d had applied one of term %d there in term %d",
			st.id, rec.id, leads, term, index, chosen.store, chosen.term, chosen.by)
	}
}

func (c *Checker) sentSnapshot(st *store, rec *regionRecord, m *eraftpb.Message) {
	meta := m.Snapshot.GetMetadata()
	if !rec.applied(machine.Pair{Index: meta.GetIndex(), Term: meta.GetTerm()}) {
		c.fail("store %d: region %d: a snapshot ends with an entry of term %d at index %d, which was never applied", st.id, rec.id, meta.GetTerm(), meta.GetIndex())
	}
}

// claim takes in a commit index that a leader tells of, which may be less than it knows. The first to claim one must have an entry of its own term
// there or further on (R1), held by a quorum.
func (c *Checker) claim(st *store, rec *regionRecord, p *peer, commit, term uint64) {
	if commit <= rec.committed || term != p.term {
		return
	}
	if commit > p.log.last() {
		c.fail("store %d: region %d: the leader of term %d commits index %d, and its log ends at %d", st.id, rec.id, term, commit, p.log.last())
	}
	at := p.log.term(commit)
	own := commit
	for own <= p.log.last() && p.log.term(own) != term {
		own++
	}
	if at != 0 && p.region != nil && !c.quorum(st, rec, p, own, p.region) && (p.former == nil || !c.quorum(st, rec, p, own, p.former)) {
		c.fail("store %d: region %d: the leader of term %d commits index %d, an entry of term %d, and no quorum of %v durably holds an entry of its own term there or further on (R1)",
			st.id, rec.id, term, commit, at, p.region.Peers)
	}
	rec.committed = commit
}

// quorum says that the voters of a shape hold an entry of this leader durably: of the old ones and of the new ones, while they change.
func (c *Checker) quorum(st *store, rec *regionRecord, p *peer, index uint64, r *metapb.Region) bool {
	var voters, holders [2]int // before and after a joint change
	acked := rec.leaders[p.term].acked
	for _, q := range r.Peers {
		holds := acked[q.Id] >= index || q.Id == p.id && st.holds(rec.id, index, p.term)
		for side, without := range [2]metapb.PeerRole{metapb.PeerRole_IncomingVoter, metapb.PeerRole_DemotingVoter} {
			if q.Role == metapb.PeerRole_Learner || q.Role == without {
				continue
			}
			voters[side]++
			if holds {
				holders[side]++
			}
		}
	}
	return holders[0] > voters[0]/2 && holders[1] > voters[1]/2
}
