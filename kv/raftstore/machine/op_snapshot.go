package machine

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/raft"
)

// A snapshot brings a peer up to date that needs entries which are gone.
//
// build    raft asks peerLog for one; a BuildSnapshot task takes the state engine's snapshot, at an exact applied index, and holds it.
// send     the transport reads what is held while it streams it beside raft's message, once for each receiver; SnapshotSent tells raft how that
//          ended. One that did not arrive is let go, and the next attempt takes another. One that did is held for a while: its receiver may
//          have to refuse it for now, and then has it already when it comes again.
// claim    the receiver asks the StoreMachine for the range: no other region, no other snapshot may cover it (S3). When it is refused the
//          data stays, and the leader's next attempt finds it there. What nobody came back for is removed by its age.
// install  raft accepts it (a stale one is refused, R12); until the end of the install this peer's raft says nothing. The ApplyMachine, after all
//          earlier entries of the region, ingests the data together with region state, apply state and an install marker, durably
//          → the log writer resets the log to (index, term), keeping term and vote → only then the acknowledgement leaves, and the
//          marker is cleared. A crash in between: at start the marker finishes the job (S2).

type snapshotState struct {
	// building: a BuildSnapshot task is on its way. claimed: a claim was granted that has not been settled.
	building, claimed bool
	offered           *raft_serverpb.RaftMessage
	// absorbs came with the claim.
	absorbs []uint64
	// installing: from raft's acceptance until the log is reset.
	installing bool
	// failed: what is being installed is not to be had. See op_reload.go.
	failed bool
	number uint64
	at     Pair
	after  []*raft_serverpb.RaftMessage
}

// Installation is a snapshot for the ApplyMachine to put in place of the region's data.
type Installation struct {
	Region *metapb.Region
	At     Pair
	// Merge says that the region is frozen.
	Merge *raft_serverpb.MergeState
	// Records are the merges that the region remembers, Absorbs those of them whose sources are on this store and have yielded.
	Records []*raft_serverpb.MergedRecord
	Absorbs []uint64
}

// uses says that the received data of the snapshot that ends at at is still wanted.
func (s *snapshotState) uses(at Pair) bool {
	return s.installing && s.at == at || s.offered != nil && snapshotPair(s.offered.Message.Snapshot) == at
}

func (m *RaftMachine) receiveSnapshot(p *peer, msg *raft_serverpb.RaftMessage) {
	var data raft_serverpb.RaftSnapshotData
	at := snapshotPair(msg.Message.GetSnapshot())
	err := data.Unmarshal(msg.Message.GetSnapshot().GetData())
	if err == nil {
		_, err = mergeStateOf(&data)
	}
	if err != nil || data.Region.GetId() != p.regionID || p.snap.installing || p.snap.offered != nil {
		if !p.snap.uses(at) { // it may be the same one, once more
			m.dropReceived(p.regionID, at)
		}
		return
	}
	p.snap.offered = msg
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Claim{Region: data.Region, Records: data.MergedRecords}})
}

// handleClaimGranted steps the snapshot that the claim was for. A refused claim comes here too, without a message.
func (m *RaftMachine) handleClaimGranted(mail ClaimGranted) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending || p.snap.offered == nil {
		m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Unclaim{mail.RegionID}})
		return
	}
	msg := p.snap.offered
	if !mail.Granted {
		p.snap.offered = nil // the data stays for the leader's next attempt, which then costs a message only
		return
	}
	p.snap.claimed, p.snap.absorbs = true, mail.Absorbs
	m.step(p, msg.Message)
	m.touch(p)
}

// settleClaim gives back what raft did not want: the snapshot was stale, or the log reaches that far already.
func (m *RaftMachine) settleClaim(p *peer) {
	if !p.snap.claimed {
		return
	}
	offered := p.snap.offered
	p.snap.claimed, p.snap.offered = false, nil
	if !p.snap.installing {
		m.dropReceived(p.regionID, snapshotPair(offered.Message.Snapshot))
		m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Unclaim{p.regionID}})
	}
}

