package machine

import (
	"encoding/binary"

	"github.com/shoal-kv/shoal/proto/region"
)

// A read without a lease, or from a follower.
//
// check    the peer leads, or the reader is content with any replica, and the range's version is what the reader saw.
// propose  nothing: raft asks a quorum whether the leader is still the leader (ReadIndex); a follower asks its leader to do so. All reads of one round
//          share one question.
// apply    the answer names an index; the read waits until that much is applied here, on a leader in its own term (R10). The range's version
//          is judged again: an entry up to that index may have given a part of the range to another region, whose writes are not this region's business (S14).
// after    the shell takes the engine's snapshot, and looks at the region once more. When leadership is lost before, or no leader is known, the reader
//          is told so and asks again.
//
// The short way, under a lease, does not come here: see RegionView.StillHolds. There is one definition of the lease: raft says
// which heartbeat round a quorum has acknowledged, and the machine has noted at which Instant that round's Handle began.

// readBatch is the reads that share one ReadIndex.
type readBatch struct {
	// id tells this question from all others that this store has asked since it started.
	id    uint64
	reads []*ReadRequest
	// index is what must be applied; 0 until a quorum has answered.
	index uint64
	// asked is the tick of the last question, so that one that got lost is asked again; since is that of the first.
	asked, since uint64
}

// replicaPatience is the number of election timeouts that a follower waits for its leader's answer.
const replicaPatience = 2

func (m *RaftMachine) handleRead(r *ReadRequest) {
	p := m.peers[r.RegionID]
	if err := m.admitRead(p, r); err != nil {
		m.round.Reply = append(m.round.Reply, Reply{Grant: r.Grant, Err: err})
		return
	}
	p.newReads = append(p.newReads, r)
	m.touch(p)
}

func (m *RaftMachine) admitRead(p *peer, r *ReadRequest) error {
	if p == nil {
		return &region.NotFoundError{RegionID: r.RegionID}
	}
	switch err := p.checkLeader(r.PeerID).(type) {
	case nil:
	case *region.NotLeaderError:
		if !r.Replica || err.Leader == nil {
			return err
		}
	default:
		return err
	}
	if !p.initialized() {
		return &region.NotInitializedError{RegionID: p.regionID}
	}
	if err := p.damaged(); err != nil {
		return err
	}
	if p.merge.frozen() {
		return &region.MergingError{RegionID: p.regionID}
	}
	if r.Version != p.region.RegionEpoch.Version {
		return p.epochNotMatch()
	}
	return nil
}

// askReadIndex sends this round's reads off together.
func (m *RaftMachine) askReadIndex(p *peer) {
	if len(p.newReads) == 0 {
		return
	}
	b := &readBatch{reads: p.newReads, since: p.ticks}
	p.reads, p.newReads = append(p.reads, b), nil
	m.ask(p, b)
}

// ask names the question by peer, start of the store and number: a late answer to a question of an earlier life, or of another peer, must not
// answer this one (R9).
func (m *RaftMachine) ask(p *peer, b *readBatch) {
	m.nextRead++
	b.id, b.asked = m.nextRead, p.ticks
	ctx := binary.BigEndian.AppendUint64(make([]byte, 0, 24), p.id)
	ctx = binary.BigEndian.AppendUint64(ctx, m.cfg.Seed)
	p.node.ReadIndex(binary.BigEndian.AppendUint64(ctx, b.id))
}

// retryReads asks again for what got no answer within an election timeout; a follower gives up some day.
func (m *RaftMachine) retryReads(p *peer) {
	kept := p.reads[:0]
	for _, b := range p.reads {
		timeout := uint64(m.cfg.ElectionTicks)
		switch {
		case !p.isLeader() && p.ticks-b.since >= replicaPatience*timeout:
			m.refuseReads(b.reads, &region.ReadIndexNotReadyError{RegionID: p.regionID, Reason: "the leader does not answer, or this replica lags"})
			continue
		case b.index == 0 && p.ticks-b.asked >= timeout:
			m.ask(p, b)
		}
		kept = append(kept, b)
	}
	clear(p.reads[len(kept):])
	p.reads = kept
}

// confirmRead takes one of raft's answers.
func (m *RaftMachine) confirmRead(p *peer, ctx []byte, index uint64) {
	if len(ctx) != 24 || binary.BigEndian.Uint64(ctx) != p.id || binary.BigEndian.Uint64(ctx[8:]) != m.cfg.Seed {
		return
	}
	for _, b := range p.reads {
		if b.id == binary.BigEndian.Uint64(ctx[16:]) {
			b.index = index
		}
	}
}

// grantReads answers the reads whose index is applied.
func (m *RaftMachine) grantReads(p *peer) {
	if len(p.reads) == 0 || p.snap.installing || p.isLeader() && p.applied.Term != p.term() {
		return
	}
	kept := p.reads[:0]
	for _, b := range p.reads {
		if b.index == 0 || b.index > p.applied.Index {
			kept = append(kept, b)
			continue
		}
		for _, r := range b.reads {
			m.grant(p, r)
		}
	}
	clear(p.reads[len(kept):])
	p.reads = kept
}

func (m *RaftMachine) grant(p *peer, r *ReadRequest) {
	if r.Version != p.region.RegionEpoch.Version {
		m.refuseReads([]*ReadRequest{r}, p.epochNotMatch())
		return
	}
	m.round.Reply = append(m.round.Reply, Reply{Grant: r.Grant, Read: ReadGrant{Region: p.region, Term: p.applied.Term}})
}

// settleReads tells the readers of a peer that does not lead. Those who are content with any replica go on as long as there is a leader to ask.
func (m *RaftMachine) settleReads(p *peer) {
	if p.isLeader() || len(p.reads) == 0 && len(p.newReads) == 0 {
		return
	}
	err := p.notLeader()
	if p.leader() == nil {
		m.abandonReads(p, err)
		return
	}
	kept := p.reads[:0]
	for _, b := range p.reads {
		mine := b.reads[:0]
		for _, r := range b.reads {
			if r.Replica {
				mine = append(mine, r)
			} else {
				m.refuseReads([]*ReadRequest{r}, err)
			}
		}
		if b.reads = mine; len(mine) > 0 {
			kept = append(kept, b)
		}
	}
	clear(p.reads[len(kept):])
	p.reads = kept
}

func (m *RaftMachine) abandonReads(p *peer, err error) {
	for _, b := range p.reads {
		m.refuseReads(b.reads, err)
	}
	m.refuseReads(p.newReads, err)
	p.reads, p.newReads = nil, nil
}

func (m *RaftMachine) refuseReads(reads []*ReadRequest, err error) {
	for _, r := range reads {
		m.round.Reply = append(m.round.Reply, Reply{Grant: r.Grant, Err: err})
	}
}
