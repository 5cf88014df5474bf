package raft

import "github.com/pingcap/errors"

// What a Storage may answer instead of data.
var (
	// ErrCompacted says that the index is no longer in the log because a snapshot has taken its place.
	ErrCompacted = errors.New("raft: the requested index has been compacted into a snapshot")
	// ErrUnavailable says that the index is beyond the end of the log.
	ErrUnavailable = errors.New("raft: the requested index is beyond the end of the log")
	// ErrSnapshotTemporarilyUnavailable says that a snapshot is being made; SnapshotAvailable announces it.
	ErrSnapshotTemporarilyUnavailable = errors.New("raft: a snapshot is being prepared and is not available yet")
	// ErrLogTemporarilyUnavailable says that the entries are being read; EntriesAvailable announces them.
	ErrLogTemporarilyUnavailable = errors.New("raft: the requested entries are being loaded and are not available yet")
)

// Why a proposal, a membership change or a message was refused. Nothing was changed; the caller may try again.
var (
	// ErrProposalDropped refuses a proposal: not the leader, a transfer is under way, or too much is uncommitted.
	ErrProposalDropped = errors.New("raft: proposal dropped")
	// ErrConfChangePending refuses a membership change while an earlier one may be unapplied.
	ErrConfChangePending = errors.New("raft: a membership change is already pending")
	// ErrRemoveLeaderOfTwo refuses to remove the leader of a group of two voters, or of one, also through a joint
	// configuration: those who remain might never learn that the change is committed and could then not win an election
	// without the one who is gone. Transfer the leadership first.
	ErrRemoveLeaderOfTwo = errors.New("raft: the leader of a two-voter group cannot be removed, transfer its leadership first")
	// ErrStepLocalMsg refuses a message from outside that only the node itself may create.
	ErrStepLocalMsg = errors.New("raft: a local message type cannot come from outside")
	// ErrStepPeerNotFound refuses a response from a node that is not a member here.
	ErrStepPeerNotFound = errors.New("raft: a response from a peer that is not a member")
)
