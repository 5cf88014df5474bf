package machine

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func took(source, target, version uint64) *raft_serverpb.MergedRecord {
	return &raft_serverpb.MergedRecord{SourceRegionId: source, TargetRegionId: target, TargetEpoch: &metapb.RegionEpoch{Version: version}}
}

func TestRecordsAreBounded(t *testing.T) {
	var all []*raft_serverpb.MergedRecord
	for i := range uint64(maxRecords + 10) {
		all = joinRecords(nil, all, took(100+i, 7, i))
	}
	require.Len(t, all, maxRecords+1)
	require.Equal(t, uint64(9), forgottenAt(all, 7))
	require.Zero(t, forgottenAt(all, 8), "nothing was forgotten of others")
	require.Nil(t, recordOf(all, 109))
	require.NotNil(t, recordOf(all, 110))
	heir := joinRecords(all, nil, took(7, 8, 90))
	require.Equal(t, uint64(10), forgottenAt(heir, 7))
	require.Zero(t, forgottenAt(heir, 8))
	for i := range uint64(3 * maxRecords) {
		heir = joinRecords(nil, heir, took(1000+i, 8, 100+i))
	}
	require.Len(t, heir, maxRecords+1, "of 7's end nothing is known any more, nor of what it took in")
	require.Equal(t, uint64(100+2*maxRecords-1), forgottenAt(heir, 8))
}

// What a region knows of itself, and of those it took in, does not suffer from what a neighbour has forgotten that it takes in later (seed 4025).
func TestForgetfulNeighbour(t *testing.T) {
	var forgetful []*raft_serverpb.MergedRecord
	for i := range uint64(5 * maxRecords) {
		forgetful = joinRecords(forgetful, nil, took(100+i, 101+i, 200+i))
	}
	own := joinRecords(nil, joinRecords(nil, nil, took(2, 1, 30)), took(3, 1, 40))
	own = joinRecords(forgetful, own, took(100+5*maxRecords, 1, 600))
	own = joinRecords(own, nil, took(1, 4, 700))
	require.Zero(t, forgottenAt(own, 1), "2 was forgotten, but not by 1")
	require.Zero(t, forgottenAt(own, 4))
	require.True(t, recallsAllSince(own, &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 50}}))
	// Records of an earlier build have one gap that is about all.
	own = joinRecords(forgets(500), own, took(9, 4, 710))
	require.Zero(t, forgottenAt(own, 4))
	own = joinRecords(nil, append(forgets(500), own...), took(10, 4, 720))
	require.Equal(t, uint64(500), forgottenAt(own, 4))
}

// Whatever regions divide and merge: what one of them claims to remember of itself and of those whose end it remembers, it does remember.
func TestRecordsTestifyTruly(t *testing.T) {
	type alive struct {
		id, version uint64
		records     []*raft_serverpb.MergedRecord
	}
	rapid.Check(t, func(t *rapid.T) {
		regions := []*alive{{id: 1, version: 1}}
		var history []*raft_serverpb.MergedRecord
		next := uint64(2)
		splits := rapid.IntRange(1, 9).Draw(t, "splits of ten")
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			i := rapid.IntRange(0, len(regions)-1).Draw(t, "region")
			r := regions[i]
			if len(regions) == 1 || rapid.IntRange(0, 9).Draw(t, "kind") < splits {
				r.version++
				regions = append(regions, &alive{next, r.version, r.records})
				next++
				continue
			}
			regions = append(regions[:i:i], regions[i+1:]...)
			into := regions[rapid.IntRange(0, len(regions)-1).Draw(t, "into")]
			into.version = max(into.version, r.version+1) + 1
			last := took(r.id, into.id, into.version)
			into.records = joinRecords(r.records, into.records, last)
			history = append(history, last)
			if len(into.records) > 2*maxRecords+1 {
				t.Fatalf("%d records", len(into.records))
			}
			for _, about := range append([]*raft_serverpb.MergedRecord{{SourceRegionId: into.id}}, into.records...) {
				since := forgottenAt(into.records, about.SourceRegionId)
				for _, h := range history {
					if h.TargetRegionId == about.SourceRegionId && h.TargetEpoch.Version > since && recordOf(into.records, h.SourceRegionId) == nil {
						t.Fatalf("region %d does not remember that %d went into %d at %d, though all since %d", into.id, h.SourceRegionId, h.TargetRegionId, h.TargetEpoch.Version, since)
					}
				}
			}
		}
	})
}
