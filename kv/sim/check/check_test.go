package check

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

const regionID = 1

// rig is three stores of one region, peers 11, 12 and 13, whose logs end at (5, 5). What the tests tell the checker is made up.
type rig struct {
	*Checker
	said  []string
	disks map[uint64]*fakeDisk
	now   machine.Instant
}

// fakeDisk is a durable log that the test writes.
type fakeDisk struct {
	terms map[uint64]uint64
	state *raft_serverpb.RaftLocalState
}

func (d *fakeDisk) Term(_, index uint64) uint64                { return d.terms[index] }
func (d *fakeDisk) State(uint64) *raft_serverpb.RaftLocalState { return d.state }
func (d *fakeDisk) vote(term, vote uint64) {
	d.state.HardState.Term, d.state.HardState.Vote = term, vote
}
func peerOf(store uint64) *metapb.Peer { return &metapb.Peer{Id: store + 10, StoreId: store} }
func entryOf(index, term uint64, data string) eraftpb.Entry {
	return eraftpb.Entry{Index: index, Term: term, Data: []byte(data)}
}

func shape(confVer uint64, start, end string, stores ...uint64) *metapb.Region {
	r := &metapb.Region{Id: regionID, StartKey: []byte(start), EndKey: []byte(end), RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: confVer}}
	for _, s := range stores {
		r.Peers = append(r.Peers, peerOf(s))
	}
	return r
}

func newRig() *rig {
	r := &rig{disks: make(map[uint64]*fakeDisk)}
	r.Checker = New(func(what string) { r.said = append(r.said, what) })
	for id := uint64(1); id <= 3; id++ {
		r.disks[id] = &fakeDisk{
			terms: make(map[uint64]uint64),
			state: &raft_serverpb.RaftLocalState{LastIndex: 5, HardState: &eraftpb.HardState{Term: 5, Commit: 5}},
		}
		r.start(id)
	}
	return r
}

// start begins a life of a store from its disk.
func (r *rig) start(id uint64) {
	d := r.disks[id]
	f := Found{Region: shape(3, "", "", 1, 2, 3), PeerID: id + 10, State: d.state, Applied: machine.Pair{Index: 5, Term: 5}, Truncated: machine.Pair{Index: 5, Term: 5}}
	for i := uint64(6); d.terms[i] > 0; i++ {
		f.Entries = append(f.Entries, entryOf(i, d.terms[i], ""))
	}
	r.Started(id, d, func() machine.Instant { return r.now }, []Found{f})
}

// view shows a peer; with lead it is the term's leader.
func (r *rig) view(id, term uint64, lead bool, more ...func(*machine.RegionView)) {
	v := &machine.RegionView{
		Region: shape(3, "", "", 1, 2, 3), PeerID: id + 10, Term: term, IsLeader: lead, Initialized: true,
		Log: machine.LogStatus{Applied: 5, Committed: 5, Stabled: 5, Last: 5},
	}
	for _, m := range more {
		m(v)
	}
	r.Decided(id, &machine.Round{Views: []*machine.RegionView{v}})
}

// write appends an entry to a store's log, and lets it become durable.
func (r *rig) write(id uint64, e eraftpb.Entry) {
	r.give(id, e)
	r.disks[id].terms[e.Index] = e.Term
	r.disks[id].state.LastIndex = e.Index
	r.disks[id].state.HardState.Term = max(r.disks[id].state.HardState.Term, e.Term)
}

// give hands an entry to a store's log writer.
func (r *rig) give(id uint64, e eraftpb.Entry) {
	task := machine.WriteTask{Update: logstore.Update{RegionID: regionID, Entries: []eraftpb.Entry{e}}, PeerID: id + 10}
	r.Decided(id, &machine.Round{Write: []machine.WriteTask{task}})
}

func (r *rig) send(from, to uint64, m eraftpb.Message) {
	m.From, m.To = from+10, to+10
	r.Sent(from, &raft_serverpb.RaftMessage{RegionId: regionID, FromPeer: peerOf(from), ToPeer: peerOf(to), Message: &m})
}

func (r *rig) heartbeat(from, to, term, commit uint64) {
	r.send(from, to, eraftpb.Message{MsgType: eraftpb.MessageType_MsgHeartbeat, Term: term, Commit: commit})
}

