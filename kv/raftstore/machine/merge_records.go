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
// that is too much the oldest are forgotten. In front stands, for each region of which a merge was forgotten, a record without a source: its epoch has the
// highest version at which that was; one without a target stands for regions that are forgotten themselves.
func joinRecords(source, own []*raft_serverpb.MergedRecord, last *raft_serverpb.MergedRecord) []*raft_serverpb.MergedRecord {
	var gaps, all []*raft_serverpb.MergedRecord
	for _, list := range [][]*raft_serverpb.MergedRecord{source, own, {last}} {
		for _, r := range list {
			switch {
			case r.SourceRegionId == 0:
				gaps = forget(gaps, r)
			case recordOf(all, r.SourceRegionId) == nil:
				all = append(all, r)
			}
		}
	}
	for len(all) > maxRecords {
		gaps, all = forget(gaps, all[0]), all[1:]
	}
	if len(gaps) > maxRecords {
		rest := &raft_serverpb.MergedRecord{TargetEpoch: &metapb.RegionEpoch{}}
		for _, g := range gaps[:len(gaps)-maxRecords+1] {
			rest.TargetEpoch.Version = max(rest.TargetEpoch.Version, g.TargetEpoch.GetVersion())
		}
		gaps = append([]*raft_serverpb.MergedRecord{rest}, gaps[len(gaps)-maxRecords+1:]...)
	}
	return append(gaps, all...)
}

// forget adds to the gaps what a merge, or a gap, says of its target. It changes none that others may have.
func forget(gaps []*raft_serverpb.MergedRecord, r *raft_serverpb.MergedRecord) []*raft_serverpb.MergedRecord {
	gap := &raft_serverpb.MergedRecord{TargetRegionId: r.TargetRegionId, TargetEpoch: &metapb.RegionEpoch{Version: r.TargetEpoch.GetVersion()}}
	for i, g := range gaps {
		if g.TargetRegionId == r.TargetRegionId {
			gap.TargetEpoch.Version = max(gap.TargetEpoch.Version, g.TargetEpoch.GetVersion())
			gaps[i] = gap
			return gaps
		}
	}
	return append(gaps, gap)
}

// forgottenAt is the version of the latest merge into a region that is not remembered any more.
func forgottenAt(records []*raft_serverpb.MergedRecord, target uint64) (version uint64) {
	for _, r := range records {
		if r.SourceRegionId == 0 && (r.TargetRegionId == 0 || r.TargetRegionId == target) {
			version = max(version, r.TargetEpoch.GetVersion())
		}
	}
	return version
}

// recallsAllSince reports whether a region with these records still knows everything that it, or another region with this id whose records it has, took in when that
// one's version was this or a later one. If it does not, it cannot testify that somebody was not taken in. What a neighbour has forgotten that came to it later is no
// reason: that was about other targets. Found by the simulator, where sources stayed frozen because nobody could testify.
func recallsAllSince(records []*raft_serverpb.MergedRecord, target *metapb.Region) bool {
	return forgottenAt(records, target.Id) <= target.RegionEpoch.GetVersion()
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
