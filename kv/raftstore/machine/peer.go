package machine

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// peer is one replica of one region, as its RaftMachine sees it.
type peer struct {
	regionID, id uint64
	node         *raft.RawNode
	log          *peerLog
	// region is the region as applied here; an uninitialized peer knows only the id.
	region *metapb.Region
	// applied is what the ApplyMachine has reported.
	applied Pair

	waiting  waitingWrites
	pending  []pendingEntry
	admin    adminInFlight
	split    splitRequest
	size     sizeWatch
	siblings []*metapb.Region
	newReads []*ReadRequest
	reads    []*readBatch
	persist  persistence
	lease    lease
	snap     snapshotState
	contact  contact
	departed []*metapb.Peer
	duties   duties
	merge    merging
	check    HashCheck
	damage   string // why the data is not to be trusted, empty when it is: see op_damage.go
	sleep    sleepState
	members  memberCache
	view     *RegionView
	ticks    uint64
	// touched says that the peer is on this round's list; removed that it is not a member any more; ending that it is being destroyed.
	touched, removed, ending bool
}

// persistence is the number of the last write that the log writer was given, and of the last that it reported, and the commit index that it was given last.
// Raft counts its writes from base on: a peer that is given its region by a split gets a new node, and writes of the old one may be on their way.
type persistence struct{ given, done, base, commit uint64 }

func (p *peer) term() uint64      { return p.node.Raft.Term }
func (p *peer) isLeader() bool    { return p.node.Raft.State == raft.StateLeader }
func (p *peer) initialized() bool { return p.region.RegionEpoch.GetVersion() > 0 }

// self is this peer as the region's metadata has it.
func (p *peer) self(storeID uint64) *metapb.Peer {
	if q := region.FindPeer(p.region, p.id); q != nil {
		return q
	}
	return &metapb.Peer{Id: p.id, StoreId: storeID}
}

// ownEntryInFlight reports whether an entry of this leader has not reached this store's log yet.
func (p *peer) ownEntryInFlight() bool {
	n := len(p.pending)
	return n > 0 && p.pending[n-1].Index > p.node.Raft.RaftLog.Stabled()
}

func (p *peer) checkLeader(peerID uint64) error {
	if p.ending || p.removed || p.merge.yielded {
		return &region.NotFoundError{RegionID: p.regionID}
	}
	if peerID != 0 && peerID != p.id {
		return &region.MismatchPeerIDError{Requested: peerID, Actual: p.id}
	}
	if !p.isLeader() {
		return p.notLeader()
	}
	return nil
}

// notLeader names the leader to ask instead: while leadership is being handed over, the one that is about to lead.
func (p *peer) notLeader() error {
	leader := p.leader()
	if to := p.node.Raft.LeadTransferee(); p.isLeader() && to != raft.None {
		leader = p.members.find(p.region, to)
	}
	return &region.NotLeaderError{RegionID: p.regionID, Leader: leader}
}

func (p *peer) epochNotMatch() error {
	return &region.EpochNotMatchError{RegionID: p.regionID, Current: withSiblings(p.region, p.siblings)}
}

// leader is the leader as this peer knows it, or nil.
func (p *peer) leader() *metapb.Peer {
	if lead := p.node.Raft.Lead; lead != raft.None && lead != p.id || p.isLeader() {
		return p.members.find(p.region, lead)
	}
	return nil
}

// memberCache remembers peers that messages came from and that the applied region does not name (yet), and when each peer was
// heard last.
type memberCache struct {
	seen  []*metapb.Peer
	heard []heard
}

type heard struct{ peerID, tick uint64 }

// hear notes that a peer gave a sign of life.
func (c *memberCache) hear(id, tick uint64) {
	for i := range c.heard {
		if c.heard[i].peerID == id {
			c.heard[i].tick = tick
			return
		}
	}
	if len(c.heard) < mostHeard {
		c.heard = append(c.heard, heard{id, tick})
		return
	}
	oldest := 0 // of many peers that came and went, it is the one that has been gone the longest
	for i := range c.heard {
		if c.heard[i].tick < c.heard[oldest].tick {
			oldest = i
		}
	}
	c.heard[oldest] = heard{id, tick}
}

