package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// StoreMachine owns what belongs to the whole store: which ranges its regions cover, which peers exist, are being
// created or were destroyed, and whose snapshot may take which range.
type StoreMachine struct {
	storeID uint64
	index   *regionIndex
	// present is the peer of every region that a RaftMachine has, or was told to create.
	present map[uint64]uint64
	claims  map[uint64]*metapb.Region
	// tombstones are the last destroyed peer of each region: neither it nor an older one may come back (S7).
	tombstones map[uint64]Tombstone
	// orphans are raft states without a region: of peers that voted before their first snapshot, or were destroyed since. The region's next peer must
	// remember it.
	orphans map[uint64]*raft_serverpb.RaftLocalState
	merges  mergeDuties
	early   earlyMessages
	// near is nil unless regions may sleep.
	near *neighbours
}

// Tombstone is what is remembered of a destroyed peer: itself, and the region's members when it ceased to be one.
type Tombstone struct {
	PeerID, ConfVer uint64
	Members         []*metapb.Peer
	// Into is the region that took this one in, with the index of the preparation, if one did.
	Into *raft_serverpb.MergeState
	// Epoch and Records are the region's when it left, as a restart finds them: for the ApplyMachine.
	Epoch   *metapb.RegionEpoch
	Records []*raft_serverpb.MergedRecord
}

// StoreState is what a restart finds.
type StoreState struct {
	Regions    []Restored
	Tombstones map[uint64]Tombstone
	Orphans    map[uint64]*raft_serverpb.RaftLocalState
}

// NewStoreMachine returns the machine of a store that holds the given regions.
func NewStoreMachine(storeID uint64, s StoreState) (*StoreMachine, error) {
	m := &StoreMachine{
		storeID: storeID, index: newRegionIndex(), present: make(map[uint64]uint64), claims: make(map[uint64]*metapb.Region),
		tombstones: make(map[uint64]Tombstone), orphans: make(map[uint64]*raft_serverpb.RaftLocalState),
		merges: newMergeDuties(s.Regions),
	}
	for id, t := range s.Tombstones { // order-free: a copy
		m.tombstones[id] = t
	}
	for id, o := range s.Orphans { // order-free: a copy
		m.orphans[id] = o
	}
	for _, r := range s.Regions {
		if o := m.index.overlapping(r.Region); o != nil {
			return nil, errors.Errorf("store %d: regions %d and %d overlap", storeID, o.Id, r.Region.Id)
		}
		m.index.put(r.Region)
		m.present[r.Region.Id] = r.PeerID
	}
	return m, nil
}

// Handle takes a batch of mail.
func (m *StoreMachine) Handle(mail []Mail, _ Instant) Round {
	var round Round
	for _, one := range mail {
		switch mail := one.(type) {
		case Unknown:
			m.handleUnknown(&round, mail.Msg)
		case Claim:
			m.handleClaim(&round, mail)
		case Unclaim:
			delete(m.claims, mail.RegionID)
			m.merges.unclaim(mail.RegionID)
		case Covers:
			delete(m.claims, mail.Region.Id)
			if _, ok := m.present[mail.Region.Id]; ok {
				m.index.put(mail.Region)
				m.merges.note(mail.Region.Id, mail.Into)
			}
		case Inherits:
			m.handleInherits(mail)
		case Yielded:
			m.merges.yielded[mail.RegionID] = true
			m.retryClaims(&round)
		case MergedAway:
			m.handleMergedAway(&round, mail)
		case CoversAll:
			m.handleCoversAll(&round, mail)
		case Gone:
			m.handleGone(mail)
			m.retryClaims(&round)
		case Tick:
			m.handleStoreTick(&round)
		case Step:
			m.hearStore(&round, mail.Msg)
		default:
			panic(errors.Errorf("machine: the StoreMachine got %T", one))
		}
	}
	return round
}

