package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// A received snapshot whose file turns out to be damaged, or gone, when it is to be installed. Raft has accepted it already and cannot go
// back, but nothing of it is durable and nothing was promised: the peer goes through what a crash of its store would mean to it.
//
// apply    the ingestion fails before it changes anything; ApplyMachine.InstallFailed takes the region's former applier back.
// after    when all earlier writes of the peer are durable, a Reload task reads what the disk has of it, and a new raft node takes the place of the
//          old one. The leader finds the log where it was, and sends its snapshot again.

type (
	// InstallFailed says that a snapshot's data could not be had.
	InstallFailed struct{ RegionID, PeerID uint64 }
	// Reload reads what the disk has of a peer; answered by Reloaded.
	Reload struct{ RegionID, PeerID uint64 }
	// Reloaded brings it. Its Region is nil when the peer has no data; State is its raft state then, or nil.
	Reloaded struct {
		RegionID, PeerID uint64
		Restored         Restored
		State            *raft_serverpb.RaftLocalState
	}
)

func (InstallFailed) isMail() {}
func (Reloaded) isMail()      {}
func (Reload) isTask()        {}

// InstallFailed undoes the last Handle, which was an installation that the engine does not have.
func (m *ApplyMachine) InstallFailed(in *Installation) ApplyRound {
	id := in.Region.Id
	peerID := m.appliers[id].peerID
	delete(m.appliers, id)
	if m.replaced != nil {
		m.appliers[id] = m.replaced
	}
	return ApplyRound{Mail: []Addressed{{RegionID: id, Mail: InstallFailed{RegionID: id, PeerID: peerID}}}}
}

func (m *RaftMachine) handleInstallFailed(mail InstallFailed) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	p.snap.failed, p.snap.after = true, nil
	m.dropReceived(p.regionID, p.snap.at)
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Unclaim{p.regionID}})
	m.reload(p)
}

// reload begins once nothing of the peer is on its way to the disk.
func (m *RaftMachine) reload(p *peer) {
	if p.snap.failed && p.persist.done == p.persist.given {
		m.round.Tasks = append(m.round.Tasks, Reload{RegionID: p.regionID, PeerID: p.id})
	}
}

func (m *RaftMachine) handleReloaded(mail Reloaded) {
	old := m.peers[mail.RegionID]
	if old == nil || old.id != mail.PeerID || old.ending || !old.snap.failed {
		return
	}
	m.abandonWrites(old, old.notLeader())
	m.abandonReads(old, old.notLeader())
	m.dropBuilt(old)
	p, err := m.reborn(mail)
	if err != nil {
		panic(errors.Annotatef(err, "machine: %s cannot be read again", old)) // as at a start, what is on disk makes no sense
	}
	old.ending = true // should it stand on a list of this round
	m.withdraw(old)   // what it showed of itself was not all durable: the new node may be in an earlier term
	p.view, p.ticks, p.members, p.contact = &RegionView{}, old.ticks, old.members, old.contact
	m.peers[p.regionID] = p
	m.awake = append(m.awake, p)
	p.sleep.listed = true
	if p.merge.yielded = old.merge.yielded; old.merge.yields { // it is not said twice
		m.handleCatchUp(CatchUp{RegionID: p.regionID, PeerID: p.id, Index: old.merge.catchUp, Yield: true})
	}
	m.touch(p)
}

func (m *RaftMachine) reborn(mail Reloaded) (*peer, error) {
	if mail.Restored.Region != nil {
		mail.Restored.PeerID = mail.PeerID
		return m.restore(mail.Restored)
	}
	p := &peer{regionID: mail.RegionID, id: mail.PeerID, region: &metapb.Region{Id: mail.RegionID}, log: &peerLog{}}
	if mail.State != nil {
		p.log.initial = *mail.State.HardState
		p.log.initial.Commit = 0
	}
	return p, m.start(p, m.silence())
}
