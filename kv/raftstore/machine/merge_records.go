package machine

import (
	"math"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"

	"github.com/shoal-kv/shoal/kv/keys"
)

// maxRecords is how many merges a region remembers.
const maxRecords = 64

// joinRecords is what a region remembers after it took another in, oldest first: what that one remembered, what it remembered itself, and the new merge. When
// that is too much the oldest are forgotten. In front stands, for each region that is asked about and of which a merge was forgotten, a record without a
// source (a gap): its epoch has the highest version at which that was.
//
// Asked about are the region itself, and those that are remembered to have been taken in. Of such a one everything came with it, since its end is remembered;
// so what the other side does not know of it, or has forgotten, is no reason to doubt. (One bound for all regions, to which every region that had
// forgotten much contributed, had sources freeze for good. Found by the simulator, seed 4025.)
func joinRecords(source, own []*raft_serverpb.MergedRecord, last *raft_serverpb.MergedRecord) []*raft_serverpb.MergedRecord {
	var all []*raft_serverpb.MergedRecord
	for _, list := range [][]*raft_serverpb.MergedRecord{source, own, {last}} {
		for _, r := range list {
			if r.SourceRegionId != 0 && recordOf(all, r.SourceRegionId) == nil {
				all = append(all, r)
			}
		}
	}
	forgotten := all[:max(0, len(all)-maxRecords)]
	all = all[len(forgotten):]
	var gaps []*raft_serverpb.MergedRecord
	mind := func(id uint64) {
		version := forgottenBefore(source, own, last, id)
		for _, r := range forgotten {
			if r.TargetRegionId == id {
				version = max(version, r.TargetEpoch.GetVersion())
			}
		}
		if version > 0 {
			gaps = append(gaps, &raft_serverpb.MergedRecord{TargetRegionId: id, TargetEpoch: &metapb.RegionEpoch{Version: version}})
		}
	}
	for _, r := range all {
		mind(r.SourceRegionId)
	}
	mind(last.TargetRegionId)
	return append(gaps, all...)
}

// forgottenBefore is the version of the latest merge into a region that neither side of a merge remembers: who has a region's end has all that came with it.
func forgottenBefore(source, own []*raft_serverpb.MergedRecord, last *raft_serverpb.MergedRecord, id uint64) uint64 {
	version := uint64(math.MaxUint64)
	if id == last.SourceRegionId || recordOf(source, id) != nil {
		version = forgottenAt(source, id)
	}
	if id == last.TargetRegionId || recordOf(own, id) != nil {
		version = min(version, forgottenAt(own, id))
	}
	return version
}

// forgottenAt is the version of the latest merge into a region that is not remembered any more. A gap without a target is about all.
func forgottenAt(records []*raft_serverpb.MergedRecord, target uint64) (version uint64) {
	for _, r := range records {
		if r.SourceRegionId == 0 && (r.TargetRegionId == 0 || r.TargetRegionId == target) {
			version = max(version, r.TargetEpoch.GetVersion())
		}
	}
	return version
}

// recallsAllSince reports whether a region with these records still knows everything that it, or another whose end it remembers, took in when that one's version
// was this or a later one. If it does not, it cannot testify that somebody was not taken in.
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
