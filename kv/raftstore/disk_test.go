package raftstore_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/proto/region"
)

func firstRegion() *metapb.Region {
	return &metapb.Region{Id: 1, RegionEpoch: &metapb.RegionEpoch{Version: 1, ConfVer: 1}, Peers: []*metapb.Peer{{Id: 2, StoreId: 1}}}
}

func put(index uint64, key string) eraftpb.Entry {
	body := command.AppendOp(nil, command.Put, engine.Default, []byte(key), []byte("v"))
	return eraftpb.Entry{Index: index, Term: 6, Data: command.Encode(command.Command{Kind: command.Write, Epoch: command.Epoch{Version: 1, ConfVer: 1}, Body: body})}
}

// applyAll applies tasks to the end, one engine batch after the other.
func applyAll(t *testing.T, d *raftstore.Disk, m *machine.ApplyMachine, tasks ...machine.ApplyTask) []machine.ApplyRound {
	var rounds []machine.ApplyRound
	batch := d.State.NewBatch()
	for len(tasks) > 0 {
		round, rest, err := d.Apply(m, tasks, batch)
		require.NoError(t, err)
		rounds, tasks = append(rounds, round), rest
	}
	return rounds
}

// S1: whatever a crash leaves of the state engine, the applied index in it fits the data, and replaying the rest of the log gives
// what was there before.
func TestAppliedIndexTravelsWithData(t *testing.T) {
	const entries = 8
	for keep := range entries + 1 {
		d := newDisk()
		open := d.open(t)
		require.NoError(t, raftstore.WriteFirstRegion(open, firstRegion(), false))
		var log []eraftpb.Entry
		for i := range uint64(entries) {
			log = append(log, put(machine.InitIndex+1+i, fmt.Sprintf("k%d", i)))
		}
		hs := &eraftpb.HardState{Term: 6, Commit: machine.InitIndex + entries}
		require.NoError(t, open.Log.Write([]logstore.Update{{
			RegionID: 1, Entries: log, Sync: true, State: &raft_serverpb.RaftLocalState{HardState: hs, LastIndex: machine.InitIndex + entries},
		}}))
		found, err := open.Load(1)
		require.NoError(t, err)
		m := machine.NewApplyMachine(1, found)
		for i := range log {
			applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: log[i : i+1]})
		}

		d.crash(func(n int) int { return min(n, keep) })
		open = d.open(t)
		found, err = open.Load(1)
		require.NoError(t, err)
		applied := found.Regions[0].Apply.AppliedIndex
		require.Equal(t, uint64(machine.InitIndex+keep), applied)
		snap := d.state.NewSnapshot()
		for i := range entries {
			v, err := snap.Get(engine.Default, fmt.Appendf(nil, "k%d", i))
			require.NoError(t, err)
			require.Equal(t, i < keep, v != nil, "entry %d with %d applied", i, keep)
		}
		require.Len(t, found.Regions[0].Tail, max(1, entries-keep), "the log gives back what the crash took")
	}
}

// S1: a restart refuses engines that do not tell one story, instead of serving from them.
func TestRestoreRefusesTornState(t *testing.T) {
	raftState := func(term, commit, last uint64) *raft_serverpb.RaftLocalState {
		return &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: term, Commit: commit}, LastIndex: last}
	}
	at := func(i uint64) machine.Pair { return machine.Pair{Index: i, Term: 6} }
	for _, c := range []struct {
		want string
		r    machine.Restored
	}{
		{"raft log lost", machine.Restored{Apply: machine.ApplyState(at(20), at(10)), Raft: raftState(6, 15, 15), Tail: []eraftpb.Entry{put(15, "k")}}},
		{"only 9 is applied", machine.Restored{Apply: machine.ApplyState(at(9), at(10)), Raft: raftState(6, 12, 12), Tail: []eraftpb.Entry{put(12, "k")}}},
		{"has no entries", machine.Restored{Apply: machine.ApplyState(at(10), at(10)), Raft: raftState(6, 12, 12)}},
		{"ends at 11", machine.Restored{Apply: machine.ApplyState(at(10), at(10)), Raft: raftState(6, 12, 12), Tail: []eraftpb.Entry{put(11, "k")}}},
		{"below the log's last term", machine.Restored{Apply: machine.ApplyState(at(10), at(10)), Raft: raftState(5, 11, 11), Tail: []eraftpb.Entry{put(11, "k")}}},
	} {
		c.r.Region, c.r.PeerID = firstRegion(), 2
		_, err := machine.NewRaftMachine(machine.Config{StoreID: 1, ElectionTicks: 10, HeartbeatTicks: 2}, []machine.Restored{c.r})
		require.ErrorContains(t, err, c.want)
	}
}

