package machine

import "github.com/pingcap/kvproto/pkg/metapb"

// duties are what a leader does now and then. Only a leader reports to the scheduler: at once when it begins to lead, its peers change,
// or one of them falls silent or is heard again, and every RegionHeartbeatTicks otherwise.
type duties struct {
	reportNow bool
	// reported is the term in which the last report was made, and pending and down how many peers it called so.
	reported      uint64
	pending, down int
	shownAt       uint64
	// leadsSince is the tick at which the term reported in began.
	leadsSince uint64
	// compactTo is where the log shall be cut as soon as the entry's term has been read from disk.
	compactTo uint64
}

func (m *RaftMachine) doDuties(p *peer) {
	if !p.isLeader() {
		return
	}
	if m.cfg.LogGC.Ticks > 0 && p.ticks%uint64(m.cfg.LogGC.Ticks) == 0 {
		m.round.Lags = append(m.round.Lags, p.lag())
		m.compactLog(p)
	}
	if m.cfg.RegionHeartbeatTicks > 0 && p.ticks%uint64(m.cfg.RegionHeartbeatTicks) == 0 {
		p.duties.reportNow = true
	}
	m.watchSize(p)
	if p.duties.pending > 0 && p.duties.pending != len(p.pendingPeers()) || p.duties.down != len(p.downPeers(uint64(m.cfg.ElectionTicks))) {
		p.duties.reportNow = true
	}
}

// reportChange reports to the scheduler when there is something to say. A change of peers is reported when another one would be taken: the answer may be
// the next step of what the scheduler does, and a step that is refused is repeated only seconds later.
func (m *RaftMachine) reportChange(p *peer) {
	if !p.isLeader() || p.removed || p.applied.Term != p.term() || p.node.ChangeHeld() {
		return
	}
	if !p.duties.reportNow && p.duties.reported == p.term() {
		return
	}
	if p.duties.reported != p.term() {
		p.duties.leadsSince = p.ticks
	}
	pending, down := p.pendingPeers(), p.downPeers(uint64(m.cfg.ElectionTicks))
	p.duties.reportNow, p.duties.reported, p.duties.pending, p.duties.down = false, p.term(), len(pending), len(down)
	size, keys := p.size.now()
	m.round.Ask = append(m.round.Ask, RegionHeartbeat{
		Size: size, Keys: keys,
		Region: p.region, Leader: p.self(m.cfg.StoreID), Term: p.term(), Pending: pending, Down: down,
	})
}

// pendingPeers are those that need entries which the log does not have any more.
func (p *peer) pendingPeers() []*metapb.Peer {
	progress := p.node.GetProgress()
	var pending []*metapb.Peer
	for _, q := range p.region.Peers {
		if pr, ok := progress[q.Id]; ok && q.Id != p.id && pr.Match < p.log.truncated.Index {
			pending = append(pending, q)
		}
	}
	return pending
}

// downAfter is the number of election timeouts after which a silent peer is reported as down.
const downAfter = 5

// downPeers are those that have been silent for long, while this peer led.
func (p *peer) downPeers(electionTicks uint64) []DownPeer {
	var down []DownPeer
	for _, q := range p.region.Peers {
		if silent := p.members.silence(q.Id, p.duties.leadsSince, p.ticks); q.Id != p.id && silent > downAfter*electionTicks {
			down = append(down, DownPeer{Peer: q, Ticks: silent})
		}
	}
	return down
}

func (m *RaftMachine) handleResend() {
	for _, id := range m.order {
		p := m.peers[id]
		p.duties.reportNow = true
		m.list(p)
	}
}
