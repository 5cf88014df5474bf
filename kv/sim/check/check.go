// Package check holds what must be true at every instant of a cluster's life, and says so in one sentence when it is not. It knows nothing of
// the simulator: it is told what stores decide, send, apply and find on their disks, and compares.
//
//	leaders.go  one leader for each region and term; one vote for each peer and term; terms never go back, over crashes either
//	logs.go     logs that agree at an index and term agree before it; what is committed is held by a quorum, is of the leader's own term, and
//	            is in every later leader's log; a change of peers waits for the one before
//	applied.go  at an index of a region every store applies the same entry and then holds the same data; no entry is left out
//	promises.go a vote or an acknowledgement leaves a store only when what it promises is durable there
//	leases.go   while a lease runs nobody leads in a later term
//	shapes.go   an epoch names one shape of a region; epochs never go back; a store's regions are disjoint
//	ranges.go   a key belongs to one region at each version, and nobody answers by a lease for keys that have gone to a newer region
//
// Each check looks at what changed only. Most of them are about one region, so what is kept is kept by region: what all stores must agree on
// (regionRecord), and what each store's peer has said so far in this life (peer).
package check

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// Disk is what a store's raft log durably holds.
type Disk interface {
	// Term is the term of the entry at index, 0 when there is none.
	Term(region, index uint64) uint64
	// State is the region's raft state, nil when there is none.
	State(region uint64) *raft_serverpb.RaftLocalState
}

// Found is what a store that starts has of one region.
type Found struct {
	Region             *metapb.Region
	PeerID             uint64
	State              *raft_serverpb.RaftLocalState
	Applied, Truncated machine.Pair
	// Entries are those behind Truncated.
	Entries []eraftpb.Entry
}

// Checker follows one cluster.
type Checker struct {
	report  func(string)
	failed  bool
	stores  map[uint64]*store
	order   []*store
	regions map[uint64]*regionRecord
	// ranges are all that regions ever had, by version.
	ranges map[uint64][]*metapb.Region
	// reshaped are the peers whose regions changed in the round at hand.
	reshaped []*peer
	// Elections counts the terms in which somebody led, Changes the epochs of all regions.
	Elections, Changes int
}

// store is one store in its present life.
type store struct {
	id    uint64
	disk  Disk
	clock func() machine.Instant
	peers map[uint64]*peer
}

// peer is a region's peer on one store, in the store's present life.
type peer struct {
	id   uint64
	view *machine.RegionView
	// region is what the peer has last shown to be its region, nil before it has data; former is the one before.
	region, former *metapb.Region
	// term is the last that was shown.
	term uint64
	log  peerLog
	// given is the last index that was handed over to be applied, applied the last that was; awaiting are those between.
	given, applied uint64
	awaiting       []entry
	// change is the index of the last change of peers in the log.
	change uint64
	// destroyed: its log is being deleted.
	destroyed bool
	// damaged: it has shown that its data are not to be trusted, and no snapshot has taken their place.
	damaged bool
}

// entry is an entry of a log without its bytes.
type entry struct{ index, term, hash uint64 }

// regionRecord is what all stores must agree on.
type regionRecord struct {
	id      uint64
	leaders map[uint64]*leadership // by term
	votes   map[ballot]uint64
	// promised is, by store, the highest term in which a peer of it has promised something. It holds for the next one.
	promised map[uint64]uint64
	// written are all entries that any log ever held, by index; a handful of them differ in their terms.
	written indexed[[]writtenEntry]
	chosen  indexed[chosenEntry]
	sums    indexed[stateSum]
	// torn is, by store, the end of a snapshot whose data may be in the engine without the applied index that belongs to it: a crash between the two
	// leaves that, and until the index is applied again, over it, the data is of no index at all.
	torn map[uint64]uint64
	// committed is the highest commit index that anybody claimed.
	committed uint64
	shapes    map[epoch]*metapb.Region
}

// New returns a checker that reports the first thing that is wrong, once.
func New(report func(string)) *Checker {
	return &Checker{
		report: report, stores: make(map[uint64]*store), regions: make(map[uint64]*regionRecord), ranges: make(map[uint64][]*metapb.Region),
	}
}

func (c *Checker) fail(format string, args ...any) {
	if !c.failed {
		c.failed = true
		c.report(fmt.Sprintf(format, args...))
	}
}

// Started begins a life of a store. clock is its own.
func (c *Checker) Started(id uint64, disk Disk, clock func() machine.Instant, found []Found) {
	st := c.stores[id]
	if st == nil {
		st = &store{id: id}
		c.stores[id], c.order = st, append(c.order, st)
	}
	st.disk, st.clock, st.peers = disk, clock, make(map[uint64]*peer)
	for i := range found {
		c.found(st, &found[i])
	}
	c.lookAround(st)
}

func (c *Checker) found(st *store, f *Found) {
	rec := c.region(f.Region.Id)
	p := &peer{id: f.PeerID, given: f.Applied.Index, applied: f.Applied.Index}
	st.peers[rec.id] = p
	p.log = peerLog{base: f.Truncated}
	for i := range f.Entries {
		e := &f.Entries[i]
		c.wroteEntry(st, rec, p, e)
	}
	term := f.State.GetHardState().GetTerm()
	if term < rec.promised[st.id] {
		c.fail("store %d: region %d peer %d starts in term %d, and the store has promised something in term %d", st.id, rec.id, p.id, term, rec.promised[st.id])
	}
	if chosen := rec.chosen.at(f.Applied.Index); chosen != nil && chosen.term != f.Applied.Term {
		c.fail("store %d: region %d starts with an entry of term %d applied at %d; store %d applied one of term %d",
			st.id, rec.id, f.Applied.Term, f.Applied.Index, chosen.store, chosen.term)
	}
	// Its last life may have ended after a batch, and before it could tell.
	for i := range f.Entries {
		if e := identify(&f.Entries[i]); e.index <= f.Applied.Index {
			c.choose(st, rec, term, e)
		}
	}
	c.takeShape(st, rec, p, f.Region)
}

