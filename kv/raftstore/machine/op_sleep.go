package machine

import (
	"encoding/binary"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A region without work sleeps: no ticks pass on its peers, no heartbeats are sent, and a tick's pass walks over those that are awake only.
//
// check    The leader has had nothing to do for SleepTicks. It and, by all that they have told it, all members hold the same log, committed and
//          applied to its end; no read, change, transfer, snapshot or report is under way (atRest).
// propose  Behind a heartbeat round it asks every peer, learners too. A peer that follows it, with the same log and as idle, answers and sleeps at once.
// apply    When all have answered, and no other round has begun meanwhile, the leader sleeps. If one does not answer, the next
//          heartbeat wakes the others.
// after    Whatever reaches a peer wakes it: a raft message, a proposal, a read, an administrator's or another machine's mail (touch does it). A leader that wakes
//          begins a heartbeat round, which wakes the others; a follower that wakes for another reason than its leader calls it.
//
// Safety does not depend on any of this. To a raft node sleep is a clock that stands still: a follower keeps its promise not to vote longer than it
// was given for, and a leader's lease, which is a matter of time and not of ticks, runs out by itself; the first read after that asks a quorum.
// CheckQuorum counts a leader's own ticks, so that one who wakes has all of an election timeout to hear from a majority.
//
// Liveness does, and S21 is the list of ways to lose it. Nobody may sleep while the one who would wake it is gone:
//
//   - The leader dies. Its store falls silent, which the StoreMachine notices for all regions at once (neighbours.go); every region led from
//     there, and every leader with a peer there, wakes. The ticks that were slept through have really passed, and count (raft's Age):
//     a new leader comes within an election timeout of the silence, at a random time of each region's own, so that they do not all campaign together.
//     No other peer may refuse its vote for the sake of a promise that has run out: it notices the same silence.
//   - The store starts again so fast that it is never silent. Its messages tell which life they are from; another life is as good as a silence.
//   - A request to sleep is late: from a former life, or behind the news that the store is silent. It counts only if it comes from the life that is known to be alive.
//   - A follower wakes alone, or was not asleep to begin with. If it hears nothing from its leader for half an election timeout it calls it, and calls
//     again as long as it knows one: before it would campaign and disturb a leader that only sleeps.
//   - A wake-up is lost. A woken leader is awake and beats until all have agreed to sleep again; a caller calls again.
//   - A follower is removed, and the word is lost. It asks each report interval whether it still belongs to the region (op_stale.go).
//   - What nobody has thought of. Every sleeper wakes by itself after napsAtMost report intervals.
//
// Sleeping leaders go on reporting to the scheduler, in a pass that takes a small share of the regions each tick.

// sleepState is a peer's way into sleep and out of it.
type sleepState struct {
	// asleep: ticks pass it by. listed: it stands on the list that ticks walk over.
	asleep, listed bool
	// since is the machine's tick at which it fell asleep; naps the number of report intervals it has slept through.
	since uint64
	naps  int
	// busyAt is the peer's own tick at which it last had work.
	busyAt uint64
	// ask: a heartbeat round has just begun behind which the peers may be asked. asked is the round behind which they were, agreed those who said yes.
	ask    bool
	asked  uint64
	agreed []uint64
	// request is a leader's wish that is not answered yet.
	request *raft_serverpb.RaftMessage
	// call: the leader may be asleep and shall be woken.
	call bool
}

// napsAtMost is how many report intervals a peer sleeps without a reason to wake.
const napsAtMost = 10

// sleepTerms is what the two sides of an agreement to sleep must have in common, and the sender's life.
type sleepTerms struct{ term, last, round, life uint64 }

func (t sleepTerms) encode() []byte {
	b := make([]byte, 0, 32)
	for _, n := range []uint64{t.term, t.last, t.round, t.life} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func decodeSleepTerms(b []byte) (t sleepTerms, ok bool) {
	if len(b) != 32 {
		return t, false
	}
	return sleepTerms{
		binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:]),
	}, true
}

// life names this start of the store among all starts of all stores, as far as chance allows; never 0.
func (c *Config) life() uint64 { return c.Seed | 1<<63 }

