package machine

import (
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/raftstore/command"
)

// Mail is what a machine can be told. The set is closed. Droppable: Step. Refusable: Propose, Read, Admin. All else must arrive.
type Mail interface{ isMail() }

// Addressed is mail from one machine to another of the same store: to the StoreMachine when Store is set, else to
// the RaftMachine that owns the region, or to all of them.
type Addressed struct {
	Store    bool
	All      bool
	RegionID uint64
	Mail     Mail
}

// Mail for a RaftMachine.
type (
	// Step delivers a message of another store's peer.
	Step struct{ Msg *raft_serverpb.RaftMessage }
	// Propose asks for a write. See op_write.go.
	Propose struct{ *Proposal }
	// Read asks when a read may go on. See op_read.go.
	Read struct{ *ReadRequest }
	// Admin asks for a change of the region itself.
	Admin struct{ *AdminRequest }
	// Inspect asks for a look at a peer. See op_inspect.go.
	Inspect struct {
		RegionID uint64
		Tell     func(*PeerReport)
	}
	// Tick says that one tick interval has passed.
	Tick struct{}
	// Persisted says that a write with this number, and all before it, is durable.
	Persisted struct{ RegionID, PeerID, Number uint64 }
	// Applied reports what the ApplyMachine has done for a region.
	Applied struct {
		RegionID, PeerID uint64
		Results          ApplyResults
	}
	// LogRead brings old entries that raft asked for; empty when they are gone.
	LogRead struct {
		RegionID, PeerID uint64
		Entries          []eraftpb.Entry
	}
	// SnapshotBuilt brings a snapshot that raft asked for; nil when that failed.
	SnapshotBuilt struct {
		RegionID, PeerID uint64
		Snapshot         *eraftpb.Snapshot
	}
	// StateSynced says that what was applied when a SyncState task was given is durable.
	StateSynced struct{ RegionID, PeerID, CompactTo uint64 }
	// SnapshotSent says how the sending of a snapshot ended.
	SnapshotSent struct {
		RegionID, ToPeer uint64
		OK               bool
	}
	// Unreachable says that messages to a store are being lost.
	Unreachable struct{ StoreID uint64 }
	// Cleared says that a destroyed peer's data is gone and its tombstone durable.
	Cleared struct{ RegionID, PeerID uint64 }
	// LogDestroyed says that a destroyed peer's log is gone.
	LogDestroyed struct{ RegionID, PeerID uint64 }
	// Create makes an uninitialized peer, which First was sent to.
	Create struct {
		RegionID uint64
		PeerID   uint64
		State    *raft_serverpb.RaftLocalState
		First    *raft_serverpb.RaftMessage
	}
	// ClaimGranted lets a received snapshot go on to raft: no other region of the store covers its range. Or, not Granted, it must not.
	ClaimGranted struct {
		RegionID uint64
		Granted  bool
		// Absorbs are the regions of this store that the snapshot's took in, or one that it took in did.
		Absorbs []uint64
	}
	// MergeBegin answers a MergeAsk that begins a merge: Target as it is on this store.
	MergeBegin struct {
		RegionID uint64
		Target   *metapb.Region
		Done     func(error)
	}
	// MergeAnswer tells a source's leader about the merge prepared at Index: the target Refused it, or, Unknown, this store cannot tell.
	MergeAnswer struct {
		RegionID, Index  uint64
		Refused, Unknown bool
	}
	// MergeCall asks the target's leader to take Source in, prepared at Index, or to decline.
	MergeCall struct {
		RegionID         uint64
		Expected, Source *metapb.Region
		Index            uint64
		Decline          bool
	}
	// CatchUp says that the region's entry at Index is committed, and is the one that this log holds. With Yield the peer then yields.
	CatchUp struct {
		RegionID, PeerID, Index uint64
		Yield                   bool
	}
	// Yield says that another region has taken this one in, and waits for its range.
	Yield struct{ RegionID uint64 }
	// Absorbed says that another region durably has this one's range.
	Absorbed struct {
		RegionID, PeerID uint64
		Into             *raft_serverpb.MergeState
	}
	// Discard ends a peer whose region was taken in by one that is not on this store.
	Discard struct {
		RegionID, PeerID uint64
		Into             *raft_serverpb.MergeState
	}
	// Adopt makes a region that a split has made here a peer. See op_split.go.
	Adopt struct {
		Region *metapb.Region
		PeerID uint64
		// State is what is remembered of an earlier peer of the region; Existing says that there was one without data when this was sent.
		State    *raft_serverpb.RaftLocalState
		Existing bool
		// Campaign: the divided region's leader is here, and so had the new one's better be.
		Campaign bool
	}
	// SplitIDs brings what AskSplit asked for; none when the scheduler could not give them.
	SplitIDs struct {
		RegionID uint64
		Version  uint64
		IDs      []SplitID
	}
	// Measured brings what a MeasureRegion task found. Keys are where the region had better be split: none when it is not too large.
	Measured struct {
		RegionID, PeerID uint64
		Version          uint64
		Half             bool
		Size, Count      uint64
		Keys             [][]byte
	}
	// Contested says that a peer of another region waits for some of this one's range. See op_stale.go.
	Contested struct{ RegionID uint64 }
	// Resend asks every leader for a heartbeat: the scheduler has a new leader.
	Resend struct{}
	// StoreAlive says that another store lives, and in which life: the number changes when it starts again.
	StoreAlive struct{ StoreID, Life uint64 }
	// StoreSilent says that another store has said nothing for an election timeout.
	StoreSilent struct{ StoreID uint64 }
)

