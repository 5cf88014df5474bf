package machine

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A replica whose data cannot be trusted any more: the engine cannot read it, or a person has seen that it is not like the others'.
//
// check    Whoever meets damage while reading the region's range tells the region's owner: Damaged. Nobody was served anything wrong, the
//          engine answers an error instead.
// apply    nothing. The peer's log is as good as ever, so it votes and applies as before (writing needs no reading), and the region loses no
//          redundancy. But the peer is marked: its view refuses reads and writes with region.DamagedError, which sends clients to
//          another replica.
// after    A leader hands over to a follower that has most, again and again until one takes over. Whoever follows asks for a snapshot, again
//          and again until one is installed in place of all its data, which takes the mark away (raft/snapshot.go). The leader builds one that
//          reaches the end of the follower's log. People are told, and the scheduler with the store's heartbeat.
//
// The mark is in memory only. After a restart the damage is met again by the next read of it, or by the background comparison, which
// reads everything. A region without a second replica has nowhere to be rebuilt from: it stays marked.

// Damaged says that the data of a region's peer is damaged, and what was found.
type Damaged struct {
	RegionID, PeerID uint64
	Reason           string
}

func (Damaged) isMail() {}

// ReportDamage is a task: tell people that a peer is damaged. Not answered.
type ReportDamage struct {
	RegionID, PeerID uint64
	Reason           string
}

func (ReportDamage) isTask() {}

func (m *RaftMachine) handleDamaged(mail Damaged) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending || p.damage != "" {
		return
	}
	p.damage = mail.Reason
	m.round.Tasks = append(m.round.Tasks, ReportDamage{RegionID: p.regionID, PeerID: p.id, Reason: mail.Reason})
	m.abandonReads(p, p.damaged())
	m.abandonWaiting(p, p.damaged())
	m.abandonSplit(p, p.damaged())
	p.size = sizeWatch{} // a measurement may have been what found it
	m.mend(p)
	m.touch(p)
}

// damaged is what a client is told: nil as long as the peer is sound.
func (p *peer) damaged() error {
	if p.damage == "" {
		return nil
	}
	return damagedError(p.region, p.id, p.leader())
}

func damagedError(r *metapb.Region, self uint64, leader *metapb.Peer) error {
	if leader.GetId() == self {
		leader = nil // not for long
	}
	return &region.DamagedError{RegionID: r.Id, Leader: leader}
}

// mend has a marked peer's data replaced: by another leader, if it leads itself.
func (m *RaftMachine) mend(p *peer) {
	switch {
	case p.damage == "" || p.removed:
	case p.isLeader():
		m.handOver(p)
	case p.ticks%uint64(m.cfg.HeartbeatTicks) == 0 && p.snap.offered == nil && !p.snap.installing:
		p.node.RequestSnapshot() // not without a leader: then later
	}
}

// handOver makes the follower lead that has most, if one may, of those that were heard from lately: one that is gone would be waited for again and again (found by the
// simulator, seed 3130). Among equals each gets its turn: some may be damaged too.
func (m *RaftMachine) handOver(p *peer) {
	if p.node.Raft.LeadTransferee() != raft.None {
		return
	}
	progress := p.node.GetProgress()
	var best *metapb.Peer
	for i := range p.region.Peers {
		q := p.region.Peers[(uint64(i)+p.term())%uint64(len(p.region.Peers))]
		if m.answers(p, q) && p.checkTransferee(q.Id) == nil && (best == nil || progress[q.Id].Match > progress[best.Id].Match) {
			best = q
		}
	}
	if best != nil {
		p.node.TransferLeader(best.Id)
	}
}

// hearSnapshotRequest sees to it that the next snapshot is one that a follower can use which has asked for it.
func (p *peer) hearSnapshotRequest(msg *eraftpb.Message) {
	if p.isLeader() && msg.Term == p.term() && msg.RequestSnapshot <= p.node.Raft.RaftLog.LastIndex() {
		p.log.least = max(p.log.least, msg.RequestSnapshot)
	}
}