// atRest reports whether a peer has nothing to do and may sleep, if all others of its region agree.
func (p *peer) atRest() bool {
	switch {
	case p.ending || p.removed || p.merge.frozen() || p.merge.yielded || !p.initialized() || p.applied.Index != p.log.last.Index || p.persist.given != p.persist.done:
		return false
	case len(p.waiting.queue) > 0 || len(p.pending) > 0 || len(p.newReads) > 0 || len(p.reads) > 0 || p.admin.Index > 0:
		return false
	case p.split.waits() || p.size.measuring || len(p.size.keys) > 0 || len(p.departed) > 0:
		return false
	case p.merge.state != nil || p.merge.catchUp > p.applied.Index || p.merge.into != nil:
		return false
	case p.snap.building || p.snap.claimed || p.snap.offered != nil || p.snap.installing || p.log.wanted.asked:
		return false
	case p.damage != "":
		return false
	case p.isLeader() && (p.duties.reportNow || p.duties.compactTo > 0 || p.duties.pending > 0 || p.applied.Term != p.term()):
		return false
	}
	return p.node.Settled()
}

// considerSleep follows a peer's tick; began says that a heartbeat round began in it.
func (m *RaftMachine) considerSleep(p *peer, began bool) {
	s := &p.sleep
	switch lead := p.node.Raft.Lead; {
	case m.cfg.SleepTicks == 0:
	case p.isLeader():
		measured := p.size.known || m.cfg.Split.MaxSize == 0 // nobody would split a large region in its sleep
		s.ask = began && measured && p.ticks-s.busyAt >= uint64(m.cfg.SleepTicks)
	case lead != raft.None:
		silent, patience := p.members.silence(lead, s.busyAt, p.ticks), uint64(max(m.cfg.ElectionTicks/2, m.cfg.HeartbeatTicks+1))
		s.call = silent > 0 && silent%patience == 0
	}
}

// settleSleep does, at the end of a round, what was asked for in it: only then is it known that nothing else is to be said.
func (m *RaftMachine) settleSleep(p *peer) {
	s := &p.sleep
	if s.ask {
		s.ask = false
		m.askToSleep(p)
	}
	if len(s.agreed) > 0 {
		m.sleepIfAgreed(p)
	}
	if s.request != nil {
		m.answerSleep(p, s.request)
		s.request = nil
	}
	if s.call {
		s.call = false
		if lead := p.leader(); lead != nil && !p.isLeader() {
			m.round.Send = append(m.round.Send, m.extra(p, lead, raft_serverpb.ExtraMessageType_MsgRegionWakeUp))
		}
	}
}

func (m *RaftMachine) extra(p *peer, to *metapb.Peer, kind raft_serverpb.ExtraMessageType) *raft_serverpb.RaftMessage {
	return &raft_serverpb.RaftMessage{
		RegionId: p.regionID, FromPeer: p.self(m.cfg.StoreID), ToPeer: to, RegionEpoch: p.region.RegionEpoch,
		ExtraMsg: &raft_serverpb.ExtraMessage{Type: kind},
	}
}

func (m *RaftMachine) askToSleep(p *peer) {
	if !p.isLeader() || !p.atRest() {
		return
	}
	s := &p.sleep
	s.asked, s.agreed = p.node.HeartbeatRound(), s.agreed[:0]
	terms := sleepTerms{p.term(), p.log.last.Index, s.asked, m.cfg.life()}
	for _, q := range p.region.Peers {
		if q.Id != p.id && m.alive[q.StoreId] == 0 {
			return // it would not answer
		}
	}
	for _, q := range p.region.Peers {
		if q.Id != p.id {
			msg := m.extra(p, q, raft_serverpb.ExtraMessageType_MsgHibernateRequest)
			msg.ExtraCtx = terms.encode()
			m.round.Send = append(m.round.Send, msg)
		}
	}
	m.sleepIfAgreed(p)
}

// hearOfSleep takes what another peer says of sleep. The round's end is the time to act on it: an answer to the heartbeat before may still wait to leave.
func (m *RaftMachine) hearOfSleep(p *peer, msg *raft_serverpb.RaftMessage) {
	switch msg.ExtraMsg.Type {
	case raft_serverpb.ExtraMessageType_MsgRegionWakeUp:
		m.touch(p)
	case raft_serverpb.ExtraMessageType_MsgHibernateRequest:
		p.sleep.request = msg
		m.list(p)
	case raft_serverpb.ExtraMessageType_MsgHibernateResponse:
		if terms, ok := m.sameTerms(p, msg); ok && p.isLeader() && terms.round == p.sleep.asked {
			p.sleep.agree(msg.FromPeer.GetId())
			m.list(p)
		}
	}
}

// sameTerms reports whether two peers speak of the same log in the same term, and the sender is not from a former life.
func (m *RaftMachine) sameTerms(p *peer, msg *raft_serverpb.RaftMessage) (sleepTerms, bool) {
	terms, ok := decodeSleepTerms(msg.ExtraCtx)
	alive := ok && m.cfg.SleepTicks > 0 && m.alive[msg.FromPeer.GetStoreId()] == terms.life
	return terms, alive && terms.term == p.term() && terms.last == p.log.last.Index
}

