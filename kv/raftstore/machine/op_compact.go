package machine

import (
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// Compaction cuts the front off a region's log, on all replicas at the same index.
//
// check    compactTarget, by the leader now and then: what all replicas have is cut when it is worth while; for the sake of a replica
//          that lags, at most LogGCCountLimit entries are kept: beyond that it catches up by snapshot.
// propose  a CompactLog command, with index and term.
// apply    applier.applyCompactLog: the new truncated state is in the apply state, in the same batch.
// after    The state engine is synced (else a crash could ask for entries that are gone), then the log writer
//          deletes: StateSynced → WriteTask{CompactTo}.

// compactTarget returns the index up to which the log may go, 0 for none.
func (m *RaftMachine) compactTarget(p *peer) uint64 {
	behind := p.applied.Index
	for _, pr := range p.node.GetProgress() { // order-free: a minimum
		behind = min(behind, pr.Match)
	}
	truncated := p.log.truncated.Index
	if p.applied.Index > truncated+m.cfg.LogGCCountLimit {
		behind = max(behind, p.applied.Index-m.cfg.LogGCCountLimit/2)
	}
	// A single entry may be the last cut itself: an idle region would cut for ever.
	if behind <= truncated+1 || behind-truncated < m.cfg.LogGCThreshold {
		return 0
	}
	return behind
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
		Update: logstore.Update{RegionID: p.regionID, CompactTo: mail.CompactTo}, PeerID: p.id,
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
