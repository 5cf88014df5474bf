package machine

import (
	"maps"
	"slices"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
)

// A stale peer was removed and never heard of it: it was cut off, or the word got lost. It must go, and nobody else may (S8).
//
// ask    a peer that has heard no leader for long asks the stores of its region's other peers, and again as long as it hears none; one without data asks
//        all stores that it knows of. Silence proves nothing: who gets no answer stays. One whose range another region's peer waits for asks sooner (contest), and so does
//        one that was guided, for the members whom it was told.
//        One that sleeps asks its leader's store, which is no reason for anybody to wake, each report interval: it would hear nothing else (S21).
// tell   only a leader says that a peer is gone, and only when a majority knows the change that removed it: until then the peer's vote may be needed by
//        those who do not know it (R4). And a store whose own peer left later than the one that asks: the change that removed that one had to be known before.
// guide  everybody else who knows no less than the one that asks, and does not count it among the members, names these. Whoever was a member then either still is, or has left a tombstone
//        that names later ones; so, step by step, the asking reaches the region as it is now.
// end    the peer is destroyed. Its tombstone has the members that it was told, for the next one that asks.

// staleAfter is the number of election timeouts without a leader after which a peer asks.
const staleAfter = 10

// contact is what a peer has heard of its group.
type contact struct {
	// heard is the tick at which a leader was heard last, asked that of the last question.
	heard, asked uint64
	// confVer is the highest that anybody has used who counts this peer among the members.
	confVer uint64
	// doubts: another region's peer waits for some of the range, the region was merged elsewhere, or the peer was told of members among whom it is not.
	doubts bool
	// guide is the region's shape as somebody has told it who knows more; told is one without this peer, from who may say so.
	guide, told *metapb.Region
}

// hearLeader notes that a message came from a leader that counts this peer among its own.
func (p *peer) hearLeader(msg *raft_serverpb.RaftMessage) {
	switch msg.Message.GetMsgType() {
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat, eraftpb.MessageType_MsgSnapshot:
		p.contact.heard, p.contact.doubts = p.ticks, false
	}
	p.contact.confVer = max(p.contact.confVer, msg.RegionEpoch.GetConfVer())
}

// confVer is the latest change of members that this peer knows to count it among them; that of its removal if it has applied that.
func (p *peer) confVer() uint64 {
	known := p.region.RegionEpoch.GetConfVer()
	if p.initialized() {
		return known
	}
	return max(known, p.contact.confVer)
}

// askIfStale is a tick's part.
func (m *RaftMachine) askIfStale(p *peer) {
	c := &p.contact
	if p.isLeader() {
		c.heard = p.ticks
		return
	}
	wait := uint64(staleAfter * m.cfg.ElectionTicks)
	if p.removed || c.doubts {
		wait = uint64(m.cfg.ElectionTicks) // it knows, and only waits to hear that the others do; or it has reason to doubt
	}
	if p.ticks-max(c.heard, c.asked) < wait {
		return
	}
	c.asked, c.doubts = p.ticks, false
	peers := append(append([]*metapb.Peer(nil), p.region.Peers...), p.members.seen...)
	if c.guide != nil {
		peers = append(peers, c.guide.Peers...)
	}
	if !p.initialized() { // all that it knows may be the leader that made it, and that may have been lost with its disk
		peers = append(peers, m.neighbours()...)
	}
	asked := map[uint64]bool{m.cfg.StoreID: true}
	for _, q := range peers {
		if !asked[q.StoreId] {
			asked[q.StoreId] = true
			m.round.Send = append(m.round.Send, m.staleMessage(p, q, raft_serverpb.ExtraMessageType_MsgCheckStalePeer))
		}
	}
}

// askLeader asks for a peer that sleeps. A leader that counts it among its own says nothing, and sleeps on.
func (m *RaftMachine) askLeader(p *peer) {
	if lead := p.leader(); lead != nil {
		m.round.Send = append(m.round.Send, m.staleMessage(p, lead, raft_serverpb.ExtraMessageType_MsgCheckStalePeer))
	}
}

// neighbours name every store that is known to live, or has a peer of a region that is here.
func (m *RaftMachine) neighbours() (peers []*metapb.Peer) {
	for _, id := range slices.Sorted(maps.Keys(m.alive)) {
		peers = append(peers, &metapb.Peer{StoreId: id})
	}
	for _, id := range m.order {
		for _, q := range m.peers[id].region.Peers {
			peers = append(peers, &metapb.Peer{StoreId: q.StoreId})
		}
	}
	return peers
}

func (m *RaftMachine) staleMessage(p *peer, to *metapb.Peer, kind raft_serverpb.ExtraMessageType) *raft_serverpb.RaftMessage {
	return &raft_serverpb.RaftMessage{
		RegionId: p.regionID, FromPeer: p.self(m.cfg.StoreID), ToPeer: to,
		RegionEpoch: &metapb.RegionEpoch{Version: p.region.RegionEpoch.GetVersion(), ConfVer: p.confVer()},
		ExtraMsg:    &raft_serverpb.ExtraMessage{Type: kind, CheckPeers: p.region.Peers},
	}
}