func (r *rig) ack(from, to, term, index uint64) {
	r.send(from, to, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppendResponse, Term: term, Index: index})
}

func (r *rig) grant(from, to, term uint64) {
	r.send(from, to, eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, Term: term})
}

// apply hands entries over and has them applied.
func (r *rig) apply(id uint64, entries ...eraftpb.Entry) {
	r.Decided(id, &machine.Round{Apply: []machine.ApplyTask{{RegionID: regionID, PeerID: id + 10, Entries: entries}}})
	last := entries[len(entries)-1]
	r.applied(id, machine.ApplyResults{Applied: machine.Pair{Index: last.Index, Term: last.Term}})
}

func (r *rig) applied(id uint64, results machine.ApplyResults) {
	mail := machine.Applied{RegionID: regionID, PeerID: id + 10, Results: results}
	r.Applied(id, &machine.ApplyRound{Mail: []machine.Addressed{{RegionID: regionID, Mail: mail}}}, nil)
}

// elect makes a store the leader of a term, with an entry of its own that all stores hold.
func (r *rig) elect(id, term, index uint64) {
	r.view(id, term, true)
	for other := uint64(1); other <= 3; other++ {
		r.write(other, entryOf(index, term, ""))
		if other != id {
			r.ack(other, id, term, index)
		}
	}
}

// Whatever the product does when nothing is wrong must not be reported.
func TestAGoodLife(t *testing.T) {
	r := newRig()
	r.disks[2].vote(6, 11)
	r.grant(2, 1, 6)
	r.elect(1, 6, 6)
	r.heartbeat(1, 2, 6, 6)
	for id := uint64(1); id <= 3; id++ {
		r.apply(id, entryOf(6, 6, ""))
		r.State(id, regionID, 6, 42)
	}
	r.view(1, 6, true, func(v *machine.RegionView) { v.Ready, v.LeaseEnd = true, 100 })
	r.now = 100
	r.Killed(1)
	r.start(1)
	r.elect(2, 7, 7)
	r.heartbeat(2, 3, 7, 7)
	r.view(1, 7, false)
	require.Empty(t, r.said)
	require.Equal(t, 2, r.Elections)
}

