package machine

import (
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft"
)

// A write's life.
//
// check    admit: the peer leads, the term and the range's version are those that the writer saw; else rejected, now.
// propose  proposeWaiting, at the end of each round: all that waits at the region becomes one entry. At most one own entry
//          is on its way to this store's log at a time: while its sync runs, the next one gathers (group commit by itself). While an entry
//          waits for the other stores, the next one goes only if much waits: so a region with few clients makes few entries of
//          several writes, not many of one. With 48 regions that is a sixth of a write's CPU.
// apply    applier.applyWrite: version and keys are judged again, in log order, and the answer is given by apply.
// after    When leadership is lost, what is still waiting was never proposed and is rejected; what is in the log may yet be
//          committed by the next leader: undetermined. Entries and answers meet by index *and* term (S12).

// waitingWrites is what has been admitted but not proposed.
type waitingWrites struct {
	queue []*Proposal
	bytes uint64
	// held says that they wait for the next group.
	held bool
}

// pendingEntry is a proposed entry of this leader, with those who wait for its commands, in the entry's order.
type pendingEntry struct {
	Pair
	proposals []*Proposal
	// group is the group that it set out with, or 0.
	group uint64
}

func (m *RaftMachine) handlePropose(pr *Proposal) {
	p := m.peers[pr.RegionID]
	if err := m.admit(p, pr); err != nil {
		m.reply(pr.Done, err)
		return
	}
	p.waiting.queue = append(p.waiting.queue, pr)
	p.waiting.bytes += uint64(len(pr.Command.Body))
	m.touch(p)
}

func (m *RaftMachine) admit(p *peer, pr *Proposal) error {
	if p == nil {
		return &region.NotFoundError{RegionID: pr.RegionID}
	}
	if err := p.checkLeader(pr.PeerID); err != nil {
		return err
	}
	if err := p.damaged(); err != nil {
		return err
	}
	if p.merge.frozen() {
		return &region.MergingError{RegionID: pr.RegionID}
	}
	if pr.Term != 0 && pr.Term != p.term() {
		return &region.StaleCommandError{RegionID: pr.RegionID} // S13: the snapshot is another leader's
	}
	if pr.Command.Epoch.Version != p.region.RegionEpoch.Version {
		return p.epochNotMatch()
	}
	if size := uint64(len(pr.Command.Body)); size > m.cfg.Raft.MaxEntry {
		return &region.RaftEntryTooLargeError{RegionID: pr.RegionID, Size: size, Limit: m.cfg.Raft.MaxEntry}
	}
	return nil
}

// proposeWaiting turns what waits into at most one entry.
func (m *RaftMachine) proposeWaiting(p *peer) {
	if len(p.waiting.queue) == 0 || p.ownEntryInFlight() || len(p.pending) > 0 && !p.waiting.worthAnEntry() || m.waitsForGroup(p) {
		return
	}
	n, size := 0, 1
	for n < len(p.waiting.queue) && (n == 0 || (uint64(size) < m.cfg.Raft.MaxBatch && mayShare(p.waiting.queue[n-1], p.waiting.queue[n]))) {
		size += p.waiting.queue[n].Command.EncodedSize()
		n++
	}
	payload := append(make([]byte, 0, size), command.Version)
	for _, pr := range p.waiting.queue[:n] {
		payload = pr.Command.AppendTo(payload)
	}
	switch err := p.node.Propose(payload); {
	case err == nil:
		batch := p.waiting.take(n)
		m.pend(p, Pair{p.node.Raft.RaftLog.LastIndex(), p.term()}, batch)
	case errors.Cause(err) == raft.ErrProposalDropped && p.node.Raft.LeadTransferee() == raft.None:
		// The log's uncommitted tail is full. What waits keeps waiting; the router's budget bounds it.
	default:
		for _, pr := range p.waiting.take(len(p.waiting.queue)) {
			m.reply(pr.Done, p.notLeader())
		}
	}
}

// pend notes who waits for an entry that was proposed.
func (m *RaftMachine) pend(p *peer, at Pair, proposals []*Proposal) {
	p.pending = append(p.pending, pendingEntry{Pair: at, proposals: proposals, group: m.groups.setOut(len(proposals))})
}

// worthAnEntry reports whether so much waits that another entry costs little beside it.
func (w *waitingWrites) worthAnEntry() bool {
	const many, large = 64, 32 << 10
	return len(w.queue) >= many || w.bytes >= large
}

// mayShare reports whether two proposals may stand in one entry.
func mayShare(a, b *Proposal) bool {
	return a.Command.Kind == command.Write && b.Command.Kind == command.Write
}

// take removes and returns the first n that wait.
func (w *waitingWrites) take(n int) []*Proposal {
	batch := w.queue[:n:n]
	w.queue = w.queue[n:]
	for _, pr := range batch {
		w.bytes -= uint64(len(pr.Command.Body))
	}
	return batch
}

// takePending removes and returns the proposals of the entry at (index, term), if this leader proposed it. What was
// pending at or below that index and does not match can never be applied any more.
func (m *RaftMachine) takePending(p *peer, at Pair) []*Proposal {
	var found []*Proposal
	for len(p.pending) > 0 && p.pending[0].Index <= at.Index {
		e := p.pending[0]
		p.pending = p.pending[1:]
		m.groups.decided(&e, m.now)
		if e.Pair == at {
			found = e.proposals
			continue
		}
		for _, pr := range e.proposals {
			m.reply(pr.Done, &region.StaleCommandError{RegionID: p.regionID})
		}
	}
	return found
}

// abandonWrites is called when the peer does not lead any more, or ends.
func (m *RaftMachine) abandonWrites(p *peer, waiting error) {
	m.abandonWaiting(p, waiting)
	for _, e := range p.pending {
		m.groups.decided(&e, m.now)
		for _, pr := range e.proposals {
			m.reply(pr.Done, region.ErrUndetermined)
		}
	}
	p.pending = nil
}

// abandonWaiting rejects what was admitted but not proposed.
func (m *RaftMachine) abandonWaiting(p *peer, err error) {
	for _, pr := range p.waiting.take(len(p.waiting.queue)) {
		m.reply(pr.Done, err)
	}
}

// applyWrite puts a client's writes into the batch, if the region still has the range that they were made for (S10).
func (a *applier) applyWrite(c *command.Command, batch engine.Batch) error {
	if err := a.checkKeys(c.Body); err != nil {
		return err
	}
	return command.DecodeOps(c.Body, func(op command.Op, cf engine.CF, key, value []byte) error {
		switch op {
		case command.Put:
			batch.Put(cf, key, value)
			a.results.Bytes += uint64(len(key) + len(value))
			a.results.Keys++
		case command.Delete:
			batch.Delete(cf, key)
		case command.DeleteRange:
			end := value
			if len(end) == 0 {
				end = endOf(a.region)
			}
			batch.DeleteRange(cf, key, end)
		default:
			panic(errors.Errorf("region %d peer %d: op %d stands in a plain write", a.region.Id, a.peerID, op))
		}
		return nil
	})
}

// checkKeys refuses a command as a whole when one of its keys is not the region's.
func (a *applier) checkKeys(body []byte) error {
	if len(a.region.StartKey) == 0 && len(a.region.EndKey) == 0 {
		return nil
	}
	return command.DecodeOps(body, func(op command.Op, _ engine.CF, key, value []byte) error {
		inside := region.Contains(a.region, key)
		if op == command.DeleteRange && len(value) > 0 {
			inside = region.ContainsRange(a.region, key, value)
		}
		if !inside {
			return &region.KeyNotInRegionError{Key: key, Region: a.region}
		}
		return nil
	})
}
