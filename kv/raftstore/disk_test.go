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
		m := machine.NewApplyMachine(1, found.Regions)
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
	m := machine.NewApplyMachine(1, found.Regions)
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

	snap, err := from.BuildSnapshot(1)
	require.NoError(t, err)
	copyReceived(t, from, 1, snap)
	install := machine.ApplyTask{RegionID: 1, PeerID: 2, Install: &machine.Installation{Region: firstRegion(), At: machine.Pair{Index: snap.Metadata.Index, Term: snap.Metadata.Term}}}
	applyAll(t, to, machine.NewApplyMachine(1, nil), install)

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
	file, _, err := d.Snapshots.OpenToSend(key)
	require.NoError(t, err)
	recv, err := d.Snapshots.Receive(key)
	require.NoError(t, err)
	_, err = io.Copy(recv, file)
	require.NoError(t, err)
	_, err = recv.Commit()
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// A follower is probed with the term of the entry in front of those that it lacks. That entry may be larger than a message may be, and must not
// take the place of what the follower needs: else raft asks for the same again, for ever (found by the simulator).
func TestALargeEntryInFrontDoesNotHideTheNext(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	large := eraftpb.Entry{Index: 6, Term: 6, Data: make([]byte, 1000)}
	require.NoError(t, open.Log.Write([]logstore.Update{{RegionID: 1, Entries: []eraftpb.Entry{large, put(7, "a"), put(8, "b")}, Sync: true}}))
	for _, want := range []struct{ lo, maxBytes, entries uint64 }{{6, 100, 3}, {6, 1, 2}, {7, 1, 2}, {8, 1, 1}} {
		mail, err := open.RunTask(machine.ReadLog{RegionID: 1, PeerID: 2, Lo: want.lo, Hi: 9, MaxBytes: want.maxBytes})
		require.NoError(t, err)
		require.Len(t, mail.(machine.LogRead).Entries, int(want.entries), "%+v", want)
	}
}
