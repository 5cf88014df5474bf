package machine

import (
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A replica whose data the engine cannot read any more.
//
// check    Whoever meets damage while reading the region's range tells the region's owner: Damaged. Nobody was served anything wrong, the
//          engine answers an error instead.
// apply    nothing. The peer votes and applies as before (writing needs no reading), so the region loses no redundancy of its log. But it is
//          marked: its view refuses reads and writes with region.DamagedError, which sends clients to another replica.
// after    A leader hands over to the follower that has most, again and again until one takes over. People, and the scheduler with the
//          store's heartbeat, are told; `shoal ctl consistency-check --repair` removes the peer and adds another. Its destruction deletes
//          ranges and reads nothing.
//
// The mark is in memory only. After a restart the damage is met again by the next read of it, or by the background comparison, which
// reads everything. A snapshot that takes the place of all the peer's data takes the mark away.

// Damaged says that the data of a region's peer is damaged, and what the engine found.
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
	m.handOver(p)
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

// handOver makes the follower lead that has most, if one may.
func (m *RaftMachine) handOver(p *peer) {
	if p.damage == "" || !p.isLeader() || p.node.Raft.LeadTransferee() != raft.None {
		return
	}
	progress := p.node.GetProgress()
	var best *metapb.Peer
	for _, q := range p.region.Peers {
		if q.Id != p.id && p.checkTransferee(q.Id) == nil && (best == nil || progress[q.Id].Match > progress[best.Id].Match) {
			best = q
		}
	}
	if best != nil {
		p.node.TransferLeader(best.Id)
	}
}
