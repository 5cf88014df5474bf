package sim

// regionBugs are the deliberate bugs of what changes a region: its members, its range, its place.
var regionBugs = []bug{
	// Splits.
	{
		name: "lease-through-a-split", pitfall: "S14", file: "kv/raftstore/machine/op_split.go",
		old:    `if p.merge.frozen() || p.admin.Index > 0 && epochRules`,
		broken: `if p.merge.frozen() || p.admin.Index > 0 && p.lease.end == 1 && epochRules`,
		also: &bug{ // or nobody else applies the split before the leader does
			file: "kv/raftstore/machine/op_life.go", old: `AnnounceApplied: true`, broken: `AnnounceApplied: false`,
		},
	},
	{
		name: "child-made-over-its-parent", pitfall: "S3, S5", file: "kv/raftstore/machine/store_machine.go",
		old:    `	if m.taken(announced, sources) {`,
		broken: `	if id == 0 && m.taken(announced, sources) {`,
	},
	{
		name: "claim-not-checked", pitfall: "S3", file: "kv/raftstore/machine/op_merge_claim.go",
		old:    `	if m.taken(c.Region, absorbs) {`,
		broken: `	if id == 0 && m.taken(c.Region, absorbs) {`,
		also: &bug{
			file:   "kv/raftstore/machine/store_machine.go",
			old:    `	if m.taken(announced, sources) {`,
			broken: `	if id == 0 && m.taken(announced, sources) {`,
		},
	},
	{
		name: "restart-bears-a-child-again", pitfall: "S24", file: "kv/raftstore/load.go",
		old:    `if r.Raft.GetLastIndex() > 0 || r.Apply.AppliedIndex`,
		broken: `if r.Apply.AppliedIndex`,
	},
	{
		name: "shape-not-synced", pitfall: "S24", file: "kv/raftstore/machine/admin.go",
		old:    `return r.bumpsVersion || r.bumpsConfVer }`,
		broken: `return r.bumpsVersion && r.bumpsConfVer }`,
	},
	{
		name: "range-unchecked-at-apply", pitfall: "S10", file: "kv/raftstore/machine/admin.go",
		old:    `		return epochRule{checksVersion: true}`,
		broken: `		return epochRule{}`,
		also: &bug{
			file:   "kv/raftstore/machine/op_write.go",
			old:    `	if err := a.checkKeys(c.Body); err != nil {`,
			broken: `	if err := a.checkKeys(c.Body); err != nil && a == nil {`,
		},
	},
	{
		name: "split-keeps-the-version", pitfall: "S10", file: "kv/raftstore/machine/op_split.go",
		old:    `version := r.RegionEpoch.Version + uint64(len(parts))`,
		broken: `version := r.RegionEpoch.Version`,
	},
	{
		name: "destruction-of-a-range-that-moved", pitfall: "S9", file: "kv/raftstore/machine/apply_machine.go",
		old:    `		EraseRegion(batch, a.region)`,
		broken: `		EraseRegion(batch, t.Destroy)`,
	},
	{
		name: "children-not-adopted", pitfall: "S6", file: "kv/raftstore/machine/op_adopt.go",
		old:    "	for _, r := range mail.Regions[:len(mail.Regions)-1] {\n",
		broken: "	for _, r := range mail.Regions[:max(1, len(mail.Regions)-1)-1] {\n",
	},
	{
		name: "rest-of-the-range-kept", pitfall: "S3", file: "kv/raftstore/machine/op_split.go",
		old:    `	if bytes.Compare(old.StartKey, now.StartKey) < 0 {`,
		broken: `	if bytes.Compare(old.StartKey, now.StartKey) < -1 {`,
	},
	// Merges.
	{
		name: "merge-without-all-of-the-source", pitfall: "S17", file: "kv/raftstore/machine/op_merge.go",
		old:    `		ready = ready && pr.Match >= g.state.Commit`,
		broken: `		ready = ready && pr.Match+g.state.Commit > 0`,
	},
	{
		name: "rollback-without-a-decision", pitfall: "S17", file: "kv/raftstore/machine/op_merge.go",
		old:    `	case mail.Refused:`,
		broken: `	case mail.Refused || mail.Unknown:`,
	},
	{
		name: "merge-at-another-epoch", pitfall: "S10, S17", file: "kv/raftstore/machine/admin.go",
		old:    "	case command.CommitMerge, command.RollbackMerge:\n		return epochRule{checksVersion: true, checksConfVer: true, ",
		broken: "	case command.CommitMerge, command.RollbackMerge:\n		return epochRule{",
	},
	{
		name: "merge-takes-a-source-that-lags", pitfall: "S17", file: "kv/raftstore/machine/op_merge_target.go",
		old:    `	if s.yielded && s.merge.GetCommit() == b.Index {`,
		broken: `	if s != nil {`,
		also: &bug{
			file:   "kv/raftstore/machine/op_merge_target.go",
			old:    `	if s == nil || s.applied.Index >= b.Index && s.merge.GetCommit() != b.Index {`,
			broken: `	if s == nil {`,
		},
	},
	{
		name: "lease-of-a-frozen-region", pitfall: "S14", file: "kv/raftstore/machine/op_split.go",
		old:    `	if p.merge.frozen() || p.admin.Index > 0 && epochRules`,
		broken: `	if p.admin.Index > 0 && p.lease.end == 1 && epochRules`,
		also: &bug{
			file: "kv/raftstore/machine/op_life.go", old: `AnnounceApplied: true`, broken: `AnnounceApplied: false`,
		},
	},
	{
		name: "absorbed-region-keeps-its-record", pitfall: "S17", file: "kv/raftstore/machine/op_merge_target.go",
		old:    `	putTombstone(batch, s.region, &metapb.Peer{Id: s.peerID, StoreId: m.storeID}, s.records, into)`,
		broken: `	_ = into.Target`,
	},
	{
		name: "joined-version-too-low", pitfall: "S10", file: "kv/raftstore/machine/op_merge_target.go",
		old:    `next.RegionEpoch.Version = max(a.region.RegionEpoch.Version, s.region.RegionEpoch.Version) + 1`,
		broken: `next.RegionEpoch.Version = a.region.RegionEpoch.Version + 1`,
	},
	{
		name: "absorbed-peer-may-come-back", pitfall: "S7", file: "kv/raftstore/machine/store_machine.go",
		old:    `	m.tombstones[g.RegionID] = Tombstone{PeerID: g.PeerID, `,
		broken: `	m.tombstones[g.RegionID+g.Into.GetCommit()<<32] = Tombstone{PeerID: g.PeerID, `,
	},
	// Members.
	{
		name: "joint-commit-by-one-majority", pitfall: "R14", file: "raft/quorum/quorum.go",
		old:    `	return min(c[0].Committed(acked), c[1].Committed(acked))`,
		broken: `	return c[0].Committed(acked)`,
	},
	{
		name: "joint-vote-by-one-majority", pitfall: "R14", file: "raft/quorum/quorum.go",
		old:    `	case a == VoteWon && b == VoteWon:`,
		broken: `	case a == VoteWon || b == VoteWon:`,
	},
	{
		name: "joint-change-never-left", pitfall: "R14", file: "kv/raftstore/machine/members.go",
		old:    `	cs.AutoLeave = joint`,
		broken: `	cs.AutoLeave = false`,
	},
	{
		name: "vote-dies-with-its-peer", pitfall: "S7, S24", file: "kv/raftstore/machine/op_life.go",
		old:    `	if hs.Term == 0 {`,
		broken: `	if hs.Term > 0 {`,
	},
	{
		name: "demoted-peer-still-votes-after-a-restart", pitfall: "R14", file: "kv/raftstore/machine/members.go",
		old:    `			cs.Learners = append(cs.Learners, p.Id)`,
		broken: `			cs.Voters = append(cs.Voters, p.Id)`,
	},
	{
		name: "removed-peer-never-told", pitfall: "S8", file: "kv/raftstore/machine/store_machine.go",
		old:    `ToPeer: msg.FromPeer, IsTombstone: gone,`,
		broken: `ToPeer: msg.FromPeer, IsTombstone: gone && len(t.Members) > 1<<20,`,
		also: &bug{
			file:   "kv/raftstore/machine/op_stale.go",
			old:    "	msg.IsTombstone = true\n",
			broken: "",
		},
	},
	// The log.
	{
		name: "log-cut-at-another-term", pitfall: "S15", file: "kv/raftstore/machine/op_compact.go",
		old:    `		a.truncated = Pair{index, term}`,
		broken: `		a.truncated = Pair{index, max(term, a.applied.Term)}`,
	},
}
