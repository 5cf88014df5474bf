package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/proto/region"
)

// deadlineMessage is recognised by clients, letter by letter, in a region error's message.
const deadlineMessage = "Deadline is exceeded"

// retryHint is what a client is told to wait when a request ran out of time or met an internal failure.
const retryHint = 100 * time.Millisecond

// failure is an error in the three forms that a response can carry it; at most one of them is set.
type failure struct {
	// region makes the client refresh what it knows, or wait, and try again.
	region *errorpb.Error
	// text is final: the client hands it to its user.
	text string
	// status ends the gRPC call.
	status error
}

// newFailure maps an error to what the client must hear. regionID is the region that was asked for, for errors that do not know it.
func newFailure(err error, regionID uint64) failure {
	if err == nil {
		return failure{}
	}
	if r := regionError(err, regionID); r != nil {
		return failure{region: r}
	}
	if s, ok := status.FromError(err); ok {
		return failure{status: s.Err()}
	}
	if errors.Is(err, context.Canceled) {
		return failure{status: status.FromContextError(context.Canceled).Err()}
	}
	return failure{text: err.Error()}
}

// retryable turns a final text into a region error, for responses that have no field for text. Clients retry it and hand its
// message to their user when they lose patience; text in a pair of such a response they would not see at all.
func (f failure) retryable() failure {
	if f.text == "" {
		return f
	}
	return failure{region: busy(f.text)}
}

// inStream turns a status into a region error, for commands of a stream: ending the stream would fail all of them.
func (f failure) inStream() failure {
	if f.status == nil {
		return f
	}
	return failure{region: busy(f.status.Error())}
}

// busy makes the client try again after a moment.
func busy(reason string) *errorpb.Error {
	return &errorpb.Error{
		Message:      reason,
		ServerIsBusy: &errorpb.ServerIsBusy{Reason: reason, BackoffMs: milliseconds(retryHint)},
	}
}

// regionError maps the errors of package region, and an exceeded deadline, to errorpb with every field that a client acts on; nil for all others.
func regionError(err error, regionID uint64) *errorpb.Error {
	if errors.Is(err, region.ErrUndetermined) {
		// Clients repeat raw writes on every region error, so they are at-least-once for their callers whatever is said here;
		// StaleCommand is the one that does not claim that nothing happened.
		return &errorpb.Error{Message: err.Error(), StaleCommand: &errorpb.StaleCommand{}}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return busy(deadlineMessage)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if pb := regionErrorFields(e, regionID); pb != nil {
			pb.Message = err.Error()
			return pb
		}
	}
	return nil
}

func regionErrorFields(err error, regionID uint64) *errorpb.Error {
	switch e := err.(type) {
	case *region.NotLeaderError:
		return &errorpb.Error{NotLeader: &errorpb.NotLeader{RegionId: e.RegionID, Leader: e.Leader}}
	case *region.DamagedError: // the one word that makes clients try another replica at once
		return &errorpb.Error{NotLeader: &errorpb.NotLeader{RegionId: e.RegionID, Leader: e.Leader}}
	case *region.NotFoundError:
		return &errorpb.Error{RegionNotFound: &errorpb.RegionNotFound{RegionId: e.RegionID}}
	case *region.NotInitializedError:
		return &errorpb.Error{RegionNotInitialized: &errorpb.RegionNotInitialized{RegionId: e.RegionID}}
	case *region.KeyNotInRegionError:
		return &errorpb.Error{KeyNotInRegion: &errorpb.KeyNotInRegion{
			Key: e.Key, RegionId: e.Region.GetId(), StartKey: e.Region.GetStartKey(), EndKey: e.Region.GetEndKey(),
		}}
	case *region.EpochNotMatchError:
		return &errorpb.Error{EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: e.Current}}
	case *region.ServerIsBusyError:
		ms := milliseconds(e.Backoff)
		return &errorpb.Error{ServerIsBusy: &errorpb.ServerIsBusy{
			Reason: e.Reason, BackoffMs: ms, EstimatedWaitMs: uint32(min(ms, math.MaxUint32)),
		}}
	case *region.StaleCommandError:
		return &errorpb.Error{StaleCommand: &errorpb.StaleCommand{}}
	case *region.StoreNotMatchError:
		return &errorpb.Error{StoreNotMatch: &errorpb.StoreNotMatch{RequestStoreId: e.Requested, ActualStoreId: e.Actual}}
	case *region.MismatchPeerIDError:
		return &errorpb.Error{MismatchPeerId: &errorpb.MismatchPeerId{RequestPeerId: e.Requested, StorePeerId: e.Actual}}
	case *region.RaftEntryTooLargeError:
		return &errorpb.Error{RaftEntryTooLarge: &errorpb.RaftEntryTooLarge{RegionId: e.RegionID, EntrySize: e.Size}}
	case *region.ReadIndexNotReadyError:
		return &errorpb.Error{ReadIndexNotReady: &errorpb.ReadIndexNotReady{RegionId: e.RegionID, Reason: e.Reason}}
	case *region.ChangingError:
		return busy(e.Error())
	case *region.MergingError:
		return &errorpb.Error{ProposalInMergingMode: &errorpb.ProposalInMergingMode{RegionId: e.RegionID}}
	case *region.StoppedError:
		// A store that stops leads nothing any more: the client must look for the leader elsewhere, soon.
		return &errorpb.Error{NotLeader: &errorpb.NotLeader{RegionId: regionID}}
	}
	return nil
}

// milliseconds rounds up: a hint must not become "do not wait".
func milliseconds(d time.Duration) uint64 {
	return uint64((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}

// internal annotates a failure of the engine below, which is none of the client's making.
func internal(err error, doing string) error {
	return fmt.Errorf("internal error while %s: %w", doing, err)
}