func TestBadLivesAreReported(t *testing.T) {
	for name, tc := range map[string]struct {
		live func(r *rig)
		want string
	}{
		"two leaders in a term": {func(r *rig) {
			r.view(1, 6, true)
			r.heartbeat(2, 3, 6, 5)
		}, "two leaders in term 6: peer 11 on store 1 and peer 12 on store 2"},
		"a vote for each of two": {func(r *rig) {
			r.disks[3].vote(6, 11)
			r.grant(3, 1, 6)
			r.disks[3].vote(6, 12)
			r.grant(3, 2, 6)
		}, "votes for peer 12 in term 6, and the store has voted for peer 11"},
		"a vote forgotten in a crash": {func(r *rig) {
			r.disks[3].vote(6, 11)
			r.grant(3, 1, 6)
			r.Killed(3)
			r.disks[3].vote(5, 0)
			r.start(3)
		}, "starts in term 5, and the store has promised something in term 6"},
		"a vote that is not durable": {func(r *rig) {
			r.disks[3].vote(6, 0)
			r.grant(3, 1, 6)
		}, "votes for peer 11 in term 6, and the durable vote is for peer 0"},
		"a term that is not durable": {func(r *rig) { r.grant(3, 1, 6) }, "speaks for term 6, and only term 5 is durable"},
		"a term that goes back": {func(r *rig) {
			r.view(3, 7, false)
			r.view(3, 6, false)
		}, "goes back from term 7 to term 6"},
		"an acknowledgement before the sync": {func(r *rig) {
			r.view(1, 6, true)
			r.disks[2].vote(6, 0)
			r.give(2, entryOf(6, 6, ""))
			r.ack(2, 1, 6, 6)
		}, "acknowledges index 6 in term 6, and its durable log ends at 5"},
		"an acknowledgement of another entry": {func(r *rig) {
			r.view(1, 6, true)
			r.write(1, entryOf(6, 6, ""))
			r.write(2, entryOf(6, 5, ""))
			r.disks[2].vote(6, 0)
			r.ack(2, 1, 6, 6)
		}, "its entry is of term 5, the leader's of term 6"},
		"an acknowledgement to nobody": {func(r *rig) {
			r.write(2, entryOf(6, 6, ""))
			r.ack(2, 1, 6, 6)
		}, "which does not lead in term 6"},
		"logs that part behind an equal entry": {func(r *rig) {
			r.write(1, entryOf(6, 6, ""))
			r.write(1, entryOf(7, 7, ""))
			r.write(2, entryOf(6, 5, ""))
			r.write(2, entryOf(7, 7, ""))
		}, "hold the same entry at index 7 of term 7, and before it entries of terms 6 and 5"},
		"an entry with two contents": {func(r *rig) {
			r.write(1, entryOf(6, 6, "a"))
			r.write(2, entryOf(6, 6, "b"))
		}, "hold different entries at index 6 of term 6"},
		"a hole in a log": {func(r *rig) { r.write(1, entryOf(8, 6, "")) }, "writes index 8 into a log of (5, 5]"},
		"commit without a quorum": {func(r *rig) {
			r.view(1, 6, true)
			r.write(1, entryOf(6, 6, ""))
			r.heartbeat(1, 2, 6, 6)
		}, "commits index 6, an entry of term 6, and no quorum"},
		"commit of an old entry by counting (R1)": {func(r *rig) {
			for id := uint64(1); id <= 3; id++ {
				r.write(id, entryOf(6, 6, ""))
			}
			r.view(1, 7, true)
			r.write(1, entryOf(7, 7, ""))
			r.disks[2].vote(7, 0)
			r.ack(2, 1, 7, 6)
			r.heartbeat(1, 2, 7, 6)
		}, "commits index 6, an entry of term 6"},
		"a leader without what was committed": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.send(2, 3, eraftpb.Message{MsgType: eraftpb.MessageType_MsgAppend, Term: 7, Index: 5, LogTerm: 5, Entries: []*eraftpb.Entry{{Index: 6, Term: 7}}})
		}, "the leader of term 7 has an entry of term 7 at index 6; store 1 had applied one of term 6"},
		"an applied entry is overwritten": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.give(1, entryOf(6, 7, ""))
		}, "overwrites index 6, and index 6 is applied"},
		"two entries applied at an index": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, "a"))
			r.apply(2, entryOf(6, 6, "b"))
		}, "stores 1 and 2 apply different entries at index 6"},
		"an entry applied twice": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.apply(1, entryOf(6, 6, ""))
		}, "is to apply index 6 after index 6"},
		"an entry left out": {func(r *rig) { r.apply(1, entryOf(7, 6, "")) }, "is to apply index 7 after index 5"},
		"applied before it is durable": {func(r *rig) {
			r.give(1, entryOf(6, 6, ""))
			r.apply(1, entryOf(6, 6, ""))
		}, "which is not durable in its log"},
		"an applied index of its own": {func(r *rig) { r.applied(1, machine.ApplyResults{Applied: machine.Pair{Index: 9, Term: 6}}) }, "has applied up to index 9"},
		"different data at an index": {func(r *rig) {
			r.State(1, regionID, 6, 42)
			r.State(2, regionID, 6, 43)
		}, "stores 1 and 2 hold different data at applied index 6"},
		"another applied entry after a restart": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.Started(2, r.disks[2], func() machine.Instant { return 0 }, []Found{{
				Region: shape(3, "", "", 1, 2, 3), PeerID: 12, State: r.disks[2].state, Applied: machine.Pair{Index: 6, Term: 5}, Truncated: machine.Pair{Index: 6, Term: 5},
			}})
		}, "starts with an entry of term 5 applied at 6; store 1 applied one of term 6"},
		"another entry than one that was applied and not told, before a restart": {func(r *rig) {
			for id, term := range map[uint64]uint64{1: 5, 2: 6} {
				r.Started(id, r.disks[id], func() machine.Instant { return 0 }, []Found{{
					Region: shape(3, "", "", 1, 2, 3), PeerID: id + 10, State: r.disks[id].state, Truncated: machine.Pair{Index: 5, Term: 5},
					Applied: machine.Pair{Index: 6, Term: term}, Entries: []eraftpb.Entry{entryOf(6, term, "")},
				}})
			}
		}, "applied at 6; store"},
		"a snapshot that takes back (R12)": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.applied(1, machine.ApplyResults{Applied: machine.Pair{Index: 6, Term: 6}, Installed: true})
		}, "installs a snapshot of index 6, and has applied index 6"},
		"a snapshot of nothing": {func(r *rig) {
			r.applied(1, machine.ApplyResults{Applied: machine.Pair{Index: 9, Term: 6}, Installed: true})
		}, "ends at index 9 of term 6, which was never applied"},
		"a snapshot of nothing is sent": {func(r *rig) {
			snap := &eraftpb.Snapshot{Metadata: &eraftpb.SnapshotMetadata{Index: 9, Term: 6}}
			r.send(1, 2, eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot, Term: 6, Snapshot: snap})
		}, "at index 9, which was never applied"},
		"a read before the leader's own entry (R8)": {func(r *rig) {
			r.view(1, 6, true)
			grant := machine.Reply{Grant: func(machine.ReadGrant, error) {}, Read: machine.ReadGrant{Region: shape(3, "", "", 1, 2, 3), Term: 6}}
			r.Decided(1, &machine.Round{Reply: []machine.Reply{grant}})
		}, "grants a read in term 6, and has applied index 5"},
		"ready too early (R10)": {func(r *rig) { r.view(1, 6, true, func(v *machine.RegionView) { v.Ready = true }) }, "is ready to lead term 6"},
		"a lease outlasts its term (R11)": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.view(1, 6, true, func(v *machine.RegionView) { v.Ready, v.LeaseEnd = true, 100 })
			r.now = 99
			r.view(2, 7, true)
		}, "store 2 begins to lead in term 7 while the lease of store 1, of term 6, runs on for 1 ns"},
		"a lease is taken too late": {func(r *rig) {
			r.elect(1, 6, 6)
			r.apply(1, entryOf(6, 6, ""))
			r.view(2, 7, true)
			r.view(1, 6, true, func(v *machine.RegionView) { v.Ready, v.LeaseEnd = true, 100 })
		}, "store 1 takes a lease in term 6 while store 2 leads in term 7"},
		"an epoch with two shapes": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Region = shape(3, "", "", 1, 2) })
		}, "has two shapes at epoch"},
		"an epoch that goes back": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Region = shape(4, "", "", 1, 2) })
			r.view(1, 5, false)
		}, "goes back from epoch"},
		"two peers at once": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Region = shape(4, "", "", 1) })
		}, "changes more than one peer at once"},
		"overlapping regions": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Region = another(2, "b", "c") })
		}, "regions 2 and 1 overlap"},
		"two owners of a key": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Region = another(1, "b", "c") })
		}, "regions 2 and 1 own the same keys at version 1"},
		"an engine with overlapping regions (S3)": {func(r *rig) {
			r.Holds(1, []*metapb.Region{another(2, "b", "c"), shape(3, "", "", 1, 2, 3)})
		}, "which overlap"},
		"a parent's lease over a child's keys (S14)": {func(r *rig) {
			r.elect(1, 6, 6)
			leads(r, 1, func(v *machine.RegionView) { v.Region, v.LeaseEnd = shape(3, "", "", 1, 2, 3), r.now+10 })
			leads(r, 2, func(v *machine.RegionView) { v.Region = another(2, "b", "c") })
		}, "holds a lease of region 1 at version 1"},
		"a lease over a child's keys that comes late (S14)": {func(r *rig) {
			r.elect(1, 6, 6)
			leads(r, 2, func(v *machine.RegionView) { v.Region = another(2, "b", "c") })
			leads(r, 1, func(v *machine.RegionView) { v.Region, v.LeaseEnd = shape(3, "", "", 1, 2, 3), r.now+10 })
		}, "holds a lease of region 1 at version 1"},
		"a second change of peers (R3)": {func(r *rig) {
			r.elect(1, 6, 6)
			for i := uint64(7); i <= 8; i++ {
				e := entryOf(i, 6, "")
				e.EntryType = eraftpb.EntryType_EntryConfChange
				r.give(1, e)
			}
		}, "proposes a change of peers at 8 while the one at 7 is pending"},
		"a log that does not stand": {func(r *rig) {
			r.view(1, 5, false, func(v *machine.RegionView) { v.Log.Applied = 6 })
		}, "its log stands at applied 6, committed 5"},
	} {
		r := newRig()
		tc.live(r)
		require.Len(t, r.said, 1, name)
		require.Contains(t, r.said[0], tc.want, name)
	}
}