// S2: a snapshot that is in the state engine while the log is still the old one is finished at the next start: the log is
// reset to the snapshot's end, term and vote stay, and a second start finds nothing left to do.
func TestInstallIsFinishedAfterCrash(t *testing.T) {
	source := newDisk()
	from := source.open(t)
	require.NoError(t, raftstore.WriteFirstRegion(from, firstRegion(), false))
	found, err := from.Load(1)
	require.NoError(t, err)
	m := machine.NewApplyMachine(1, found)
	for i := range uint64(20) {
		applyAll(t, from, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: []eraftpb.Entry{put(machine.InitIndex+1+i, fmt.Sprintf("new%d", i))}})
	}

	d := newDisk()
	to := d.open(t)
	to.Snapshots = from.Snapshots
	require.NoError(t, raftstore.WriteFirstRegion(to, firstRegion(), false))
	stale := to.State.NewBatch()
	stale.Put(engine.Default, []byte("stale"), []byte("v"))
	require.NoError(t, stale.Commit(true))
	vote := &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: 9, Vote: 4, Commit: machine.InitIndex}, LastIndex: machine.InitIndex + 1}
	require.NoError(t, to.Log.Write([]logstore.Update{{RegionID: 1, Sync: true, State: vote, Entries: []eraftpb.Entry{put(machine.InitIndex+1, "old")}}}))

	snap, err := from.BuildSnapshot(1, unpaced)
	require.NoError(t, err)
	copyReceived(t, from, 1, snap)
	install := machine.ApplyTask{RegionID: 1, PeerID: 2, Install: &machine.Installation{Region: firstRegion(), At: machine.Pair{Index: snap.Metadata.Index, Term: snap.Metadata.Term}}}
	applyAll(t, to, machine.NewApplyMachine(1, machine.StoreState{}), install)

	d.crash(func(int) int { return 0 }) // the install was durable, the log's reset never came
	for range 2 {
		to = d.open(t)
		found, err = to.Load(1)
		require.NoError(t, err)
		r := found.Regions[0]
		require.Equal(t, snap.Metadata.Index, r.Raft.LastIndex)
		require.Equal(t, eraftpb.HardState{Term: 9, Vote: 4, Commit: snap.Metadata.Index}, *r.Raft.HardState)
		require.Empty(t, r.Tail)
		_, err = machine.NewRaftMachine(machine.Config{StoreID: 1, ElectionTicks: 10, HeartbeatTicks: 2}, found.Regions)
		require.NoError(t, err)
		view := d.state.NewSnapshot()
		gone, err := view.Get(engine.Default, []byte("stale"))
		require.NoError(t, err)
		require.Nil(t, gone, "the snapshot takes the place of the range, not only of its own keys")
		marker, err := view.Get(engine.Local, keys.InstallMarker(1))
		require.NoError(t, err)
		require.Nil(t, marker)
		d.crash(func(int) int { return 0 })
	}
}

// copyReceived hands a built snapshot's file over as if it had been received; both ends share a directory here.
func copyReceived(t *testing.T, d *raftstore.Disk, regionID uint64, snap *eraftpb.Snapshot) {
	key := snapfile.Key{RegionID: regionID, Term: snap.Metadata.Term, Index: snap.Metadata.Index}
	file, err := d.Snapshots.OpenToSend(key)
	require.NoError(t, err)
	recv, err := d.Snapshots.Receive(key)
	require.NoError(t, err)
	_, err = io.Copy(recv, file)
	require.NoError(t, err)
	_, err = recv.Commit()
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// R16: raft sends an entry only when it knows the term of the one before, so a read of old log that brought a single large entry, the one in front, would be
// repeated for ever, and the follower that waits would get nothing. Found by the simulator.
func TestOldLogIsReadTwoEntriesAtATime(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	var log []eraftpb.Entry
	for i := range uint64(5) {
		log = append(log, put(machine.InitIndex+1+i, "k"))
	}
	last := log[len(log)-1].Index
	require.NoError(t, open.Log.Write([]logstore.Update{{
		RegionID: 1, Entries: log, Sync: true, State: &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: 6}, LastIndex: last},
	}}))
	read := func(lo, hi uint64) (indices []uint64) {
		mail, err := open.RunTask(machine.ReadLog{RegionID: 1, PeerID: 2, Lo: lo, Hi: hi, MaxBytes: 1}, nil)
		require.NoError(t, err)
		for _, e := range mail.(machine.LogRead).Entries {
			indices = append(indices, e.Index)
		}
		return indices
	}
	require.Equal(t, []uint64{last - 2, last - 1}, read(last-2, last+1))
	require.Equal(t, []uint64{last - 1, last}, read(last-1, last+1))
	require.Equal(t, []uint64{last}, read(last, last+1))
}

