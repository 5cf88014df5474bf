package sim

// bugs are the deliberate bugs. Each is as small as the slip that would make it.
var bugs = []bug{
	// Elections.
	{
		name: "vote-not-written", pitfall: "R15", file: "kv/raftstore/machine/ready.go",
		old:    `	hs := p.node.Raft.HardState()`,
		broken: "\ths := p.node.Raft.HardState()\n\ths.Vote = 0",
	},
	{
		name: "term-and-vote-not-synced", pitfall: "R15", file: "raft/ready.go",
		old:    `rd.MustSync = r.Term != rn.reported.hard.Term || r.Vote != rn.reported.hard.Vote ||`,
		broken: `rd.MustSync =`,
	},
	{
		name: "two-votes-in-a-term", pitfall: "R15", file: "raft/candidate.go",
		old:    `grant := free && r.RaftLog.isUpToDate(m.Index, m.LogTerm)`,
		broken: `grant := (free || true) && r.RaftLog.isUpToDate(m.Index, m.LogTerm)`,
	},
	{
		name: "vote-for-a-short-log", pitfall: "Raft 5.4.1", file: "raft/candidate.go",
		old:    `grant := free && r.RaftLog.isUpToDate(m.Index, m.LogTerm)`,
		broken: `grant := free`,
	},
	{
		name: "log-compared-by-length", pitfall: "Raft 5.4.1", file: "raft/log.go",
		old:    `return term > l.lastTerm() || term == l.lastTerm() && index >= l.LastIndex()`,
		broken: `return index >= l.LastIndex()`,
	},
	{
		name: "campaign-before-applying-a-change", pitfall: "R2", file: "raft/candidate.go",
		old:    `return r.promotable() && !r.RaftLog.unappliedConfChange()`,
		broken: `return r.promotable()`,
	},
	{
		name: "old-leader-not-answered", pitfall: "R5", file: "raft/raft.go",
		old:    `		r.send(eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, To: m.From})`,
		broken: `		_ = m`,
	},
	{
		name: "young-peer-forgets-its-vote", pitfall: "S5", file: "kv/raftstore/machine/store_machine.go",
		old:    `Create{RegionID: id, PeerID: peerID, State: state, First: first}`,
		broken: `Create{RegionID: id, PeerID: peerID, State: map[bool]*raft_serverpb.RaftLocalState{true: state}[false], First: first}`,
	},
	{
		name: "transfer-campaign-counts-twice", pitfall: "R15", file: "raft/candidate.go",
		old:    `	if _, voted := r.votes[from]; !voted {`,
		broken: "\tif _, voted := r.votes[from]; voted && granted {\n\t\tr.votes[from+1<<32] = true\n\t\tr.becomeLeader()\n\t\treturn\n\t} else if !voted {",
	},
	// Replication and commit.
	{
		name: "old-term-commit", pitfall: "R1", file: "raft/leader.go",
		old:    `if index > l.LastIndex() || index <= before || !l.matchTerm(index, r.Term) {`,
		broken: `if index > l.LastIndex() || index <= before {`,
	},
	{
		name: "ack-before-sync", pitfall: "R15", file: "kv/raftstore/machine/ready.go",
		old:    `task := WriteTask{PeerID: p.id, Number: p.persist.base + rd.Number, After: after}`,
		broken: "m.round.Send = append(m.round.Send, after...)\n\ttask := WriteTask{PeerID: p.id, Number: p.persist.base + rd.Number}",
	},
	{
		name: "log-not-synced", pitfall: "R15", file: "kv/raftstore/machine/ready.go",
		old:    `task.RegionID, task.Sync = p.regionID, rd.MustSync`,
		broken: `task.RegionID, task.Sync = p.regionID, false`,
	},
	{
		name: "own-entry-counts-before-sync", pitfall: "R15, etcd #14370", file: "raft/leader.go",
		old:    `	own.Next = r.RaftLog.LastIndex() + 1`,
		broken: "\town.Next = r.RaftLog.LastIndex() + 1\n\town.maybeUpdate(r.RaftLog.LastIndex())",
	},
	{
		name: "writes-reported-too-early", pitfall: "R15", file: "raft/ready.go",
		old:    `rn.Raft.RaftLog.handoff.takeWritten(number)`,
		broken: `rn.Raft.RaftLog.handoff.takeWritten(number + 1)`,
	},
	{
		name: "conflict-kept", pitfall: "Raft 5.3", file: "raft/log.go",
		old:    `if e.Index <= l.offset || l.matchTerm(e.Index, e.Term) {`,
		broken: `if e.Index <= l.LastIndex() {`,
	},
	{
		name: "previous-entry-unchecked", pitfall: "Raft 5.3", file: "raft/log.go",
		old:    `	if !l.matchTerm(prevIndex, prevTerm) {`,
		broken: `	if prevIndex > l.LastIndex() {`,
	},
	{
		name: "heartbeat-tells-the-whole-commit", pitfall: "Raft 5.3", file: "raft/append.go",
		old:    `m.Commit = min(pr.Match, r.announced())`,
		broken: `m.Commit = r.announced()`,
	},
	{
		name: "minority-commits", pitfall: "Raft 5.3", file: "raft/leader.go",
		old:    "	index, before := r.conf.Voters.Committed(matchIndexes(r.Prs)), l.committed\n",
		broken: "\tindex, before := r.conf.Voters.Committed(matchIndexes(r.Prs)), l.committed\n\tfor _, pr := range r.Prs {\n\t\tif pr.Match > index && pr.State == ProgressReplicate && len(r.Prs) > 2 {\n\t\t\tindex = pr.Match\n\t\t}\n\t}\n",
	},
	// Reads.
	{
		name: "read-index-before-own-commit", pitfall: "R8", file: "raft/readonly.go",
		old:    `return len(r.reads.arrived) > 0 && r.async() && r.committedInTerm()`,
		broken: `return len(r.reads.arrived) > 0 && r.async() && r.State == StateLeader`,
		also: &bug{
			file:   "kv/raftstore/machine/op_read.go",
			old:    `if len(p.reads) == 0 || p.snap.installing || p.isLeader() && p.applied.Term != p.term() {`,
			broken: `if len(p.reads) == 0 || p.snap.installing {`,
		},
	},
	{
		name: "read-acknowledged-by-an-old-round", pitfall: "R9, etcd #20418", file: "raft/readonly.go",
		old:    `	round := binary.BigEndian.Uint64(context)`,
		broken: `	round := newest`,
	},
	{
		name: "read-without-waiting-for-apply", pitfall: "R10", file: "kv/raftstore/machine/op_read.go",
		old:    `if b.index == 0 || b.index > p.applied.Index {`,
		broken: `if b.index == 0 {`,
		also: &bug{
			file:   "kv/raftstore/machine/op_read.go",
			old:    `if len(p.reads) == 0 || p.snap.installing || p.isLeader() && p.applied.Term != p.term() {`,
			broken: `if len(p.reads) == 0 || p.snap.installing {`,
		},
	},
	{
		name: "read-without-asking-the-quorum", pitfall: "R8", file: "raft/readonly.go",
		old:    `	for len(rs.waiting) > 0 && rs.waiting[0].round <= rs.acked {`,
		broken: `	for len(rs.waiting) > 0 {`,
	},
	{
		name: "lease-from-the-answer", pitfall: "R11", file: "kv/raftstore/machine/peer.go",
		old:    `l.end = l.stamps[0].at + cfg.LeaseDuration`,
		broken: `l.end = now + cfg.LeaseDuration`,
	},
	{
		name: "lease-too-long", pitfall: "R11", file: "kv/raftstore/machine/peer.go",
		old:    `l.end = l.stamps[0].at + cfg.LeaseDuration`,
		broken: `l.end = l.stamps[0].at + 3*cfg.LeaseDuration`,
	},
	{
		name: "lease-kept-through-transfer", pitfall: "R11", file: "kv/raftstore/machine/peer.go",
		old:    `if acked == 0 || p.node.Raft.LeadTransferee() != raft.None {`,
		broken: `if acked := p.node.Raft.LeadTransferee(); acked == 0 && false {`,
	},
	{
		name: "followers-do-not-keep-the-lease", pitfall: "R11", file: "raft/candidate.go",
		old:    `func (r *Raft) inLease() bool { return r.heardLeader() || r.clock.silence > 0 }`,
		broken: `func (r *Raft) inLease() bool { return false }`,
	},
	{
		name: "restart-forgets-the-lease", pitfall: "R11, tikv #15035", file: "kv/raftstore/machine/op_life.go",
		old:    `		return m.cfg.ElectionTicks`,
		broken: `		return 0`,
	},
	// Apply, callbacks and the two engines.
	{
		name: "apply-before-persisted", pitfall: "S1", file: "raft/log_window.go",
		old:    `lo, hi = l.handoff.apply, min(l.committed, l.stabled)`,
		broken: `lo, hi = l.handoff.apply, l.committed`,
	},
	{
		name: "applied-index-outside-the-batch", pitfall: "S1", file: "kv/raftstore/steps.go",
		old: `	return batch.Commit(round.Sync)`,
		broken: "\tearly := d.State.NewBatch()\n\tfor _, m := range round.Mail {\n\t\tif a, ok := m.Mail.(machine.Applied); ok {\n" +
			"\t\t\tb, _ := machine.ApplyState(a.Results.Applied, a.Results.Truncated).Marshal()\n\t\t\tearly.Put(engine.Local, keys.ApplyState(a.RegionID), b)\n\t\t}\n\t}\n" +
			"\t_ = early.Commit(false)\n\treturn batch.Commit(round.Sync)",
	},
	{
		name: "callback-by-index-only", pitfall: "S12", file: "kv/raftstore/machine/op_write.go",
		old:    `		if e.Pair == at {`,
		broken: `		if e.Index == at.Index {`,
		also: &bug{
			file:   "kv/raftstore/machine/op_write.go",
			old:    "	for _, e := range p.pending {\n		m.groups.decided(&e, m.now)\n		for _, pr := range e.proposals {\n			m.reply(pr.Done, region.ErrUndetermined)\n		}\n	}\n	p.pending = nil\n",
			broken: "",
		},
	},
	{
		name: "pending-writes-kept-by-a-follower", pitfall: "S12", file: "kv/raftstore/machine/op_write.go",
		old:    "	p.pending = nil\n",
		broken: "",
	},
	{
		name: "acknowledged-when-proposed", pitfall: "S25", file: "kv/raftstore/machine/op_write.go",
		old:    `		batch := p.waiting.take(n)`,
		broken: "\t\tbatch := p.waiting.take(n)\n\t\tfor _, pr := range batch {\n\t\t\tm.reply(pr.Done, nil)\n\t\t}\n\t\tbatch = nil",
	},
	{
		name: "undetermined-called-rejected", pitfall: "S25", file: "kv/raftstore/machine/op_write.go",
		old:    `			m.reply(pr.Done, region.ErrUndetermined)`,
		broken: `			m.reply(pr.Done, waiting)`,
	},
	{
		name: "write-in-another-term-than-its-snapshot", pitfall: "S13", file: "kv/raftstore/machine/op_write.go",
		old:    `if pr.Term != 0 && pr.Term != p.term() {`,
		broken: `if pr.Term != 0 && pr.Term > p.term() {`,
	},
	{
		name: "log-cut-before-the-state-is-synced", pitfall: "S15", file: "kv/raftstore/machine/op_compact.go",
		old:    `m.round.Tasks = append(m.round.Tasks, SyncState{RegionID: p.regionID, PeerID: p.id, CompactTo: at.Index + 1})`,
		broken: `m.handleStateSynced(StateSynced{RegionID: p.regionID, PeerID: p.id, CompactTo: at.Index + 1})`,
	},
	// Snapshots.
	{
		name: "stale-snapshot-accepted", pitfall: "R12", file: "raft/snapshot.go",
		old:    `	if index <= l.committed && !renewal {`,
		broken: `	if index == 0 {`,
	},
	{
		name: "snapshot-acknowledged-before-it-is-installed", pitfall: "S2", file: "kv/raftstore/machine/op_snapshot.go",
		old:    `p.snap.after = m.envelopes(p, nil, rd.PersistedMessages)`,
		broken: `m.round.Send = m.envelopes(p, m.round.Send, rd.PersistedMessages)`,
	},
	{
		name: "no-install-marker", pitfall: "S2", file: "kv/raftstore/machine/apply_machine.go",
		old:    `		batch.Put(engine.Local, keys.InstallMarker(t.RegionID), encodePair(in.At))`,
		broken: `		_ = in.At`,
	},
	{
		name: "snapshot-index-from-later", pitfall: "S2", file: "kv/raftstore/steps.go",
		old:    `key := snapfile.Key{RegionID: regionID, Term: applied.CommitTerm, Index: applied.AppliedIndex}`,
		broken: `key := snapfile.Key{RegionID: regionID, Term: applied.CommitTerm, Index: applied.AppliedIndex + 1}`,
	},
	// Membership.
	{
		name: "removed-peer-comes-back", pitfall: "S7", file: "kv/raftstore/machine/store_machine.go",
		old:    `if t, ok := m.tombstones[id]; ok && (to.Id <= t.PeerID || msg.RegionEpoch.GetConfVer() < t.ConfVer) {`,
		broken: `if t, ok := m.tombstones[id]; ok && to.Id < t.PeerID {`,
	},
	{
		name: "no-tombstone", pitfall: "S7", file: "kv/raftstore/machine/apply_machine.go",
		old:    `	putTombstone(batch, r, &metapb.Peer{Id: t.PeerID, StoreId: m.storeID}, records, t.Into)`,
		broken: "\tbatch.Delete(engine.Local, keys.RegionState(t.RegionID))",
	},
	{
		name: "change-of-another-epoch-applied", pitfall: "S10, R3", file: "kv/raftstore/machine/admin.go",
		old:    `return epochRule{checksVersion: true, checksConfVer: true, bumpsConfVer: true}`,
		broken: `return epochRule{checksVersion: true, bumpsConfVer: true}`,
		also: &bug{
			file:   "raft/membership.go",
			old:    `return r.PendingConfIndex > r.RaftLog.applied || r.office.held.first > 0`,
			broken: `return false`,
		},
	},
	// The scheduler.
	{
		name: "timestamps-from-memory", pitfall: "P1", file: "scheduler/oracle/timestamps.go",
		old:    `physical: max(wall, saved+restartGuard),`,
		broken: `physical: wall,`,
	},
	{
		name: "ids-reused", pitfall: "P2", file: "scheduler/oracle/ids.go",
		old:    `return &IDs{last: saved, saved: saved, window: max(window, 1)}`,
		broken: `return &IDs{last: saved - min(saved, window), saved: saved, window: max(window, 1)}`,
	},
	{
		name: "timestamps-after-the-lease", pitfall: "P1", file: "scheduler/oracle/timestamps.go",
		old:    `	if !now.Before(leaseEnd) {`,
		broken: `	if false {`,
	},
	{
		name: "calendar-followed-back", pitfall: "P1", file: "scheduler/oracle/timestamps.go",
		old:    `if wall > physical {`,
		broken: `if wall != physical {`,
	},
	{
		name: "leader-key-removed-within-its-lease", pitfall: "P1", file: "scheduler/election/election.go",
		old:    `return l.Now.Sub(c.since) > c.Lease+c.Lease/driftShare`,
		broken: `return true`,
	},
	{
		name: "scheduler-lease-too-long", pitfall: "P1", file: "scheduler/election/election.go",
		old:    `next := asked.Add(lease)`,
		broken: `next := asked.Add(2 * lease)`,
	},
	{
		name: "old-leaders-heartbeat-accepted", pitfall: "P3", file: "scheduler/cluster/region.go",
		old:    `epoch.GetConfVer() < old.GetConfVer() || r.Term > 0 && r.Term < known.Term`,
		broken: `epoch.GetConfVer() < old.GetConfVer()`,
	},
}
