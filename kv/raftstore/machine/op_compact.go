package machine

import (
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// Compaction cuts the front off a region's log, on all replicas at the same index.
//
// check    compactTarget, by the leader now and then: what all replicas have, learners among them, is cut when it is worth while. A
//          replica that lags is waited for as long as Config.LogGC has room and it gives signs of life; then it needs a snapshot (S15).
// propose  a CompactLog command, with index and term.
// apply    applier.applyCompactLog: the new truncated state is in the apply state, in the same batch.
// after    The state engine is synced (else a crash could ask for entries that are gone), then the log writer
//          deletes: StateSynced → WriteTask{CompactTo}.

// compactTarget returns the index up to which the log may go, 0 for none.
func (m *RaftMachine) compactTarget(p *peer) uint64 {
	gc, truncated, bytes := &m.cfg.LogGC, p.log.truncated.Index, p.log.bytes.size()
	to := max(m.allHave(p), m.overLimits(p))
	// A single entry may be the last cut itself: an idle region would cut for ever.
	if to <= truncated+1 {
		return 0
	}
	if to-truncated < gc.Threshold && (gc.Bytes == 0 || bytes < gc.Bytes/4) {
		return 0 // few entries, unless they are large
	}
	return to
}

// allHave is the last applied index that every replica has which is worth waiting for. One that gets a snapshot has what is in it: what
// comes after must be there when it is installed, or it would need another (S15).
func (m *RaftMachine) allHave(p *peer) uint64 {
	index := p.applied.Index
	for id, pr := range p.node.GetProgress() { // order-free: a minimum
		if silence := m.cfg.LogGC.Silence; id != p.id && silence > 0 && p.members.silence(id, p.duties.leadsSince, p.ticks) > silence {
			continue
		}
		index = min(index, max(pr.Match, pr.PendingSnapshot))
	}
	return index
}

// lag is by how many entries the slowest replica is behind its leader. One of which nothing is known yet, new or under a new leader, does not count: it would
// seem to lack all that ever was.
func (p *peer) lag() uint64 {
	last, most := p.node.Raft.RaftLog.LastIndex(), uint64(0)
	for id, pr := range p.node.Raft.Prs { // order-free: a maximum
		if id != p.id && pr.Match > 0 && last > pr.Match {
			most = max(most, last-pr.Match)
		}
	}
	return most
}

// overLimits is where the log must be cut for whomever it is kept, 0 when it is within its limits. Half of it goes, or there would be
// a cut at every look.
func (m *RaftMachine) overLimits(p *peer) uint64 {
	gc, to := &m.cfg.LogGC, uint64(0)
	if gc.Count > 0 && p.applied.Index > p.log.truncated.Index+gc.Count {
		to = p.applied.Index - gc.Count/2
	}
	if gc.Bytes > 0 && p.log.bytes.size() > gc.Bytes {
		to = max(to, min(p.applied.Index, p.log.bytes.cutFor(gc.Bytes/2)))
	}
	return to
}

func (m *RaftMachine) compactLog(p *peer) {
	if p.merge.frozen() {
		return // whoever is behind needs the log, and it would be refused (S16)
	}
	index := p.duties.compactTo
	if index <= p.log.truncated.Index {
		index = m.compactTarget(p)
	}
	if index == 0 {
		return
	}
	term, err := p.node.Raft.RaftLog.Term(index)
	if p.duties.compactTo = 0; err != nil {
		// An old entry that is not in memory: when it has been read. By the next time the target would have moved on, and never be at hand (S15).
		p.duties.compactTo = index
		return
	}
	cmd := command.Command{
		Kind: command.CompactLog, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeCompactLog(index, term),
	}
	// Dropped when raft is full or busy with a transfer: next time.
	_ = p.node.Propose(command.Encode(cmd))
}

func (m *RaftMachine) afterCompact(p *peer, at Pair) {
	if at.Index <= p.log.truncated.Index {
		return
	}
	p.log.cut(at)
	m.round.Tasks = append(m.round.Tasks, SyncState{RegionID: p.regionID, PeerID: p.id, CompactTo: at.Index + 1})
}

func (m *RaftMachine) handleStateSynced(mail StateSynced) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending {
		return
	}
	m.round.Write = append(m.round.Write, WriteTask{
		Update: logstore.Update{RegionID: p.regionID, CompactTo: mail.CompactTo, State: p.localState()}, PeerID: p.id,
	})
}

// applyCompactLog moves the truncated state. The log itself is cut later, when this is durable.
func (a *applier) applyCompactLog(c *command.Command) error {
	index, term, err := command.DecodeCompactLog(c.Body)
	if err != nil {
		return err
	}
	if index > a.truncated.Index && index <= a.applied.Index {
		a.truncated = Pair{index, term}
		a.results.Truncated = a.truncated
	}
	return nil
}
