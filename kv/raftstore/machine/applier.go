package machine

import (
	"encoding/binary"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/proto/region"
	"github.com/shoal-kv/shoal/raft/confchange"
)

// applier is the applied side of one region's peer: the region as it is after the last applied entry.
type applier struct {
	region          *metapb.Region
	peerID, storeID uint64
	applied         Pair
	truncated       Pair
	results         ApplyResults
	dirty           bool
	// expiries is what was found for the entry at hand: see op_expire.go.
	expiries []uint64
	// merge is what the region is prepared for: it is frozen. records are what it took in, source what it is about to: see op_merge.go.
	merge   *raft_serverpb.MergeState
	records []*raft_serverpb.MergedRecord
	source  *applier
	// yielded says that the peer's RaftMachine will send nothing more, but on demand.
	yielded bool
	// siblings are what was split off last.
	siblings []*metapb.Region
	// hash: the entry at hand asks for a hash of what is there when it is applied.
	hash bool
}

// isAdmin reports whether an entry needs a batch of its own.
func (a *applier) isAdmin(e *eraftpb.Entry) bool {
	if e.EntryType != eraftpb.EntryType_EntryNormal {
		return true
	}
	return len(e.Data) > 1 && command.Kind(e.Data[1]) != command.Write
}

// applyEntry applies one entry and answers those who wait for it. What cannot be read was not written by this release:
// to skip it would let the replicas part ways, so it stops the store.
func (a *applier) applyEntry(round *ApplyRound, e *eraftpb.Entry, waiting []*Proposal, batch engine.Batch) {
	payload := e.Data
	var change eraftpb.ConfChangeV2
	if e.EntryType == eraftpb.EntryType_EntryConfChangeV2 {
		a.must(e, change.Unmarshal(e.Data))
		payload = change.Context
	}
	n := 0
	a.must(e, command.Decode(payload, func(c command.Command) error {
		result := a.applyCommand(&c, batch, &change)
		round.Sync = round.Sync || result == nil && epochRules(c.Kind).changesShape()
		if n < len(waiting) {
			round.Reply = append(round.Reply, Reply{Done: waiting[n].Done, Err: result})
		}
		n++
		return nil
	}))
	if e.EntryType == eraftpb.EntryType_EntryConfChangeV2 && confchange.Leaves(change) {
		round.Sync = a.applyLeaveJoint(batch) || round.Sync
	}
	a.applied = Pair{e.Index, e.Term}
	a.takeHash(round)
}

func (a *applier) must(e *eraftpb.Entry, err error) {
	if err != nil {
		panic(errors.Annotatef(err, "region %d peer %d: cannot apply entry %d of term %d", a.region.Id, a.peerID, e.Index, e.Term))
	}
}

func (a *applier) applyCommand(c *command.Command, batch engine.Batch, change *eraftpb.ConfChangeV2) error {
	if !epochRules(c.Kind).holds(c.Epoch, a.region.RegionEpoch) {
		return &region.EpochNotMatchError{RegionID: a.region.Id, Current: withSiblings(a.region, a.siblings)}
	}
	if a.merge != nil && c.Kind != command.RollbackMerge {
		return &region.MergingError{RegionID: a.region.Id}
	}
	switch c.Kind {
	case command.Write:
		return a.applyWrite(c, batch)
	case command.Expire:
		return a.applyExpire(c, batch)
	case command.CompactLog:
		return a.applyCompactLog(c)
	case command.ChangePeer:
		return a.applyConfChange(c, batch, change)
	case command.PrepareMerge:
		return a.applyPrepareMerge(c, batch)
	case command.CommitMerge:
		return a.applyCommitMerge(c, batch)
	case command.RollbackMerge:
		return a.applyRollbackMerge(c, batch)
	case command.Split:
		return a.applySplit(c, batch)
	case command.ComputeHash:
		a.applyComputeHash()
		return nil
	case command.VerifyHash:
		return a.applyVerifyHash(c)
	}
	panic(errors.Errorf("region %d peer %d: command of unknown kind %d", a.region.Id, a.peerID, c.Kind))
}

func (a *applier) putRegion(batch engine.Batch) {
	s := raft_serverpb.RegionLocalState{State: raft_serverpb.PeerState_Normal, Region: a.region, MergeState: a.merge, MergedRecords: a.records}
	if a.merge != nil {
		s.State = raft_serverpb.PeerState_Merging
	}
	putRegionState(batch, &s)
}

// putTombstone remembers a destroyed peer: RemovedRecords names it, Region has the epoch that it was destroyed at. records are what the region had taken
// in by then, into is the region that took it in, if one did.
func putTombstone(batch engine.Batch, r *metapb.Region, self *metapb.Peer, records []*raft_serverpb.MergedRecord, into *raft_serverpb.MergeState) {
	putRegionState(batch, &raft_serverpb.RegionLocalState{
		State: raft_serverpb.PeerState_Tombstone, Region: r, RemovedRecords: []*metapb.Peer{self}, MergedRecords: records, MergeState: into,
	})
}

func putRegionState(batch engine.Batch, s *raft_serverpb.RegionLocalState) {
	batch.Put(engine.Local, keys.RegionState(s.Region.Id), mustMarshal(s))
}

func (a *applier) putApplyState(batch engine.Batch) {
	batch.Put(engine.Local, keys.ApplyState(a.region.Id), mustMarshal(ApplyState(a.applied, a.truncated)))
}

// ApplyState is the stored form of how far a region is applied: CommitIndex and CommitTerm are the applied entry's.
func ApplyState(applied, truncated Pair) *raft_serverpb.RaftApplyState {
	return &raft_serverpb.RaftApplyState{
		AppliedIndex: applied.Index, CommitIndex: applied.Index, CommitTerm: applied.Term,
		TruncatedState: &raft_serverpb.RaftTruncatedState{Index: truncated.Index, Term: truncated.Term},
	}
}

func mustMarshal(m interface{ Marshal() ([]byte, error) }) []byte {
	b, err := m.Marshal()
	if err != nil {
		panic(errors.Annotatef(err, "machine: cannot encode %T", m))
	}
	return b
}

func encodePair(p Pair) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, p.Index), p.Term)
}

// DecodeMarker reads an install marker.
func DecodeMarker(b []byte) (Pair, error) {
	if len(b) != 16 {
		return Pair{}, errors.Errorf("install marker of %d bytes, want 16", len(b))
	}
	return Pair{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}, nil
}
