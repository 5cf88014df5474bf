package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/proto/region"
)

// Adoption gives a region that a split has made on this store its peer.
//
// check    handleCoversAll, by the StoreMachine: the index gets all parts at once. A region that is destroyed already is not adopted (S5).
// after    handleAdopt: the peer is made, or the one that was there without data is given the region; what it has promised holds. A younger peer
//          stays, and what the split made for its elder is destroyed. Messages that came before the split are heard now (S6).

// earlyMessages are first messages for peers whose range another region still has. Most are from the peers of a region that a split makes, on stores
// that were quicker to apply it.
type earlyMessages struct{ kept []*raft_serverpb.RaftMessage }

// maxEarly and maxEarlyPerRegion bound them; the oldest go first.
const (
	maxEarly          = 256
	maxEarlyPerRegion = 8
)

func (e *earlyMessages) keep(msg *raft_serverpb.RaftMessage) {
	oldest, n := 0, 0
	for i, k := range e.kept {
		if k.RegionId == msg.RegionId {
			if n == 0 {
				oldest = i
			}
			n++
		}
	}
	if n >= maxEarlyPerRegion {
		e.kept = append(e.kept[:oldest], e.kept[oldest+1:]...)
	} else if len(e.kept) >= maxEarly {
		e.kept = append(e.kept[:0], e.kept[1:]...)
	}
	e.kept = append(e.kept, msg)
}

// take removes and returns what was kept for a region.
func (e *earlyMessages) take(regionID uint64) (found []*raft_serverpb.RaftMessage) {
	rest := e.kept[:0]
	for _, k := range e.kept {
		if k.RegionId == regionID {
			found = append(found, k)
		} else {
			rest = append(rest, k)
		}
	}
	clear(e.kept[len(rest):])
	e.kept = rest
	return found
}

// handleCoversAll moves all ranges of a split at once (S3, S4).
func (m *StoreMachine) handleCoversAll(round *Round, mail CoversAll) {
	divided := mail.Regions[len(mail.Regions)-1]
	if _, ok := m.present[divided.Id]; ok {
		m.index.put(divided)
	}
	for _, r := range mail.Regions[:len(mail.Regions)-1] {
		self := region.FindPeerOn(r, m.storeID).GetId()
		early := m.early.take(r.Id)
		if t, ok := m.tombstones[r.Id]; ok && t.PeerID >= self {
			continue // the apply queue had its destruction behind the split, and the data is gone
		}
		m.index.put(r)
		_, exists := m.present[r.Id]
		if !exists {
			m.present[r.Id] = self
		}
		m.forward(round, r.Id, Adopt{Region: r, PeerID: self, State: m.orphans[r.Id], Existing: exists, Campaign: mail.Campaign})
		delete(m.orphans, r.Id)
		for _, msg := range early {
			m.forward(round, r.Id, Step{msg})
		}
	}
}

// forget takes in that what a split has made for a peer that is not the region's last is gone.
func (m *StoreMachine) forget(g Gone) {
	if r := m.index.byID[g.RegionID]; r != nil && region.FindPeerOn(r, m.storeID).GetId() == g.PeerID {
		m.index.remove(g.RegionID)
	}
}

func (m *RaftMachine) handleAdopt(a Adopt) {
	p := m.peers[a.Region.Id]
	switch {
	case p == nil && a.Existing:
		return // destroyed meanwhile, with all that the split made
	case p == nil:
		p = &peer{regionID: a.Region.Id}
		m.add(p)
	case p.id > a.PeerID:
		m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: a.PeerID, Destroy: a.Region})
		return
	case p.ending:
		return
	case p.initialized() || p.snap.claimed || p.snap.installing:
		panic(errors.Errorf("machine: %s is to be adopted as peer %d of %v, and has data", p, a.PeerID, a.Region))
	default:
		hs := p.node.Raft.HardState()
		a.State = &raft_serverpb.RaftLocalState{HardState: &hs}
	}
	m.giveBirth(p, a)
	m.touch(p)
}

// giveBirth gives the peer its region and a raft node that begins where the region does.
func (m *RaftMachine) giveBirth(p *peer, a Adopt) {
	silence := 0
	if a.State != nil {
		silence = m.silence() // an earlier peer may have given a lease
	}
	if p.snap.offered != nil {
		m.dropReceived(p.regionID, snapshotPair(p.snap.offered.Message.Snapshot))
		p.snap.offered = nil
	}
	state, at := BirthState(a.State), Pair{InitIndex, InitTerm}
	p.id, p.region, p.applied = a.PeerID, a.Region, at
	p.log = &peerLog{initial: *state.HardState, truncated: at, last: at, start: at, conf: *ConfStateOf(a.Region)}
	if err := m.start(p, silence); err != nil {
		panic(err) // the configuration was good for every other peer
	}
	p.persist.given++
	p.persist.base = p.persist.given
	task := WriteTask{PeerID: p.id, Number: p.persist.given}
	task.RegionID, task.State, task.Sync = p.regionID, state, true
	m.round.Write = append(m.round.Write, task)
	if a.Campaign && silence == 0 {
		_ = p.node.Campaign() // if raft does not want to, an election timeout decides
	}
}
