package machine

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/keys"
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
		all = append(ignorantUntil(forgotten), all...)
	}
	return all
}

func forgottenAt(records []*raft_serverpb.MergedRecord) uint64 {
	if len(records) > 0 && records[0].SourceRegionId == 0 {
		return records[0].TargetEpoch.GetVersion()
	}
	return 0
}

// recallsAllSince reports whether a region with these records still knows everything that it took in when its version was this or a later one. If it does
// not, it cannot testify that it did not take in somebody.
func recallsAllSince(records []*raft_serverpb.MergedRecord, version uint64) bool {
	return forgottenAt(records) <= version
}

// ignorantUntil is the record of somebody who does not know what a region took in before its version was this.
func ignorantUntil(version uint64) []*raft_serverpb.MergedRecord {
	return []*raft_serverpb.MergedRecord{{TargetEpoch: &metapb.RegionEpoch{Version: version}}}
}

func recordOf(records []*raft_serverpb.MergedRecord, source uint64) *raft_serverpb.MergedRecord {
	for _, r := range records {
		if r.SourceRegionId == source {
			return r
		}
	}
	return nil
}

// SnapshotData is what a snapshot's message says of its region beside the data. A region that is frozen must be so, too, where the snapshot is installed: its
// merge state is the one pair in Data.
func SnapshotData(s *raft_serverpb.RegionLocalState) *raft_serverpb.RaftSnapshotData {
	data := &raft_serverpb.RaftSnapshotData{Region: s.Region, MergedRecords: s.MergedRecords}
	if s.State == raft_serverpb.PeerState_Merging {
		data.Data = []*raft_serverpb.KeyValue{{Key: keys.RegionState(s.Region.Id), Value: mustMarshal(s.MergeState)}}
	}
	return data
}

// mergeStateOf reads the merge state of a snapshot's region, nil for one that is not frozen.
func mergeStateOf(data *raft_serverpb.RaftSnapshotData) (*raft_serverpb.MergeState, error) {
	if len(data.Data) == 0 {
		return nil, nil
	}
	s := new(raft_serverpb.MergeState)
	if err := s.Unmarshal(data.Data[0].Value); err != nil || s.Target == nil || s.Commit == 0 {
		return nil, errors.Errorf("region %d: the merge state in its snapshot is damaged (%v)", data.Region.GetId(), err)
	}
	return s, nil
}