// removed is a disk on which a peer's removal was applied, and nothing of its destruction done.
func removed(t *testing.T, d *disk) (*raftstore.Disk, *machine.ApplyMachine, *metapb.Region) {
	t.Helper()
	open := d.open(t)
	r := firstRegion()
	r.Peers = append(r.Peers, &metapb.Peer{Id: 3, StoreId: 2})
	require.NoError(t, raftstore.WriteFirstRegion(open, r, false))
	found, err := open.Load(1)
	require.NoError(t, err)
	m := machine.NewApplyMachine(1, found)
	self := r.Peers[0]
	cmd := command.Command{
		Kind: command.ChangePeer, Epoch: command.EpochOf(r.RegionEpoch), Body: command.EncodePeerChanges([]command.PeerChange{{Type: eraftpb.ConfChangeType_RemoveNode, Peer: self}}),
	}
	cc := eraftpb.ConfChangeV2{
		Changes: []*eraftpb.ConfChangeSingle{{ChangeType: eraftpb.ConfChangeType_RemoveNode, NodeId: self.Id}}, Context: command.Encode(cmd),
	}
	data, err := cc.Marshal()
	require.NoError(t, err)
	change := eraftpb.Entry{EntryType: eraftpb.EntryType_EntryConfChangeV2, Index: machine.InitIndex + 2, Term: 6, Data: data}
	applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: []eraftpb.Entry{put(machine.InitIndex+1, "k"), change}})
	return open, m, r
}

// R4: a leader that was removed may have to send a snapshot to one of those who remain, or they will never be able to do without it. Found by
// the simulator.
func TestRemovedLeaderBuildsSnapshots(t *testing.T) {
	open, m, r := removed(t, newDisk())
	snap, err := open.BuildSnapshot(1, unpaced)
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, snap.Metadata.ConfState.Voters)
	require.Equal(t, uint64(machine.InitIndex+2), snap.Metadata.Index)

	applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Destroy: r})
	snap, err = open.BuildSnapshot(1, unpaced)
	require.NoError(t, err)
	require.Nil(t, snap, "its data is gone")
}

// R4: a removed peer that stops before it was told that the others know is there again, as it was. Its data goes with its destruction. Found by the simulator
// (seed 3774).
func TestRemovedPeerOutlivesACrash(t *testing.T) {
	d := newDisk()
	removed(t, d)
	d.crash(all)
	open := d.open(t)
	found, err := open.Load(1)
	require.NoError(t, err)
	require.Empty(t, found.Tombstones)
	require.Len(t, found.Regions, 1)
	back := found.Regions[0]
	require.Equal(t, uint64(2), back.PeerID)
	require.Equal(t, uint64(machine.InitIndex+2), back.Apply.AppliedIndex)
	require.Nil(t, region.FindPeer(back.Region, 2))

	applyAll(t, open, machine.NewApplyMachine(1, found), machine.ApplyTask{RegionID: 1, PeerID: 2, Destroy: back.Region})
	d.crash(all)
	found, err = d.open(t).Load(1)
	require.NoError(t, err)
	require.Empty(t, found.Regions)
	require.Equal(t, uint64(2), found.Tombstones[1].PeerID)
	require.Equal(t, uint64(machine.InitTerm), found.Orphans[1].HardState.Term, "what it promised outlives it")
	require.Zero(t, found.Orphans[1].LastIndex)
	snap := d.state.NewSnapshot()
	v, err := snap.Get(engine.Default, []byte("k"))
	require.NoError(t, err)
	require.Nil(t, v)
	v, err = snap.Get(engine.Local, keys.ApplyState(1))
	require.NoError(t, err)
	require.Nil(t, v)
}