// Killed ends a store's life.
func (c *Checker) Killed(id uint64) {
	if st := c.stores[id]; st != nil {
		st.peers = make(map[uint64]*peer)
	}
}

// Decided takes in a round before it is carried out.
func (c *Checker) Decided(id uint64, round *machine.Round) {
	st := c.stores[id]
	if c.failed || st == nil {
		return
	}
	for _, v := range round.Views {
		c.viewed(st, v)
	}
	c.lookAround(st)
	for i := range round.Write {
		c.wrote(st, &round.Write[i])
	}
	for i := range round.Apply {
		c.toApply(st, &round.Apply[i])
	}
	for i := range round.Reply {
		if r := &round.Reply[i]; r.Grant != nil && r.Err == nil {
			c.granted(st, &r.Read)
		}
	}
}

// Sent takes in a message at the instant at which it leaves.
func (c *Checker) Sent(id uint64, env *raft_serverpb.RaftMessage) {
	st := c.stores[id]
	if c.failed || st == nil || env.IsTombstone || env.Message == nil {
		return
	}
	rec, m := c.region(env.RegionId), env.Message
	p := c.peer(st, rec, env.FromPeer.GetId())
	if p == nil {
		return
	}
	switch m.MsgType {
	case eraftpb.MessageType_MsgAppend:
		c.sentAppend(st, rec, p, m)
	case eraftpb.MessageType_MsgHeartbeat:
		c.leads(st, rec, p, m.Term)
		c.claim(st, rec, p, m.Commit, m.Term)
	case eraftpb.MessageType_MsgSnapshot:
		c.leads(st, rec, p, m.Term)
		c.sentSnapshot(st, rec, m)
	case eraftpb.MessageType_MsgTimeoutNow:
		c.leads(st, rec, p, m.Term)
	case eraftpb.MessageType_MsgAppendResponse:
		c.acknowledged(st, rec, p, m)
	case eraftpb.MessageType_MsgRequestVote:
		c.voted(st, rec, p, m.Term, p.id)
	case eraftpb.MessageType_MsgRequestVoteResponse:
		if !m.Reject {
			c.voted(st, rec, p, m.Term, m.To)
		}
	}
}

func (c *Checker) viewed(st *store, v *machine.RegionView) {
	rec := c.region(v.Region.Id)
	p := c.peer(st, rec, v.PeerID)
	if p == nil {
		return
	}
	if v.Gone {
		// A peer that is read from disk again has lost what was not durable; a term in which it has promised nothing may be among that.
		p.view, p.region, p.term = nil, nil, min(p.term, rec.promised[st.id])
		return
	}
	c.showsTerm(st, rec, p, v.Term)
	c.takeShape(st, rec, p, v.Region)
	before := p.view
	led := before != nil && before.IsLeader && before.Term == v.Term
	p.view, p.damaged = v, p.damaged || v.Damaged
	c.stands(st, rec, p, v)
	if !v.IsLeader {
		rec.committed = max(rec.committed, v.Log.Committed)
		return
	}
	c.leads(st, rec, p, v.Term)
	if led {
		c.claim(st, rec, p, v.Log.Committed, v.Term)
	} else {
		rec.committed = max(rec.committed, v.Log.Committed) // it learned that as a follower
	}
	c.leased(st, rec, p, v)
	if !goesOn(before, v, st.clock()) {
		c.begins(st, v)
	}
}

func (c *Checker) region(id uint64) *regionRecord {
	rec := c.regions[id]
	if rec == nil {
		rec = &regionRecord{
			id: id, leaders: make(map[uint64]*leadership), votes: make(map[ballot]uint64), promised: make(map[uint64]uint64),
			torn: make(map[uint64]uint64), shapes: make(map[epoch]*metapb.Region),
		}
		c.regions[id] = rec
	}
	return rec
}

// peer is the peer of that id; nil for one that another has replaced: what it promised is still on its way.
func (c *Checker) peer(st *store, rec *regionRecord, id uint64) *peer {
	p := st.peers[rec.id]
	if p == nil || p.id < id {
		p = &peer{id: id}
		st.peers[rec.id] = p
	}
	if p.id > id {
		return nil
	}
	return p
}

// indexed is a list by log index that begins anywhere.
type indexed[T any] struct {
	base uint64
	list []T
}

// at returns what was put at an index, nil where nothing could be.
func (x *indexed[T]) at(i uint64) *T {
	if i < x.base || i-x.base >= uint64(len(x.list)) {
		return nil
	}
	return &x.list[i-x.base]
}

// room returns the place for an index.
func (x *indexed[T]) room(i uint64) *T {
	switch {
	case len(x.list) == 0:
		x.base = i
	case i < x.base:
		x.list = append(make([]T, x.base-i, uint64(len(x.list))+x.base-i), x.list...)
		x.base = i
	}
	for i-x.base >= uint64(len(x.list)) {
		var none T
		x.list = append(x.list, none)
	}
	return &x.list[i-x.base]
}
