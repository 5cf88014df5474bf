package check

import (
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// chosenEntry is an entry that some store has applied: it is committed, for ever.
type chosenEntry struct {
	term, hash uint64
	// by is a term in which it was committed, or a later one; store the first that applied it.
	by, store uint64
}

// stateSum is a fingerprint of a region's data at an index.
type stateSum struct{ sum, store uint64 }

// toApply takes in what a peer hands over to be applied: the next entries, durable here.
func (c *Checker) toApply(st *store, t *machine.ApplyTask) {
	rec := c.region(t.RegionID)
	if t.Install != nil {
		rec.torn[st.id] = t.Install.At.Index
	}
	if len(t.Entries) == 0 {
		return
	}
	p := c.peer(st, rec, t.PeerID)
	if p == nil {
		return
	}
	for i := range t.Entries {
		e := identify(&t.Entries[i])
		if e.index != p.given+1 {
			c.fail("store %d: region %d peer %d is to apply index %d after index %d", st.id, rec.id, p.id, e.index, p.given)
			return
		}
		p.given = e.index
		p.awaiting = append(p.awaiting, e)
	}
	last := &t.Entries[len(t.Entries)-1]
	if !st.holds(rec.id, last.Index, last.Term) {
		c.fail("store %d: region %d peer %d is to apply index %d of term %d, which is not durable in its log", st.id, rec.id, p.id, last.Index, last.Term)
	}
	if p.view != nil && p.view.IsLeader {
		c.claim(st, rec, p, last.Index, p.term)
	} else {
		rec.committed = max(rec.committed, last.Index)
	}
}

// Applied takes in what a store's engine holds now. Data counts what it holds of a region, in a fingerprint that no order of writing changes; it may be nil.
func (c *Checker) Applied(id uint64, round *machine.ApplyRound, data func(region uint64) (sum uint64, ok bool)) {
	st := c.stores[id]
	if st == nil {
		return
	}
	for i := range round.Mail {
		m, ok := round.Mail[i].Mail.(machine.Applied)
		if !ok || c.failed {
			continue
		}
		rec := c.region(m.RegionID)
		p := c.peer(st, rec, m.PeerID)
		if p == nil {
			continue
		}
		if m.Results.Installed {
			c.installed(st, rec, p, m.Results.Applied)
		} else {
			c.applied(st, rec, p, m.Results.Applied)
		}
		if data != nil {
			if sum, ok := data(rec.id); ok {
				c.State(id, rec.id, p.applied, sum)
			}
		}
	}
}

func (c *Checker) applied(st *store, rec *regionRecord, p *peer, to machine.Pair) {
	if to.Index < p.applied || to.Index > p.given {
		c.fail("store %d: region %d peer %d has applied up to index %d; it was to apply (%d, %d]", st.id, rec.id, p.id, to.Index, p.applied, p.given)
		return
	}
	for p.applied < to.Index {
		e := p.awaiting[0]
		p.awaiting = p.awaiting[1:]
		p.applied = e.index
		c.choose(st, rec, p.term, e)
	}
	if chosen := rec.chosen.at(to.Index); chosen != nil && chosen.term != to.Term {
		c.fail("store %d: region %d peer %d notes term %d for applied index %d, an entry of term %d", st.id, rec.id, p.id, to.Term, to.Index, chosen.term)
	}
}

// choose notes an entry that was applied by the given term: nobody may ever apply another one there.
func (c *Checker) choose(st *store, rec *regionRecord, by uint64, e entry) {
	room := rec.chosen.room(e.index)
	switch {
	case room.store == 0:
		*room = chosenEntry{e.term, e.hash, by, st.id}
	case room.term != e.term || room.hash != e.hash:
		c.fail("region %d: stores %d and %d apply different entries at index %d, of terms %d and %d", rec.id, room.store, st.id, e.index, room.term, e.term)
	}
}

// applied says that some store has applied the entry. Where a region begins nobody has.
func (r *regionRecord) applied(at machine.Pair) bool {
	if at == (machine.Pair{Index: machine.InitIndex, Term: machine.InitTerm}) {
		return true
	}
	chosen := r.chosen.at(at.Index)
	return chosen != nil && chosen.store != 0 && chosen.term == at.Term
}

// installed takes in a snapshot that took the place of a region's data.
func (c *Checker) installed(st *store, rec *regionRecord, p *peer, at machine.Pair) {
	renewed := p.damaged && at.Index == p.applied // what was applied here is not to be trusted, even if the peer has yielded since
	if at.Index <= p.applied && !renewed {
		c.fail("store %d: region %d peer %d installs a snapshot of index %d, and has applied index %d (R12)", st.id, rec.id, p.id, at.Index, p.applied)
	}
	if !rec.applied(at) {
		c.fail("store %d: region %d peer %d installs a snapshot that ends at index %d of term %d, which was never applied", st.id, rec.id, p.id, at.Index, at.Term)
	}
	p.applied, p.given, p.awaiting, p.damaged = at.Index, at.Index, nil, false
	p.log = peerLog{base: at}
}

// granted takes in that a leader lets a read go on: it must have applied an entry of its own term, or it may lack what was acknowledged
// before its term (R8, R10).
func (c *Checker) granted(st *store, g *machine.ReadGrant) {
	rec := c.region(g.Region.Id)
	if p := st.peers[rec.id]; p != nil && !rec.caughtUp(p, g.Term) {
		c.fail("store %d: region %d peer %d grants a read in term %d, and has applied index %d, of an earlier term (R8, R10)", st.id, rec.id, p.id, g.Term, p.applied)
	}
}

// caughtUp says that a peer has applied an entry of a term.
func (r *regionRecord) caughtUp(p *peer, term uint64) bool {
	chosen := r.chosen.at(p.applied)
	return chosen != nil && chosen.term >= term
}

// State takes in the fingerprint of what a store holds of a region at an applied index: it must be every store's.
func (c *Checker) State(id, region, index, sum uint64) {
	rec := c.region(region)
	if index < rec.torn[id] {
		return
	}
	delete(rec.torn, id)
	room := rec.sums.room(index)
	switch {
	case room.store == 0:
		*room = stateSum{sum, id}
	case room.sum != sum:
		c.fail("region %d: stores %d and %d hold different data at applied index %d", region, room.store, id, index)
	}
}