// another is region 2, at some version.
func another(version uint64, start, end string) *metapb.Region {
	r := shape(3, start, end, 1, 2, 3)
	r.Id, r.RegionEpoch.Version = 2, version
	return r
}

// leads shows a leader of term 6 that is ready.
func leads(r *rig, id uint64, shows func(v *machine.RegionView)) {
	v := &machine.RegionView{
		PeerID: id + 10, Term: 6, IsLeader: true, Ready: true, Initialized: true,
		Log: machine.LogStatus{Applied: 6, Committed: 6, Stabled: 6, Last: 6},
	}
	shows(v)
	rec := r.region(v.Region.Id)
	clear(r.stores[id].peers) // it has no other region
	r.peer(r.stores[id], rec, v.PeerID).applied = 6
	*rec.chosen.room(6) = chosenEntry{term: 6, by: 6, store: id}
	rec.committed = 6
	r.Decided(id, &machine.Round{Views: []*machine.RegionView{v}})
}

// A peer that was destroyed may still be heard, and its successor on the store is bound by its vote.
func TestAVoteOutlivesItsPeer(t *testing.T) {
	r := newRig()
	r.disks[3].vote(6, 11)
	r.grant(3, 1, 6)
	r.Decided(3, &machine.Round{Write: []machine.WriteTask{{Update: logstore.Update{RegionID: regionID, Destroy: true}, PeerID: 13}}})
	succeed := func(term uint64) {
		r.disks[3].vote(term, 12)
		r.Sent(3, &raft_serverpb.RaftMessage{
			RegionId: regionID, FromPeer: &metapb.Peer{Id: 33, StoreId: 3}, ToPeer: peerOf(2),
			Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgRequestVoteResponse, Term: term, To: 12},
		})
	}
	succeed(7)
	r.grant(3, 1, 6) // late
	require.Empty(t, r.said)
	succeed(6)
	require.Len(t, r.said, 1)
	require.Contains(t, r.said[0], "and the store has voted for peer 11")
}