// Mail for the StoreMachine.
type (
	// Unknown is a message for a region that the RaftMachine does not have.
	Unknown struct{ Msg *raft_serverpb.RaftMessage }
	// Claim asks for the range of a received snapshot.
	Claim struct {
		Region *metapb.Region
		// Records are the merges that the snapshot's region remembers.
		Records []*raft_serverpb.MergedRecord
	}
	// Unclaim gives a claim back that was not needed.
	Unclaim struct{ RegionID uint64 }
	// Covers says that a region of the store has this shape now. Into, when not 0, is the region that it is going to vanish in.
	Covers struct {
		Region *metapb.Region
		Into   uint64
	}
	// Inherits says that a region has this shape now, because it took in another, which ends.
	Inherits struct {
		Region *metapb.Region
		From   uint64
	}
	// Yielded says that a region's peer does nothing any more, and may be absorbed.
	Yielded struct{ RegionID uint64 }
	// MergedAway says that another store knows that the region was taken in.
	MergedAway struct {
		RegionID, PeerID uint64
		Into             *raft_serverpb.MergeState
	}
	// CoversAll says that a region was split: Regions are what it became of it, those of them that are here.
	CoversAll struct {
		Regions []*metapb.Region
		// Campaign: the divided region is led from here.
		Campaign bool
	}
	// Gone says that a region's peer was destroyed. Region is the last that it knew, State what it has promised, if anything.
	Gone struct {
		RegionID, PeerID uint64
		Region           *metapb.Region
		State            *raft_serverpb.RaftLocalState
		// Into is the region that took it in, if one did.
		Into *raft_serverpb.MergeState
	}
)

func (Step) isMail()          {}
func (Propose) isMail()       {}
func (Read) isMail()          {}
func (Admin) isMail()         {}
func (Inspect) isMail()       {}
func (Tick) isMail()          {}
func (Persisted) isMail()     {}
func (Applied) isMail()       {}
func (LogRead) isMail()       {}
func (SnapshotBuilt) isMail() {}
func (StateSynced) isMail()   {}
func (SnapshotSent) isMail()  {}
func (Unreachable) isMail()   {}
func (Cleared) isMail()       {}
func (LogDestroyed) isMail()  {}
func (Create) isMail()        {}
func (ClaimGranted) isMail()  {}
func (Resend) isMail()        {}
func (Adopt) isMail()         {}
func (Contested) isMail()     {}
func (Measured) isMail()      {}
func (SplitIDs) isMail()      {}
func (CoversAll) isMail()     {}
func (StoreAlive) isMail()    {}
func (StoreSilent) isMail()   {}
func (Unknown) isMail()       {}
func (Claim) isMail()         {}
func (Unclaim) isMail()       {}
func (Covers) isMail()        {}
func (Gone) isMail()          {}
func (MergeBegin) isMail()    {}
func (MergeAnswer) isMail()   {}
func (MergeCall) isMail()     {}
func (CatchUp) isMail()       {}
func (Yield) isMail()         {}
func (Absorbed) isMail()      {}
func (Discard) isMail()       {}
func (Inherits) isMail()      {}
func (Yielded) isMail()       {}
func (MergedAway) isMail()    {}

// Proposal is a client's write on its way: handed over, it ends in exactly one call of Done.
type Proposal struct {
	RegionID uint64
	// PeerID, when not 0, must be the region's peer here.
	PeerID uint64
	// Term, when not 0, must be the leader's term: a snapshot was taken in it.
	Term    uint64
	Command command.Command
	Done    func(error)
}