// R15: after a peer was destroyed a younger one came, which has no data yet and has voted. Its vote is not taken for what the dead peer left behind.
// Found by the simulator.
func TestVoteOutlivesTheTombstoneBeforeIt(t *testing.T) {
	d := newDisk()
	open, m, r := removed(t, d)
	applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Destroy: r})
	vote := &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: 11, Vote: 20}}
	require.NoError(t, open.Log.Write([]logstore.Update{
		{RegionID: 1, Destroy: true, Sync: true}, {RegionID: 1, State: vote, Sync: true},
	}))
	for range 2 {
		d.crash(all)
		found, err := d.open(t).Load(1)
		require.NoError(t, err)
		require.Equal(t, uint64(2), found.Tombstones[1].PeerID)
		require.Equal(t, vote.HardState, found.Orphans[1].GetHardState())
	}
}

// What the dead peer did leave behind, its log, is deleted; its term and vote stay.
func TestLogOfTheDeadIsDeleted(t *testing.T) {
	d := newDisk()
	open, m, r := removed(t, d)
	applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Destroy: r})
	d.crash(all)
	open = d.open(t)
	found, err := open.Load(1)
	require.NoError(t, err)
	state, err := open.Log.State(1)
	require.NoError(t, err)
	require.Equal(t, found.Orphans[1].String(), state.String())
	require.Equal(t, uint64(machine.InitTerm), state.HardState.Term)
	_, err = open.Log.Entries(1, machine.InitIndex+1, machine.InitIndex+2, 100)
	require.Error(t, err)
}

func unpaced(int) error { return nil }

// S3: what a crash between a snapshot's tables and the batch that says whose they are left behind is erased by the next start, and nothing else. Found by the simulator.
func TestDataOfNoRegionIsErased(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	r := firstRegion()
	r.StartKey, r.EndKey = []byte("d"), []byte("m")
	require.NoError(t, raftstore.WriteFirstRegion(open, r, false))
	batch := open.State.NewBatch()
	for _, key := range []string{"a", "d", "lzz", "m", "z"} {
		batch.Put(engine.Default, []byte(key), []byte("v"))
		batch.Put(engine.Write, []byte(key), []byte("v"))
	}
	require.NoError(t, batch.Commit(true))
	_, err := open.Load(1)
	require.NoError(t, err)
	d.crash(func(int) int { return 0 })
	d.open(t)
	view := d.state.NewSnapshot()
	for _, cf := range []engine.CF{engine.Default, engine.Write} {
		it, err := view.NewIterator(cf, engine.IterOptions{})
		require.NoError(t, err)
		var left []string
		for ok := it.SeekGE(nil); ok; ok = it.Next() {
			left = append(left, string(it.Key()))
		}
		require.NoError(t, it.Close())
		require.Equal(t, []string{"d", "lzz"}, left)
	}
}

// A peer that is read again while its store runs is what a start would find, a merge that it is prepared for included. Found by the simulator (seed 87): a leader
// that had forgotten that its region is frozen took in writes that nobody would apply.
func TestReloadFindsWhatAStartFinds(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	require.NoError(t, raftstore.WriteFirstRegion(open, firstRegion(), false))
	state := raft_serverpb.RegionLocalState{
		State: raft_serverpb.PeerState_Merging, Region: firstRegion(),
		MergeState:    &raft_serverpb.MergeState{Commit: machine.InitIndex, Target: &metapb.Region{Id: 9}},
		MergedRecords: []*raft_serverpb.MergedRecord{{SourceRegionId: 7}},
	}
	b, err := state.Marshal()
	require.NoError(t, err)
	batch := open.State.NewBatch()
	batch.Put(engine.Local, keys.RegionState(1), b)
	require.NoError(t, batch.Commit(true))
	started, err := open.Load(1)
	require.NoError(t, err)
	mail, err := open.RunTask(machine.Reload{RegionID: 1, PeerID: 2}, unpaced)
	require.NoError(t, err)
	require.Equal(t, started.Regions[0], mail.(machine.Reloaded).Restored)
	require.NotNil(t, started.Regions[0].Merge)
}
