package server

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pingcap "github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/proto/region"
)

// regionErrorTable holds every error of package region with all that a client acts on.
func regionErrorTable() map[error]*errorpb.Error {
	leader := &metapb.Peer{Id: 2, StoreId: 3}
	r := &metapb.Region{Id: 7, StartKey: []byte("a"), EndKey: []byte("m")}
	return map[error]*errorpb.Error{
		&region.NotLeaderError{RegionID: 7, Leader: leader}:                         {NotLeader: &errorpb.NotLeader{RegionId: 7, Leader: leader}},
		&region.NotLeaderError{RegionID: 7}:                                         {NotLeader: &errorpb.NotLeader{RegionId: 7}},
		&region.NotFoundError{RegionID: 7}:                                          {RegionNotFound: &errorpb.RegionNotFound{RegionId: 7}},
		&region.NotInitializedError{RegionID: 7}:                                    {RegionNotInitialized: &errorpb.RegionNotInitialized{RegionId: 7}},
		&region.KeyNotInRegionError{Key: []byte("z"), Region: r}:                    {KeyNotInRegion: &errorpb.KeyNotInRegion{Key: []byte("z"), RegionId: 7, StartKey: []byte("a"), EndKey: []byte("m")}},
		&region.EpochNotMatchError{RegionID: 7, Current: []*metapb.Region{r}}:       {EpochNotMatch: &errorpb.EpochNotMatch{CurrentRegions: []*metapb.Region{r}}},
		&region.EpochNotMatchError{RegionID: 7}:                                     {EpochNotMatch: &errorpb.EpochNotMatch{}},
		&region.ServerIsBusyError{Reason: "full", Backoff: 1500 * time.Microsecond}: {ServerIsBusy: &errorpb.ServerIsBusy{Reason: "full", BackoffMs: 2, EstimatedWaitMs: 2}},
		&region.StaleCommandError{RegionID: 7}:                                      {StaleCommand: &errorpb.StaleCommand{}},
		&region.StoreNotMatchError{Requested: 1, Actual: 2}:                         {StoreNotMatch: &errorpb.StoreNotMatch{RequestStoreId: 1, ActualStoreId: 2}},
		&region.MismatchPeerIDError{Requested: 1, Actual: 2}:                        {MismatchPeerId: &errorpb.MismatchPeerId{RequestPeerId: 1, StorePeerId: 2}},
		&region.RaftEntryTooLargeError{RegionID: 7, Size: 9, Limit: 8}:              {RaftEntryTooLarge: &errorpb.RaftEntryTooLarge{RegionId: 7, EntrySize: 9}},
		&region.ReadIndexNotReadyError{RegionID: 7, Reason: "splitting"}:            {ReadIndexNotReady: &errorpb.ReadIndexNotReady{RegionId: 7, Reason: "splitting"}},
		&region.DamagedError{RegionID: 7, Leader: leader}:                           {NotLeader: &errorpb.NotLeader{RegionId: 7, Leader: leader}},
		&region.MergingError{RegionID: 7}:                                           {ProposalInMergingMode: &errorpb.ProposalInMergingMode{RegionId: 7}},
		&region.ChangingError{RegionID: 7, Change: "split", Index: 9}:               busy((&region.ChangingError{RegionID: 7, Change: "split", Index: 9}).Error()),
		&region.StoppedError{StoreID: 4}:                                            {NotLeader: &errorpb.NotLeader{RegionId: 42}},
		region.ErrUndetermined:                                                      {StaleCommand: &errorpb.StaleCommand{}},
	}
}

// C3: each region error reaches the client with its fields, also through any wrapping.
func TestRaftstoreErrToPbError(t *testing.T) {
	for err, want := range regionErrorTable() {
		want.Message = err.Error()
		require.Equal(t, failure{region: want}, newFailure(err, 42), "%T", err)
		for _, wrapped := range []error{pingcap.Annotate(err, "more"), fmt.Errorf("more: %w", err)} {
			want.Message = wrapped.Error()
			require.Equal(t, failure{region: want}, newFailure(wrapped, 42), "%T", err)
		}
	}
}

// An error that is added to package region must be mapped here.
func TestEveryRegionErrorIsMapped(t *testing.T) {
	mapped := map[string]bool{}
	for err := range regionErrorTable() {
		mapped[strings.TrimPrefix(fmt.Sprintf("%T", err), "*region.")] = true
	}
	files, err := filepath.Glob("../../proto/region/*.go")
	require.NoError(t, err)
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && strings.HasSuffix(spec.Name.Name, "Error") {
				found++
				require.True(t, mapped[spec.Name.Name], "%s is not in the table", spec.Name.Name)
			}
			return true
		})
	}
	require.GreaterOrEqual(t, found, 12)
}

func TestOtherErrors(t *testing.T) {
	require.Equal(t, failure{}, newFailure(nil, 1))

	late := newFailure(fmt.Errorf("reading: %w", context.DeadlineExceeded), 1)
	require.Contains(t, late.region.Message, "Deadline is exceeded") // clients look for these words
	require.Positive(t, late.region.ServerIsBusy.BackoffMs)

	gone := newFailure(context.Canceled, 1)
	require.Equal(t, codes.Canceled, status.Code(gone.status))
	require.Nil(t, gone.region)

	refused := newFailure(status.Error(codes.InvalidArgument, "no"), 1)
	require.Equal(t, codes.InvalidArgument, status.Code(refused.status))

	broken := newFailure(errors.New("disk on fire"), 1)
	require.Equal(t, failure{text: "disk on fire"}, broken)
	require.Equal(t, "disk on fire", broken.retryable().region.ServerIsBusy.Reason)
	require.Empty(t, broken.retryable().text)
	require.Equal(t, late, late.retryable())
	require.Equal(t, failure{}, failure{}.retryable())
}
