package check

import "github.com/shoal-kv/shoal/kv/raftstore/machine"

// A lease is a leader's right to answer by itself. It is worth something only if nobody else leads meanwhile: the other may have
// acknowledged writes that the first knows nothing of. A lease begins when a view shows it and ends by the clock of its store, so two
// overlap if and only if one of them, or the other's leadership, begins while the first still runs.

// leased takes in a leader's view.
func (c *Checker) leased(st *store, rec *regionRecord, p *peer, v *machine.RegionView) {
	if v.Ready && !rec.caughtUp(p, v.Term) {
		c.fail("store %d: region %d peer %d is ready to lead term %d, and has applied index %d, of an earlier term", st.id, rec.id, p.id, v.Term, p.applied)
	}
	if !v.HasLease(st.clock()) {
		return
	}
	for _, other := range c.order {
		p := other.peers[rec.id]
		if other != st && p != nil && p.view != nil && p.view.IsLeader && p.view.Term > v.Term {
			c.fail("region %d: store %d takes a lease in term %d while store %d leads in term %d", rec.id, st.id, v.Term, other.id, p.view.Term)
		}
	}
}

// outlasts looks for leases that still run when somebody begins to lead.
func (c *Checker) outlasts(st *store, rec *regionRecord, term uint64) {
	for _, other := range c.order {
		p := other.peers[rec.id]
		if other != st && p != nil && p.view != nil && p.view.Term < term && p.view.HasLease(other.clock()) {
			c.fail("region %d: store %d begins to lead in term %d while the lease of store %d, of term %d, runs on for %d ns",
				rec.id, st.id, term, other.id, p.view.Term, p.view.LeaseEnd-other.clock())
		}
	}
}