// hearOfStale takes a question, or somebody's guidance. It reports whether the message was one of these.
func (m *RaftMachine) hearOfStale(p *peer, msg *raft_serverpb.RaftMessage) bool {
	if msg.ExtraMsg == nil || msg.IsTombstone || p.ending {
		return false
	}
	switch msg.ExtraMsg.Type {
	case raft_serverpb.ExtraMessageType_MsgCheckStalePeer:
		m.tellStale(p, msg)
	case raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse:
		if msg.ToPeer.GetId() == p.id && p.isNews(msg.RegionEpoch.GetConfVer()) {
			p.contact.guide = &metapb.Region{Id: p.regionID, RegionEpoch: msg.RegionEpoch, Peers: msg.ExtraMsg.CheckPeers}
			p.contact.asked, p.contact.doubts = 0, true // ask these soon
			if p.sleep.asleep {
				m.touch(p)
			}
		}
	default:
		return false
	}
	return true
}

// tellStale answers a peer that asks, or that speaks from before its removal.
func (m *RaftMachine) tellStale(p *peer, msg *raft_serverpb.RaftMessage) {
	known, theirs := p.region.RegionEpoch.GetConfVer(), msg.RegionEpoch.GetConfVer()
	if !p.initialized() || known < theirs || region.FindPeer(p.region, msg.FromPeer.GetId()) != nil {
		return
	}
	if p.isLeader() && p.node.ChangesKnown() {
		m.round.Send = append(m.round.Send, m.bury(p, msg.FromPeer))
		return
	}
	m.round.Send = append(m.round.Send, m.staleMessage(p, msg.FromPeer, raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse))
}

// isNews reports whether guidance of this version is more than the peer knows. One without data may have the version of its own removal from the last words of the
// leader that removed it, and yet know nobody but that one.
func (p *peer) isNews(confVer uint64) bool {
	known := p.confVer()
	if guided := p.contact.guide.GetRegionEpoch().GetConfVer(); p.contact.guide != nil && guided >= known {
		return confVer > guided
	}
	return confVer > known || confVer == known && !p.initialized()
}

// bury tells a peer that it is not a member any more.
func (m *RaftMachine) bury(p *peer, gone *metapb.Peer) *raft_serverpb.RaftMessage {
	msg := m.staleMessage(p, gone, raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse)
	msg.IsTombstone = true
	return msg
}

// hearBurial destroys a peer that is told by somebody who knows better. One without data may have got its latest epoch from the last words of the very leader that
// had removed it.
func (m *RaftMachine) hearBurial(p *peer, msg *raft_serverpb.RaftMessage) {
	if theirs := msg.RegionEpoch.GetConfVer(); theirs > p.confVer() || theirs == p.confVer() && (p.removed || !p.initialized()) {
		p.contact.told = &metapb.Region{RegionEpoch: msg.RegionEpoch, Peers: msg.ExtraMsg.GetCheckPeers()}
		m.destroy(p)
	}
}

// noteDeparted remembers who has left, so that the leader can tell them when a majority knows it, and they have an address until then.
func (p *peer) noteDeparted(before, now *metapb.Region) {
	for _, q := range before.Peers {
		if q.Id != p.id && region.FindPeer(now, q.Id) == nil {
			p.members.remember(now, q)
			p.departed = append(p.departed, q)
		}
	}
}

// buryDeparted tells those who have left, once. One that does not hear it asks some day.
func (m *RaftMachine) buryDeparted(p *peer) {
	if len(p.departed) == 0 || p.isLeader() && !p.node.ChangesKnown() {
		return
	}
	for _, q := range p.departed {
		if p.isLeader() {
			m.round.Send = append(m.round.Send, m.bury(p, q))
		}
	}
	p.departed = nil
}

// maxContested bounds how many regions one message calls in question.
const maxContested = 8

// contest calls in question those who have a range that another region's peer waits for. They are the region of which it will be split off, most likely; or stale, and nobody
// else may come to say so: what waits for them may be the vote that its group needs. Found by the simulator (seed 4940).
func (m *StoreMachine) contest(round *Round, r *metapb.Region, but []uint64) {
	n := 0
	m.index.eachOverlapping(r, func(o *metapb.Region) bool {
		if !slices.Contains(but, o.Id) {
			m.forward(round, o.Id, Contested{o.Id})
			n++
		}
		return n < maxContested
	})
}

// handleContested makes a peer ask that has heard no leader for an election timeout.
func (m *RaftMachine) handleContested(mail Contested) {
	if p := m.peers[mail.RegionID]; p != nil && !p.ending && !p.isLeader() {
		p.contact.doubts = true
		m.touch(p)
	}
}

// tombstoneOf is the region as a destroyed peer's tombstone shows it: with the range of its data, and the latest members and epoch that are known.
func tombstoneOf(r, told *metapb.Region) *metapb.Region {
	if told.GetRegionEpoch().GetConfVer() <= r.RegionEpoch.GetConfVer() {
		return r
	}
	last := region.Clone(r)
	last.RegionEpoch = &metapb.RegionEpoch{Version: max(r.RegionEpoch.GetVersion(), told.RegionEpoch.Version), ConfVer: told.RegionEpoch.ConfVer}
	last.Peers = told.Peers
	return last
}
