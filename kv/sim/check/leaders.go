package check

// leadership is one peer's time as leader.
type leadership struct {
	peer, store uint64
	// acked is, by peer, the index up to which it has acknowledged this leader's log.
	acked map[uint64]uint64
}

// ballot is a store's vote in a term of a region: it outlives the peer that cast it.
type ballot struct{ store, term uint64 }

// leads notes who leads in a term.
func (c *Checker) leads(st *store, rec *regionRecord, p *peer, term uint64) *leadership {
	l := rec.leaders[term]
	if l == nil {
		l = &leadership{peer: p.id, store: st.id, acked: make(map[uint64]uint64)}
		rec.leaders[term] = l
		c.Elections++
		c.outlasts(st, rec, term)
	}
	if l.peer != p.id {
		c.fail("region %d has two leaders in term %d: peer %d on store %d and peer %d on store %d", rec.id, term, l.peer, l.store, p.id, st.id)
	}
	return l
}

// showsTerm takes in the term that a peer shows.
func (c *Checker) showsTerm(st *store, rec *regionRecord, p *peer, term uint64) {
	if term < p.term {
		c.fail("store %d: region %d peer %d goes back from term %d to term %d", st.id, rec.id, p.id, p.term, term)
	}
	if promised := rec.promised[st.id]; term < promised {
		c.fail("store %d: region %d peer %d is in term %d, and the store has promised something in term %d", st.id, rec.id, p.id, term, promised)
	}
	p.term = term
}

// voted takes in a vote that leaves: a grant, or a candidate's request, which speaks of its own. One vote a store and term, over crashes and over peers.
func (c *Checker) voted(st *store, rec *regionRecord, p *peer, term, candidate uint64) {
	b := ballot{st.id, term}
	if before, ok := rec.votes[b]; ok && before != candidate {
		c.fail("store %d: region %d peer %d votes for peer %d in term %d, and the store has voted for peer %d", st.id, rec.id, p.id, candidate, term, before)
	}
	rec.votes[b] = candidate
	c.promises(st, rec, p, term, candidate)
}
