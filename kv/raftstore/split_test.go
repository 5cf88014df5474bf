package raftstore_test

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// splitOnDisk writes the first region, with keys a and x, and applies its split at m; the child is region 20, its peer 21.
func splitOnDisk(t *testing.T, d *disk) {
	open := d.open(t)
	require.NoError(t, raftstore.WriteFirstRegion(open, firstRegion(), false))
	body := command.EncodeSplit([]command.SplitPart{{EndKey: []byte("m"), RegionID: 20, PeerIDs: []uint64{21}}})
	split := command.Command{Kind: command.Split, Epoch: command.Epoch{Version: 1, ConfVer: 1}, Body: body}
	log := []eraftpb.Entry{
		put(machine.InitIndex+1, "a"), put(machine.InitIndex+2, "x"), {Index: machine.InitIndex + 3, Term: 6, Data: command.Encode(split)},
	}
	hs := &eraftpb.HardState{Term: 6, Commit: machine.InitIndex + 3}
	require.NoError(t, open.Log.Write([]logstore.Update{{
		RegionID: 1, Entries: log, Sync: true, State: &raft_serverpb.RaftLocalState{HardState: hs, LastIndex: machine.InitIndex + 3},
	}}))
	found, err := open.Load(1)
	require.NoError(t, err)
	m := machine.NewApplyMachine(1, found)
	rounds := applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: log})
	require.True(t, rounds[len(rounds)-1].Sync)
}

// S24: a split that was applied is never taken back by a crash: others act on it. A child whose raft state did not reach the disk begins where it was
// born; what a peer of it has promised before, or since, holds.
func TestSplitOutlivesACrash(t *testing.T) {
	hard := func(term, vote, last uint64) *raft_serverpb.RaftLocalState {
		return &raft_serverpb.RaftLocalState{HardState: &eraftpb.HardState{Term: term, Vote: vote}, LastIndex: last}
	}
	first := eraftpb.Entry{Index: machine.InitIndex + 1, Term: 8}
	for name, c := range map[string]struct {
		log       []logstore.Update
		term      uint64
		vote      uint64
		last      uint64
		committed uint64
	}{
		"nothing in its log":          {nil, machine.InitTerm, 0, machine.InitIndex, machine.InitIndex},
		"a vote without data":         {[]logstore.Update{{RegionID: 20, State: hard(9, 22, 0), Sync: true}}, 9, 22, machine.InitIndex, machine.InitIndex},
		"a vote since it was born":    {[]logstore.Update{{RegionID: 20, State: hard(7, 22, machine.InitIndex), Sync: true}}, 7, 22, machine.InitIndex, 0},
		"an entry since it was born":  {[]logstore.Update{{RegionID: 20, State: hard(8, 21, machine.InitIndex+1), Entries: []eraftpb.Entry{first}, Sync: true}}, 8, 21, machine.InitIndex + 1, 0},
		"an older vote, without data": {[]logstore.Update{{RegionID: 20, State: hard(3, 22, 0), Sync: true}}, machine.InitTerm, 0, machine.InitIndex, machine.InitIndex},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			splitOnDisk(t, d)
			if c.log != nil {
				require.NoError(t, d.open(t).Log.Write(c.log))
			}
			for range 2 {
				d.crash(func(int) int { return 0 })
				found, err := d.open(t).Load(1)
				require.NoError(t, err)
				require.Len(t, found.Regions, 2)
				parent, child := found.Regions[0], found.Regions[1]
				require.Equal(t, uint64(2), parent.Region.RegionEpoch.Version)
				require.Equal(t, "m", string(parent.Region.StartKey))
				require.Equal(t, "m", string(child.Region.EndKey))
				require.Equal(t, uint64(machine.InitIndex+3), parent.Apply.AppliedIndex)
				require.Equal(t, c.term, child.Raft.HardState.Term)
				require.Equal(t, c.vote, child.Raft.HardState.Vote)
				require.Equal(t, c.last, child.Raft.LastIndex)
				require.Equal(t, c.committed, child.Raft.HardState.Commit)
				require.Empty(t, found.Orphans)
				_, err = machine.NewRaftMachine(machine.Config{StoreID: 1, ElectionTicks: 10, HeartbeatTicks: 2}, found.Regions)
				require.NoError(t, err)
				_, err = machine.NewStoreMachine(1, found)
				require.NoError(t, err)
				snap := d.state.NewSnapshot()
				for _, key := range []string{"a", "x"} {
					v, err := snap.Get(engine.Default, []byte(key))
					require.NoError(t, err)
					require.NotNil(t, v, key)
				}
			}
		})
	}
}

// S5, S7: the child's peer here was dead before its split was applied. It does not begin, before and after a restart, and its data is gone.
func TestSplitOfADeadChildOnDisk(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	batch := open.State.NewBatch()
	_, rest := machine.NewApplyMachine(1, machine.StoreState{}).Handle([]machine.ApplyTask{{RegionID: 20, PeerID: 21, Destroy: &metapb.Region{Id: 20}}}, batch)
	require.Empty(t, rest)
	require.NoError(t, batch.Commit(true))
	splitOnDisk(t, d)
	for range 2 {
		d.crash(func(int) int { return 0 })
		found, err := d.open(t).Load(1)
		require.NoError(t, err)
		require.Len(t, found.Regions, 1)
		require.Equal(t, "m", string(found.Regions[0].Region.StartKey))
		require.Equal(t, uint64(21), found.Tombstones[20].PeerID)
		snap := d.state.NewSnapshot()
		a, err := snap.Get(engine.Default, []byte("a"))
		require.NoError(t, err)
		require.Nil(t, a)
		x, err := snap.Get(engine.Default, []byte("x"))
		require.NoError(t, err)
		require.NotNil(t, x)
	}
}
