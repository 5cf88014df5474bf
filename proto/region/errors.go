package region

import (
	"fmt"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
)

// A request that a region could not serve was *rejected*: it has not happened and never will. Each type below is one reason; kv/server turns
// it into the errorpb field that makes a client do the right thing next. ErrUndetermined is the one error that does not mean rejected.

// ErrUndetermined says that a write was handed over and its outcome is not known: it may have happened, may happen
// later, or may never happen.
var ErrUndetermined = errors.New("the outcome of the write is undetermined")

// NotLeaderError says that the peer asked is not the region's leader.
type NotLeaderError struct {
	RegionID uint64
	// Leader is the leader as far as it is known here, else nil.
	Leader *metapb.Peer
}

func (e *NotLeaderError) Error() string {
	if e.Leader == nil {
		return fmt.Sprintf("region %d: not leader, and the leader is unknown", e.RegionID)
	}
	return fmt.Sprintf("region %d: not leader, the leader is peer %d on store %d", e.RegionID, e.Leader.Id, e.Leader.StoreId)
}

// NotFoundError says that the store has no such region.
type NotFoundError struct{ RegionID uint64 }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("region %d is not found on this store", e.RegionID)
}

// NotInitializedError says that the peer exists but has not received its data yet.
type NotInitializedError struct{ RegionID uint64 }

func (e *NotInitializedError) Error() string {
	return fmt.Sprintf("region %d is not initialized on this store yet", e.RegionID)
}

// KeyNotInRegionError says that a key of the request lies outside the region's range.
type KeyNotInRegionError struct {
	Key    []byte
	Region *metapb.Region
}

func (e *KeyNotInRegionError) Error() string {
	return fmt.Sprintf("key %X is not in region %d [%X, %X)", e.Key, e.Region.GetId(), e.Region.GetStartKey(), e.Region.GetEndKey())
}

// EpochNotMatchError says that the request was made for another shape of the region.
type EpochNotMatchError struct {
	RegionID uint64
	// Current are the regions that now cover the range of the one that was asked for, as known here.
	Current []*metapb.Region
}

func (e *EpochNotMatchError) Error() string {
	if len(e.Current) == 0 {
		return fmt.Sprintf("region %d: epoch does not match", e.RegionID)
	}
	return fmt.Sprintf("region %d: epoch does not match, current is %v", e.RegionID, e.Current[0].RegionEpoch)
}

// ServerIsBusyError says that a queue was full.
type ServerIsBusyError struct {
	Reason string
	// Backoff is how long the client had better wait before it asks again.
	Backoff time.Duration
}

func (e *ServerIsBusyError) Error() string {
	return fmt.Sprintf("server is busy: %s, try again in %s", e.Reason, e.Backoff)
}

// StaleCommandError says that leadership changed between the steps of the request.
type StaleCommandError struct{ RegionID uint64 }

func (e *StaleCommandError) Error() string {
	return fmt.Sprintf("region %d: stale command, the leader has changed", e.RegionID)
}

// StoreNotMatchError says that the request was meant for another store.
type StoreNotMatchError struct{ Requested, Actual uint64 }

func (e *StoreNotMatchError) Error() string {
	return fmt.Sprintf("request for store %d reached store %d", e.Requested, e.Actual)
}

// MismatchPeerIDError says that the region's peer on this store has another id than the one asked for.
type MismatchPeerIDError struct{ Requested, Actual uint64 }

func (e *MismatchPeerIDError) Error() string {
	return fmt.Sprintf("request for peer %d, but this store's peer is %d", e.Requested, e.Actual)
}

// RaftEntryTooLargeError says that a write does not fit into one raft entry.
type RaftEntryTooLargeError struct{ RegionID, Size, Limit uint64 }

func (e *RaftEntryTooLargeError) Error() string {
	return fmt.Sprintf("region %d: write of %d bytes exceeds the raft entry limit of %d bytes (raftstore.raft-entry-max-size)",
		e.RegionID, e.Size, e.Limit)
}

// ReadIndexNotReadyError says that a read could not be confirmed yet; it is safe to try again.
type ReadIndexNotReadyError struct {
	RegionID uint64
	Reason   string
}

func (e *ReadIndexNotReadyError) Error() string {
	return fmt.Sprintf("region %d: read index is not ready: %s", e.RegionID, e.Reason)
}

// StoppedError says that the store stops or has stopped, and that the request was not handed over.
type StoppedError struct{ StoreID uint64 }

func (e *StoppedError) Error() string { return fmt.Sprintf("store %d is stopping", e.StoreID) }

// DamagedError is a request for a replica that the engine cannot read any more. Another replica, the leader if it is known, serves it.
type DamagedError struct {
	RegionID uint64
	// Leader may be nil.
	Leader *metapb.Peer
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("region %d: this replica is damaged on disk and must be rebuilt; another one serves", e.RegionID)
}

// ChangingError says that the region cannot be changed now because another change of it is on its way.
type ChangingError struct {
	RegionID uint64
	Change   string
	Index    uint64
}

func (e *ChangingError) Error() string {
	return fmt.Sprintf("region %d: a %s is on its way at index %d; one change at a time, try again when it is applied", e.RegionID, e.Change, e.Index)
}

// MergingError says that the region is about to vanish in a neighbour, and serves nobody until that has happened or was called off.
type MergingError struct{ RegionID uint64 }

func (e *MergingError) Error() string {
	return fmt.Sprintf("region %d is merging into its neighbour, try again in a moment", e.RegionID)
}
