package machine

import (
	"encoding/binary"

	"github.com/shoal-kv/shoal/proto/region"
)

// A read without a lease.
//
// check    the peer leads and the range's version is what the reader saw.
// propose  nothing: raft asks a quorum whether this leader is still the leader (ReadIndex). All reads of one round share one question.
// apply    the answer names an index; the read waits until that much is applied here, in the leader's own term (R10).
// after    the shell takes the engine's snapshot. When leadership is lost before, the reader is told so and asks again.
//
// The short way, under a lease, does not come here: see RegionView.StillHolds. There is one definition of the lease: raft says
// which heartbeat round a quorum has acknowledged, and the machine has noted at which Instant that round's Handle began.

// readBatch is the reads that share one ReadIndex.
type readBatch struct {
	ctx   uint64
	reads []*ReadRequest
	// index is what must be applied; 0 until a quorum has answered.
	index uint64
	// asked counts ticks, so that a question that got lost is asked again.
	asked uint64
}

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
	if err := p.checkLeader(r.PeerID); err != nil {
		return err
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
	m.nextRead++
	p.reads = append(p.reads, &readBatch{ctx: m.nextRead, reads: p.newReads, asked: p.ticks})
	p.newReads = nil
	p.node.ReadIndex(binary.BigEndian.AppendUint64(nil, m.nextRead))
}

// retryReads asks again for what got no answer within an election timeout.
func (m *RaftMachine) retryReads(p *peer) {
	for _, b := range p.reads {
		if b.index == 0 && p.ticks-b.asked >= uint64(m.cfg.ElectionTicks) {
			m.nextRead++
			b.ctx, b.asked = m.nextRead, p.ticks
			p.node.ReadIndex(binary.BigEndian.AppendUint64(nil, b.ctx))
		}
	}
}

// confirmReads takes raft's answers.
func (p *peer) confirmRead(ctx []byte, index uint64) {
	if len(ctx) != 8 {
		return
	}
	for _, b := range p.reads {
		if b.ctx == binary.BigEndian.Uint64(ctx) {
			b.index = index
		}
	}
}

// grantReads answers the reads whose index is applied.
func (m *RaftMachine) grantReads(p *peer) {
	if len(p.reads) == 0 || p.applied.Term != p.term() {
		return
	}
	kept := p.reads[:0]
	for _, b := range p.reads {
		if b.index == 0 || b.index > p.applied.Index {
			kept = append(kept, b)
			continue
		}
		for _, r := range b.reads {
			rep := Reply{Grant: r.Grant, Read: ReadGrant{Region: p.region, Term: p.term()}}
			if r.Version != p.region.RegionEpoch.Version {
				rep = Reply{Grant: r.Grant, Err: p.epochNotMatch()} // the range has moved meanwhile (S14)
			}
			m.round.Reply = append(m.round.Reply, rep)
		}
	}
	clear(p.reads[len(kept):])
	p.reads = kept
}

func (m *RaftMachine) abandonReads(p *peer, err error) {
	for _, b := range p.reads {
		p.newReads = append(p.newReads, b.reads...)
	}
	for _, r := range p.newReads {
		m.round.Reply = append(m.round.Reply, Reply{Grant: r.Grant, Err: err})
	}
	p.reads, p.newReads = nil, nil
}