// handleUnknown decides whether a message for a region that is not here shall make a peer.
func (m *StoreMachine) handleUnknown(round *Round, msg *raft_serverpb.RaftMessage) {
	id, to := msg.RegionId, msg.ToPeer
	if _, ok := m.present[id]; ok {
		m.forward(round, id, Step{msg}) // created meanwhile; a Step that finds nobody comes back here, after Gone
		return
	}
	if msg.ExtraMsg.GetType() == raft_serverpb.ExtraMessageType_MsgCheckStalePeer {
		if t, ok := m.tombstones[id]; ok {
			m.tellStale(round, msg, t)
		}
		return
	}
	if to.GetStoreId() != m.storeID || to.GetId() == 0 || msg.IsTombstone || !isInitial(msg) {
		return
	}
	if t, ok := m.tombstones[id]; ok && (to.Id <= t.PeerID || msg.RegionEpoch.GetConfVer() < t.ConfVer) {
		m.tellStale(round, msg, t)
		return
	}
	announced, sources := &metapb.Region{Id: id, StartKey: msg.StartKey, EndKey: msg.EndKey}, m.sourcesOf(id)
	if m.taken(announced, sources) {
		m.early.keep(msg) // a split that is still to come makes the peer, most likely (S5, S6)
		m.contest(round, announced, sources)
		return
	}
	m.create(round, msg)
}

// create makes the peer that a message is for.
func (m *StoreMachine) create(round *Round, first *raft_serverpb.RaftMessage) {
	id, peerID := first.RegionId, first.ToPeer.GetId()
	m.present[id] = peerID
	state := m.orphans[id]
	delete(m.orphans, id)
	m.forward(round, id, Create{RegionID: id, PeerID: peerID, State: state, First: first})
}

// tellStale tells a peer that it was removed, if this store's own peer of the region has outlived that: everybody else whom it knows may be gone as
// well (S8). Else it names the members that were left when the own peer was removed; one of them knows more.
func (m *StoreMachine) tellStale(round *Round, msg *raft_serverpb.RaftMessage, t Tombstone) {
	gone := true
	for _, p := range t.Members {
		gone = gone && p.Id != msg.FromPeer.GetId()
	}
	if t.Into != nil && !gone {
		tellMerged(round, msg, t)
		return
	}
	if len(t.Members) == 0 || msg.RegionEpoch.GetConfVer() >= t.ConfVer {
		return
	}
	round.Send = append(round.Send, &raft_serverpb.RaftMessage{
		RegionId: msg.RegionId, FromPeer: msg.ToPeer, ToPeer: msg.FromPeer, IsTombstone: gone,
		RegionEpoch: &metapb.RegionEpoch{ConfVer: t.ConfVer, Version: msg.RegionEpoch.GetVersion()},
		ExtraMsg:    &raft_serverpb.ExtraMessage{Type: raft_serverpb.ExtraMessageType_MsgCheckStalePeerResponse, CheckPeers: t.Members},
	})
}

// isInitial reports whether a message is one that a new peer may hear first: all others answer something that it never asked.
func isInitial(msg *raft_serverpb.RaftMessage) bool {
	switch msg.Message.GetMsgType() {
	case eraftpb.MessageType_MsgAppend, eraftpb.MessageType_MsgHeartbeat, eraftpb.MessageType_MsgRequestVote, eraftpb.MessageType_MsgRequestPreVote:
		return msg.RegionEpoch != nil
	}
	return false
}

func (m *StoreMachine) handleGone(g Gone) {
	if m.present[g.RegionID] != g.PeerID {
		m.forget(g)
		return
	}
	delete(m.present, g.RegionID)
	delete(m.claims, g.RegionID)
	m.index.remove(g.RegionID)
	m.merges.forget(g.RegionID)
	m.merges.unclaim(g.RegionID)
	if g.State != nil {
		m.orphans[g.RegionID] = g.State
	}
	m.tombstones[g.RegionID] = Tombstone{PeerID: g.PeerID, ConfVer: g.Region.GetRegionEpoch().GetConfVer(), Members: g.Region.GetPeers(), Into: g.Into}
}

func (m *StoreMachine) forward(round *Round, regionID uint64, mail Mail) {
	round.Mail = append(round.Mail, Addressed{RegionID: regionID, Mail: mail})
}