// mostHeard bounds the peers whose signs of life are remembered. No region has as many.
const mostHeard = 32

// silence is the number of ticks since a peer was heard, or since floor if that is later.
func (c *memberCache) silence(id, floor, now uint64) uint64 {
	for _, h := range c.heard {
		if h.peerID == id {
			return now - max(h.tick, floor)
		}
	}
	return now - floor
}

// lately says that a peer was heard within some ticks.
func (c *memberCache) lately(id, now, within uint64) bool {
	for _, h := range c.heard {
		if h.peerID == id {
			return now-h.tick <= within
		}
	}
	return false
}

// answers reports whether another peer was heard from within an election timeout.
func (m *RaftMachine) answers(p *peer, q *metapb.Peer) bool {
	return q.Id != p.id && p.members.lately(q.Id, p.ticks, uint64(m.cfg.ElectionTicks))
}

func (c *memberCache) find(r *metapb.Region, id uint64) *metapb.Peer {
	if q := region.FindPeer(r, id); q != nil {
		return q
	}
	for _, q := range c.seen {
		if q.Id == id {
			return q
		}
	}
	return nil
}

func (c *memberCache) remember(r *metapb.Region, from *metapb.Peer) {
	const enough = 16
	if from == nil || c.find(r, from.Id) != nil {
		return
	}
	if len(c.seen) == enough {
		c.seen = append(c.seen[:0], c.seen[1:]...)
	}
	c.seen = append(c.seen, from)
}

// envelope addresses a raft message to the store of its receiver; nil when nobody knows where that is.
func (p *peer) envelope(storeID uint64, msg *eraftpb.Message) *raft_serverpb.RaftMessage {
	to := p.members.find(p.region, msg.To)
	if to == nil {
		return nil
	}
	env := &raft_serverpb.RaftMessage{
		RegionId: p.regionID, FromPeer: p.self(storeID), ToPeer: to, Message: msg, RegionEpoch: p.region.RegionEpoch,
	}
	if p.mayBeFirst(msg) {
		env.StartKey, env.EndKey = p.region.StartKey, p.region.EndKey
	}
	return env
}

func (p *peer) String() string {
	return fmt.Sprintf("region %d peer %d (term %d, applied %d)", p.regionID, p.id, p.term(), p.applied.Index)
}

// lease is the leader's right to answer reads without asking: a quorum has acknowledged a heartbeat round that began
// at a known Instant, and will not elect another leader within an election timeout of it.
type lease struct {
	term uint64
	// stamps are the rounds that were broadcast and not yet acknowledged, with the Instant at which their Handle began.
	stamps []roundStamp
	// stamped is the last round that got a stamp.
	stamped uint64
	end     Instant
	// floor: rounds up to it do not count, because a leadership transfer was under way.
	floor uint64
}

type roundStamp struct {
	round uint64
	at    Instant
}

// renewLease notes new rounds and moves the end of the lease with what a quorum has acknowledged.
func (p *peer) renewLease(cfg *Config, now Instant) {
	l := &p.lease
	if !p.isLeader() || cfg.LeaseDuration == 0 {
		*l = lease{}
		return
	}
	if l.term != p.term() {
		*l = lease{term: p.term()}
	}
	if round := p.node.HeartbeatRound(); round > l.stamped {
		l.stamps = append(l.stamps, roundStamp{round, now})
		l.stamped = round
	}
	acked := p.node.QuorumRound()
	if acked == 0 || p.node.Raft.LeadTransferee() != raft.None {
		// A transferee may win an election that ignores the promise behind the lease (R11).
		l.end, l.floor = 0, l.stamped
	}
	for len(l.stamps) > 0 && l.stamps[0].round <= acked {
		if l.stamps[0].round > l.floor {
			l.end = l.stamps[0].at + cfg.LeaseDuration
		}
		l.stamps = l.stamps[1:]
	}
}