// installSnapshot holds everything that the Ready promises back until the data is in place.
func (m *RaftMachine) installSnapshot(p *peer, rd *raft.Ready) {
	var data raft_serverpb.RaftSnapshotData
	err := data.Unmarshal(rd.Snapshot.Data)
	if err != nil {
		panic("machine: raft accepted a snapshot that receiveSnapshot refuses: " + err.Error())
	}
	if len(rd.Entries) > 0 {
		panic(fmt.Sprintf("machine: %s: entries from index %d on came with a snapshot", p, rd.Entries[0].Index))
	}
	p.snap.installing, p.snap.number, p.snap.at = true, p.persist.base+rd.Number, snapshotPair(&rd.Snapshot)
	p.snap.after = m.envelopes(p, nil, rd.PersistedMessages)
	merge, _ := mergeStateOf(&data) // receiveSnapshot has seen that it can be read
	m.round.Apply = append(m.round.Apply, ApplyTask{
		RegionID: p.regionID, PeerID: p.id,
		Install: &Installation{Region: data.Region, At: p.snap.at, Merge: merge, Records: data.MergedRecords, Absorbs: p.snap.absorbs},
	})
}

// resetLog follows when the state engine durably holds the snapshot.
func (m *RaftMachine) resetLog(p *peer, res *ApplyResults) {
	p.region, p.applied, p.damage, p.check = res.Region, res.Applied, "", HashCheck{}
	p.merge.state, p.merge.since = res.Merge.frozenBy(), 0
	p.log.reset(res.Applied)
	task := WriteTask{PeerID: p.id, Number: p.snap.number, After: p.snap.after}
	task.RegionID, task.Reset, task.Sync, task.State = p.regionID, true, true, p.localState()
	p.snap.after, p.persist.given = nil, p.snap.number
	m.round.Write = append(m.round.Write, task)
	m.round.Mail = append(m.round.Mail, Addressed{Store: true, Mail: Covers{Region: p.region, Into: p.merge.state.GetTarget().GetId()}})
}

// snapshotInstalled follows when the log has been reset: raft goes on from there.
func (m *RaftMachine) snapshotInstalled(p *peer) {
	p.snap.installing = false
	p.node.Applied(p.snap.at.Index)
	m.round.Apply = append(m.round.Apply, ApplyTask{RegionID: p.regionID, PeerID: p.id, ClearMarker: true})
	m.dropReceived(p.regionID, p.snap.at)
}

func (m *RaftMachine) handleSnapshotBuilt(mail SnapshotBuilt) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		if mail.Snapshot != nil {
			m.round.Tasks = append(m.round.Tasks, DropSnapshot{RegionID: mail.RegionID, At: snapshotPair(mail.Snapshot)})
		}
		return
	}
	p.snap.building, p.log.wantSnapshot = false, false
	if mail.Snapshot == nil {
		return // raft asks again with the next answer of the peer that needs it
	}
	if old := p.log.snapshot; old == nil || snapshotPair(old) != snapshotPair(mail.Snapshot) {
		m.dropBuilt(p)
	}
	p.log.snapshot = mail.Snapshot
	p.node.SnapshotAvailable()
	m.touch(p)
}

func (m *RaftMachine) handleSnapshotSent(mail SnapshotSent) {
	p := m.peers[mail.RegionID]
	if p == nil || p.ending || !p.isLeader() {
		return
	}
	if !mail.OK {
		// What is held may be what is wrong: the next attempt gets a new one.
		m.dropBuilt(p)
	}
	p.node.ReportSnapshot(mail.ToPeer, mail.OK)
	m.touch(p)
}

// dropBuilt forgets the snapshot that was built last.
func (m *RaftMachine) dropBuilt(p *peer) {
	if p.log.snapshot != nil {
		m.round.Tasks = append(m.round.Tasks, DropSnapshot{RegionID: p.regionID, At: snapshotPair(p.log.snapshot)})
		p.log.snapshot = nil
	}
}

func (m *RaftMachine) dropReceived(regionID uint64, at Pair) {
	m.round.Tasks = append(m.round.Tasks, DropSnapshot{RegionID: regionID, At: at, Received: true})
}

func snapshotPair(s *eraftpb.Snapshot) Pair {
	return Pair{s.GetMetadata().GetIndex(), s.GetMetadata().GetTerm()}
}
