package sim

// pitfallBugs are deliberate bugs of single lines of PITFALLS (a) and (b) that the other lists leave out.
var pitfallBugs = []bug{
	// Elections and leadership.
	{
		name: "transfer-bounces-off-the-lease", pitfall: "R6", file: "raft/candidate.go",
		old:    `permitted(m.Context); ok && !r`,
		broken: `permitted(m.Context); ok && m.Term == 0 && !r`,
	},
	{
		name: "promoted-peer-does-not-vote", pitfall: "R13", file: "raft/candidate.go",
		old:    "	r.learnCommit(&m)\n	pre := ",
		broken: "	if !r.isVoter() {\n		return\n	}\n	r.learnCommit(&m)\n	pre := ",
	},
	{
		name: "removed-peers-buried-too-early", pitfall: "R4, S8", file: "kv/raftstore/machine/op_stale.go",
		old:    `	if p.isLeader() && p.node.ChangesKnown() {`,
		broken: `	if p.isLeader() {`,
		also: &bug{
			file:   "kv/raftstore/machine/op_stale.go",
			old:    ` || p.isLeader() && !p.node.ChangesKnown() {`,
			broken: ` {`,
		},
	},
	{
		name: "leader-of-two-removed", pitfall: "R4", file: "kv/raftstore/machine/members.go",
		old:    `	if voters <= 2 && (`,
		broken: `	if voters < 1 && (`,
		also: &bug{
			file:   "raft/membership.go",
			old:    `	return len(old) <= 2 && old`,
			broken: `	return len(old) < 1 && old`,
		},
	},
	{
		name: "change-without-the-commit-before", pitfall: "R2", file: "raft/ready.go", // seed 1011
		old:    `		tell = tell || slices.ContainsFunc(ents, isConfChange)`,
		broken: `		_ = slices.ContainsFunc(ents, isConfChange)`,
	},
	{
		name: "removed-peer-forgotten-at-the-start", pitfall: "R4", file: "kv/raftstore/steps.go", // seed 3774
		old:    `	return b != nil, err`,
		broken: `	return false, errors.Annotatef(err, "%v", b)`,
	},
	// Reads.
	{
		name: "replica-reads-what-it-has", pitfall: "R8, R10", file: "kv/raftstore/machine/op_read.go",
		old:    `	b.id, b.asked = m.nextRead, p.ticks`,
		broken: "	b.id, b.asked = m.nextRead, p.ticks\n	if !p.isLeader() {\n		b.index = max(p.applied.Index, 1)\n	}",
	},
	{
		name: "read-index-through-a-split", pitfall: "S14", file: "kv/raftstore/machine/op_read.go",
		old:    "	if r.Version != p.region.RegionEpoch.Version {\n		m.refuse",
		broken: "	if r.Version > p.region.RegionEpoch.Version {\n		m.refuse",
		also: &bug{
			file:   "kv/raftstore/machine/view.go",
			old:    "	return v.CheckVersion(before.Region.GetRegionEpoch().GetVersion())\n",
			broken: "	return nil\n",
			also: &bug{ // or what is read is held against the range that the grant names
				file:   "kv/storage/raftkv/raftkv.go",
				old:    "done(&snapshot{snap, s, g.Region, before.PeerID, g.Term}, nil)",
				broken: "done(&snapshot{snap, s, before.Region, before.PeerID, g.Term}, nil)",
			},
		},
	},
	{
		name: "frozen-region-reads", pitfall: "S14", file: "kv/raftstore/machine/op_read.go",
		old:    `	if p.merge.frozen() {`,
		broken: `	if p.merge.frozen() && p.merge.yielded {`,
	},
	{
		name: "frozen-region-writes", pitfall: "S17", file: "kv/raftstore/machine/op_write.go",
		old:    `	if p.merge.frozen() {`,
		broken: `	if p.merge.frozen() && p.merge.yielded {`,
		also: &bug{
			file:   "kv/raftstore/machine/applier.go",
			old:    `	if a.merge != nil && c.Kind != command.RollbackMerge {`,
			broken: `	if a.merge != nil && a.yielded && c.Kind != command.RollbackMerge {`,
		},
	},
	{
		name: "replica-reads-ahead-of-the-leader", pitfall: "R10, S14", file: "kv/raftstore/machine/op_life.go",
		old:    `AnnounceApplied: true`,
		broken: `AnnounceApplied: false`,
	},
	// Splits and merges.
	{
		name: "early-votes-dropped", pitfall: "S6", file: "kv/raftstore/machine/store_machine.go",
		old:    `		m.early.keep(msg) // `,
		broken: `		// `,
	},
	{
		name: "index-keeps-the-parents-range", pitfall: "S4", file: "kv/raftstore/machine/op_adopt.go",
		old:    "	if _, ok := m.present[divided.Id]; ok {\n",
		broken: "	if _, ok := m.present[divided.Id]; !ok {\n",
	},
	{
		name: "claims-forgotten", pitfall: "S3", file: "kv/raftstore/machine/op_merge_claim.go",
		old:    `	m.claims[id] = c.Region`,
		broken: `	delete(m.claims, id)`,
	},
	{
		name: "merge-not-recorded", pitfall: "S3, S17, tikv #7027", file: "kv/raftstore/machine/op_merge_target.go",
		old:    `		a.records = joinRecords(`,
		broken: `		_ = joinRecords(`,
	},
	{
		name: "snapshot-thaws-a-frozen-region", pitfall: "S17, tikv #12232", file: "kv/raftstore/machine/merge_records.go",
		old:    `	if s.State == raft_serverpb.PeerState_Merging {`,
		broken: `	if s.State == raft_serverpb.PeerState_Applying {`,
	},
	{
		name: "source-taken-in-while-it-serves", pitfall: "S14, S17", file: "kv/raftstore/machine/op_merge_target.go",
		old:    `	if s.yielded && s.merge.GetCommit() == b.Index {`,
		broken: `	if s.merge.GetCommit() == b.Index {`,
	},
	{
		name: "merge-of-regions-on-different-stores", pitfall: "S17", file: "kv/raftstore/machine/op_merge.go",
		old:    `		if t == nil || t.Role != q.Role {`,
		broken: `		if t != nil && t.Role != q.Role {`,
	},
	// Crashes.
	{
		name: "commit-index-not-raised-at-a-start", pitfall: "S1", file: "kv/raftstore/machine/op_life.go",
		old:    `	hs.Commit = max(hs.Commit, applied.Index)`,
		broken: `	hs.Commit = min(hs.Commit, r.Raft.GetLastIndex())`,
		also: &bug{
			file:   "raft/raft.go",
			old:    `	log.committed = max(log.applied, hard.Commit)`,
			broken: `	log.committed = hard.Commit`,
		},
	},
	{
		name: "tombstone-not-synced", pitfall: "S7, S24", file: "kv/raftstore/machine/apply_machine.go",
		old:    "	m.remember(r, t.PeerID, records)\n	round.Sync = true\n",
		broken: "	m.remember(r, t.PeerID, records)\n",
	},
	// Sleep.
	{
		name: "silent-store-not-noticed", pitfall: "S21", file: "kv/raftstore/machine/neighbours.go",
		old:    `n.ticks-s.heardAt >= uint64(n.cfg.ElectionTicks) {`,
		broken: `n.ticks-s.heardAt >= uint64(n.cfg.ElectionTicks)<<20 {`,
	},
	{
		name: "restart-of-a-store-not-noticed", pitfall: "S21", file: "kv/raftstore/machine/neighbours.go",
		old:    `	if s.life != life {`,
		broken: `	if s.life == 0 {`,
	},
}