// answerSleep agrees to the leader's wish and sleeps, or says nothing.
func (m *RaftMachine) answerSleep(p *peer, msg *raft_serverpb.RaftMessage) {
	terms, ok := m.sameTerms(p, msg)
	if !ok || p.isLeader() || p.node.Raft.Lead != msg.FromPeer.GetId() || !p.atRest() {
		return
	}
	terms.life = m.cfg.life()
	answer := m.extra(p, msg.FromPeer, raft_serverpb.ExtraMessageType_MsgHibernateResponse)
	answer.ExtraCtx = terms.encode()
	m.round.Send = append(m.round.Send, answer)
	m.fallAsleep(p)
}

func (s *sleepState) agree(id uint64) {
	for _, known := range s.agreed {
		if known == id {
			return
		}
	}
	s.agreed = append(s.agreed, id)
}

// sleepIfAgreed lets a leader sleep if all others do, and nothing has happened since they were asked.
func (m *RaftMachine) sleepIfAgreed(p *peer) {
	s := &p.sleep
	if s.asleep || s.asked != p.node.HeartbeatRound() || p.ticks-s.busyAt < uint64(m.cfg.SleepTicks) || !p.atRest() {
		return
	}
	for _, q := range p.region.Peers {
		if q.Id != p.id && !s.hasAgreed(q.Id) {
			return
		}
	}
	m.fallAsleep(p)
}

func (s *sleepState) hasAgreed(id uint64) bool {
	for _, known := range s.agreed {
		if known == id {
			return true
		}
	}
	return false
}

// fallAsleep takes a peer off the ticks, and gives back what memory it does not need.
func (m *RaftMachine) fallAsleep(p *peer) {
	s := &p.sleep
	if !s.asleep {
		s.asleep, s.since, s.naps, s.ask, s.call = true, m.ticks, 0, false, false
	}
	p.node.Release()
	p.log.window, p.lease.stamps, s.agreed = nil, nil, nil
	p.waiting.queue, p.pending, p.reads, p.newReads = nil, nil, nil, nil
}

// wake puts a peer back under the ticks. A leader shows at once that it is there; whoever else wakes has its leader called.
func (m *RaftMachine) wake(p *peer) {
	s := &p.sleep
	if !s.asleep {
		return
	}
	s.asleep, s.busyAt = false, p.ticks
	if !s.listed {
		s.listed = true
		m.awake = append(m.awake, p)
	}
	p.node.Beat()
	s.call = !p.isLeader()
}

// watchSleepers passes, once in an election timeout, over a small share of the regions: sleeping leaders report, their followers ask, and nobody sleeps for ever.
func (m *RaftMachine) watchSleepers() {
	pause := uint64(m.cfg.ElectionTicks)
	if m.cfg.SleepTicks == 0 || m.cfg.RegionHeartbeatTicks == 0 || m.ticks%pause != 0 {
		return
	}
	interval := max(1, uint64(m.cfg.RegionHeartbeatTicks)/pause)
	n, at := uint64(len(m.order)), m.ticks/pause%interval
	for _, id := range m.order[n*at/interval : n*(at+1)/interval] {
		p := m.peers[id]
		if !p.sleep.asleep {
			continue
		}
		p.sleep.naps++
		switch {
		case p.sleep.naps >= napsAtMost:
			m.touch(p)
		case p.isLeader():
			p.duties.reportNow = true
			m.list(p)
		default:
			m.askLeader(p)
		}
	}
}

// handleStoreAlive learns that a store lives, and in which life.
func (m *RaftMachine) handleStoreAlive(mail StoreAlive) {
	before := m.alive[mail.StoreID]
	m.alive[mail.StoreID] = mail.Life
	if before != 0 && before != mail.Life {
		m.wakeNeighboursOf(mail.StoreID)
	}
}

func (m *RaftMachine) handleStoreSilent(mail StoreSilent) {
	delete(m.alive, mail.StoreID)
	m.wakeNeighboursOf(mail.StoreID)
}

// wakeNeighboursOf wakes the leaders that have a peer on a store, and those whom a peer there leads, or who know of no leader.
func (m *RaftMachine) wakeNeighboursOf(storeID uint64) {
	for _, id := range m.order {
		p := m.peers[id]
		if !p.sleep.asleep {
			continue
		}
		lead := p.leader()
		switch {
		case p.isLeader():
			if region.FindPeerOn(p.region, storeID) != nil {
				m.touch(p)
			}
		case lead == nil || lead.StoreId == storeID:
			p.node.Age(m.ticks - p.sleep.since)
			m.touch(p)
		}
	}
}