// ReadRequest is a read that found no lease, or, with Replica, is content with any replica. Grant is called exactly once.
type ReadRequest struct {
	RegionID, PeerID uint64
	Version          uint64
	Replica          bool
	Grant            func(ReadGrant, error)
}

// AdminRequest asks a leader to change its region. Done may be nil; else it is called exactly once.
type AdminRequest struct {
	RegionID uint64
	// Epoch, when not nil, must be the region's in what the operation depends on: see epochRules.
	Epoch *metapb.RegionEpoch
	Op    AdminOp
	Done  func(error)
}

// AdminOp is what is to be changed. The set is closed; each has a file of its own.
type AdminOp interface{ isAdminOp() }

type (
	// ChangePeers adds, removes, promotes or demotes peers: one, or several by way of a joint configuration. See op_confchange.go.
	ChangePeers struct{ Changes []command.PeerChange }
	// TransferLeader makes another peer lead. See op_transfer.go.
	TransferLeader struct{ To *metapb.Peer }
	// Merge makes the region vanish in a neighbour, of which the id is enough; an epoch, when there is one, must be the target's. See op_merge.go.
	Merge struct{ Target *metapb.Region }
	// Split divides the region. See op_split.go.
	Split struct {
		// Keys are where, ascending and strictly inside the region; none for the middle of what it holds.
		Keys [][]byte
		// IDs are the new regions', one for each key; none to have the scheduler asked for them.
		IDs []SplitID
		// Parts, when not nil, is told what became of the region, in the order of keys, just before the request's Done.
		Parts func([]*metapb.Region)
	}
)

// SplitID is what the scheduler has reserved for a new region: its id, and an id for each peer.
type SplitID struct {
	RegionID uint64
	PeerIDs  []uint64
}

func (ChangePeers) isAdminOp()    {}
func (TransferLeader) isAdminOp() {}
func (Merge) isAdminOp()          {}
func (Split) isAdminOp()          {}

// SchedulerCall is what a machine has to say to the scheduler. The set is closed; answers come back as mail.
type SchedulerCall interface{ isSchedulerCall() }

func (RegionHeartbeat) isSchedulerCall() {}
func (AskSplit) isSchedulerCall()        {}
func (ReportSplit) isSchedulerCall()     {}

// AskSplit asks for the ids of Count new regions; answered by SplitIDs.
type AskSplit struct {
	Region *metapb.Region
	Count  int
}

// ReportSplit tells what a region was divided into, in the order of keys. Not answered.
type ReportSplit struct{ Regions []*metapb.Region }

// RegionHeartbeat is a leader's report to the scheduler.
type RegionHeartbeat struct {
	Region  *metapb.Region
	Leader  *metapb.Peer
	Term    uint64
	Pending []*metapb.Peer
	// Size and Keys are about what the region holds; 0 while that is not known.
	Size, Keys uint64
	// Down are peers that have not answered, with the ticks since they did.
	Down []DownPeer
}

// DownPeer is a peer that does not answer its leader.
type DownPeer struct {
	Peer  *metapb.Peer
	Ticks uint64
}

// Task is something slow that a machine wants done elsewhere; its completion comes back as mail. The set is closed.
type Task interface{ isTask() }

type (
	// ReadLog loads entries [Lo, Hi), at least two if there are two, and else at most about MaxBytes; answered by LogRead.
	ReadLog struct{ RegionID, PeerID, Lo, Hi, MaxBytes uint64 }
	// BuildSnapshot makes a snapshot of the region's applied state; answered by SnapshotBuilt.
	BuildSnapshot struct{ RegionID, PeerID uint64 }
	// SyncState makes the state engine durable; answered by StateSynced.
	SyncState struct{ RegionID, PeerID, CompactTo uint64 }
	// MeasureRegion finds out how large a region is and where to split it; answered by Measured. It estimates, unless the estimate comes near the limit
	// or Exact or Half is set. Half asks for the middle, whatever the size.
	MeasureRegion struct {
		RegionID, PeerID uint64
		Region           *metapb.Region
		Limits           SplitLimits
		Exact, Half      bool
	}
	// DropSnapshot deletes a snapshot's file, received or built here, that nobody needs. Not answered.
	DropSnapshot struct {
		RegionID uint64
		At       Pair
		Received bool
	}
)

func (ReadLog) isTask()       {}
func (MeasureRegion) isTask() {}
func (BuildSnapshot) isTask() {}
func (SyncState) isTask()     {}
func (DropSnapshot) isTask()  {}
