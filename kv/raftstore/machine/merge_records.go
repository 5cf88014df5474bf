package machine

import (
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// maxRecords is how many merges a region remembers.
const maxRecords = 64

// joinRecords is what a region remembers after it took another in, oldest first: what that one remembered, what it remembered itself, and the new merge. When
// that is too much the oldest are forgotten; a record without a source, in front, keeps the highest version at which something was.
func joinRecords(source, own []*raft_serverpb.MergedRecord, last *raft_serverpb.MergedRecord) []*raft_serverpb.MergedRecord {
	var all []*raft_serverpb.MergedRecord
	forgotten := max(forgottenAt(source), forgottenAt(own))
	for _, list := range [][]*raft_serverpb.MergedRecord{source, own, {last}} {
		for _, r := range list {
			if r.SourceRegionId != 0 && recordOf(all, r.SourceRegionId) == nil {
				all = append(all, r)
			}
		}
	}
	for len(all) > maxRecords {
		forgotten = max(forgotten, all[0].TargetEpoch.GetVersion())
		all = all[1:]
	}
	if forgotten > 0 {
		all = append([]*raft_serverpb.MergedRecord{{TargetEpoch: &metapb.RegionEpoch{Version: forgotten}}}, all...)
	}
	return all
}

func forgottenAt(records []*raft_serverpb.MergedRecord) uint64 {
	if len(records) > 0 && records[0].SourceRegionId == 0 {
		return records[0].TargetEpoch.GetVersion()
	}
	return 0
}

// recallsAllSince reports whether the region still knows everything that it took in when its version was this or a later one. If it does not, it cannot
// testify that it did not take in somebody.
func (a *applier) recallsAllSince(version uint64) bool { return forgottenAt(a.records) <= version }

func recordOf(records []*raft_serverpb.MergedRecord, source uint64) *raft_serverpb.MergedRecord {
	for _, r := range records {
		if r.SourceRegionId == source {
			return r
		}
	}
	return nil
}
