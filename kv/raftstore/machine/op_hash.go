package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
)

// Comparing the replicas of a region: do all hold the same at the same index?
//
// check    the peer leads. On demand, or by the leader once in Config.HashTicks.
// propose  ComputeHash.
// apply    in a batch of its own; right behind it, and before anything else is applied, the shell takes the engine's snapshot, and a
//          task hashes the region's data and shape in it → HashComputed.
// after    the leader proposes VerifyHash with what it found. Whoever applies that and has a hash of the same index compares, now or
//          when its own is done. Hashes are kept in memory only: a replica that was restarted or brought up by snapshot meanwhile
//          has nothing to compare. A difference is told, and changes nothing: which replica is wrong only the majority can say.

// CheckConsistency begins a comparison of the region's replicas; it is done when the leader has applied it. See op_hash.go.
type CheckConsistency struct{}

func (CheckConsistency) isAdminOp() {}

// ComputeHash is a task: hash what Snapshot shows of the region, which is as it was right after the entry At. Whoever runs it closes
// Snapshot. Answered by HashComputed.
type ComputeHash struct {
	RegionID, PeerID uint64
	Region           *metapb.Region
	At               Pair
	// Snapshot is taken by the shell, between two batches.
	Snapshot engine.Snapshot
}

// ReportDifference is a task: tell people that this replica's hash is not the leader's. Not answered.
type ReportDifference struct {
	RegionID, PeerID uint64
	Check            HashCheck
}

func (*ComputeHash) isTask()     {}
func (ReportDifference) isTask() {}

// HashComputed brings the hash of a region's replica as of an index. Not OK: it was not to be had.
type HashComputed struct {
	RegionID, PeerID uint64
	Index, Hash      uint64
	OK               bool
}

func (HashComputed) isMail() {}

// HashCheck is the last comparison that a replica knows of.
type HashCheck struct {
	// Asked is the index of the last ComputeHash; Index is that of Hash, the replica's own, 0 when it has none.
	Asked uint64 `json:"asked"`
	Index uint64 `json:"index"`
	Hash  uint64 `json:"hash,string"`
	// LeaderIndex and LeaderHash are what the last VerifyHash brought.
	LeaderIndex uint64 `json:"leader_index"`
	LeaderHash  uint64 `json:"leader_hash,string"`
	// Differs says that the last pair with the same index was not equal.
	Differs bool `json:"differs"`
}

func (m *RaftMachine) checkConsistency(p *peer, done func(error)) error {
	cmd := command.Command{Kind: command.ComputeHash, Epoch: command.EpochOf(p.region.RegionEpoch)}
	if err := p.node.Propose(command.Encode(cmd)); err != nil {
		return errors.Annotatef(err, "region %d: cannot compare its replicas now", p.regionID)
	}
	m.await(p, done)
	return nil
}

// applyComputeHash asks the shell for a snapshot right behind this entry.
func (a *applier) applyComputeHash() { a.hash = true }

func (a *applier) takeHash(round *ApplyRound) {
	if a.hash {
		a.hash = false
		a.results.HashAt = a.applied.Index
		round.Hash = &ComputeHash{RegionID: a.region.Id, PeerID: a.peerID, Region: a.region, At: a.applied}
	}
}

func (a *applier) applyVerifyHash(c *command.Command) error {
	index, hash, err := command.DecodeVerifyHash(c.Body)
	if err == nil {
		a.results.Verify = &verdict{index, hash}
	}
	return err
}

// verdict is what a leader found at an index.
type verdict struct{ index, hash uint64 }

func (m *RaftMachine) handleHashComputed(mail HashComputed) {
	p := m.peers[mail.RegionID]
	if p == nil || p.id != mail.PeerID || p.ending || !mail.OK {
		return
	}
	p.check.Index, p.check.Hash = mail.Index, mail.Hash
	if p.isLeader() {
		cmd := command.Command{
			Kind: command.VerifyHash, Epoch: command.EpochOf(p.region.RegionEpoch), Body: command.EncodeVerifyHash(mail.Index, mail.Hash),
		}
		_ = p.node.Propose(command.Encode(cmd)) // dropped when raft is busy: there will be another comparison
	}
	m.compareHashes(p)
	m.touch(p)
}

func (m *RaftMachine) afterVerify(p *peer, v *verdict) {
	p.check.LeaderIndex, p.check.LeaderHash = v.index, v.hash
	m.compareHashes(p)
}

func (m *RaftMachine) compareHashes(p *peer) {
	c := &p.check
	if c.Index == 0 || c.Index != c.LeaderIndex {
		return
	}
	if c.Differs = c.Hash != c.LeaderHash; c.Differs {
		m.round.Tasks = append(m.round.Tasks, ReportDifference{RegionID: p.regionID, PeerID: p.id, Check: *c})
	}
}

// compareNext compares the regions whose turn it is, asleep or not: all of them once in HashTicks, evenly, or all of a store's data would be read at
// once. Where the round begins differs from start to start, so that a store that is restarted often gets to all of them too.
func (m *RaftMachine) compareNext() {
	every, n := m.cfg.HashTicks, uint64(len(m.order))
	if every == 0 || n == 0 {
		return
	}
	at := m.cfg.Seed%every + m.ticks
	for i := (at - 1) * n / every; i < at*n/every; i++ {
		if p := m.peers[m.order[i%n]]; p.isLeader() && !p.ending && !p.merge.yielded {
			m.touch(p)
			_ = m.checkConsistency(p, func(error) {}) // dropped when raft is busy: at its next turn
		}
	}
}