// A crash may leave a snapshot's data without its index, which the log then mends.
func TestATornInstallIsNoDifference(t *testing.T) {
	r := newRig()
	r.State(1, regionID, 6, 42)
	r.State(1, regionID, 8, 44)
	r.Decided(2, &machine.Round{Apply: []machine.ApplyTask{{RegionID: regionID, PeerID: 12, Install: &machine.Installation{At: machine.Pair{Index: 7, Term: 6}}}}})
	r.Killed(2)
	r.State(2, regionID, 6, 43)
	require.Empty(t, r.said)
	r.State(2, regionID, 8, 43)
	require.Len(t, r.said, 1)
}

// In a joint configuration both majorities count.
func TestJointQuorums(t *testing.T) {
	joint := shape(4, "", "", 1, 2, 3)
	joint.Peers[2].Role = metapb.PeerRole_DemotingVoter
	joint.Peers = append(joint.Peers, &metapb.Peer{Id: 14, StoreId: 4, Role: metapb.PeerRole_IncomingVoter}, &metapb.Peer{Id: 15, StoreId: 5, Role: metapb.PeerRole_Learner})
	for name, tc := range map[string]struct {
		acks []uint64
		want bool
	}{"both": {[]uint64{12}, true}, "the old one only": {[]uint64{13}, false}, "the new one only": {[]uint64{14}, false}, "of each one": {[]uint64{13, 14}, true}} {
		r := newRig()
		r.view(1, 6, true)
		r.write(1, entryOf(6, 6, ""))
		rec := r.region(regionID)
		for _, id := range tc.acks {
			rec.leaders[6].acked[id] = 6
		}
		st := r.stores[1]
		require.Equal(t, tc.want, r.quorum(st, rec, st.peers[regionID], 6, joint), name)
	}
}

// S24: what a split has made is durable before its raft state is, and may be acknowledged.
func TestABirthIsAPromiseKept(t *testing.T) {
	r := newRig()
	r.view(1, 6, true)
	r.disks[2].vote(6, 0)
	r.disks[2].state.LastIndex = 0
	r.ack(2, 1, 6, machine.InitIndex)
	require.Empty(t, r.said)
	r.ack(2, 1, 6, machine.InitIndex+1)
	require.NotEmpty(t, r.said)
}
