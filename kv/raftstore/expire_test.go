package raftstore_test

import (
	"testing"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/keys"
	"github.com/shoal-kv/shoal/kv/raftstore"
	"github.com/shoal-kv/shoal/kv/raftstore/command"
	"github.com/shoal-kv/shoal/kv/raftstore/machine"
)

// ops is an entry of one command, whose ops are key, value, key, value ….
func ops(index, version uint64, kind command.Kind, op command.Op, pairs ...[]byte) eraftpb.Entry {
	var body []byte
	for i := 0; i < len(pairs); i += 2 {
		body = command.AppendOp(body, op, engine.Default, pairs[i], pairs[i+1])
	}
	return eraftpb.Entry{Index: index, Term: 6, Data: command.Encode(command.Command{Kind: kind, Epoch: command.Epoch{Version: version, ConfVer: 1}, Body: body})}
}

// A deletion of expired values is judged by what the engine holds at its place in the log: what was written before it, in the same batch of
// entries or an earlier one, stays unless it has expired too. Nothing depends on how the entries are cut into tasks.
func TestExpireIsJudgedAtItsPlaceInTheLog(t *testing.T) {
	raw := func(value string, expiry uint64) []byte { return keys.AppendRawValue(nil, []byte(value), expiry) }
	key, bound := func(k string) []byte { return []byte(k) }, keys.AppendBound(nil, 60)
	const first = machine.InitIndex + 1
	expire := [][]byte{key("gone"), bound, key("rewritten"), bound, key("later"), bound, key("never"), bound, key("absent"), bound, key("odd"), bound}
	log := []eraftpb.Entry{
		ops(first, 1, command.Write, command.Put, key("gone"), raw("v", 60), key("rewritten"), raw("v", 50), key("later"), raw("v", 61),
			key("never"), raw("v", 0), key("odd"), []byte("short")),
		ops(first+1, 1, command.Write, command.Put, key("rewritten"), raw("v", 70)),
		ops(first+2, 2, command.Expire, command.DeleteExpired, expire...), // another epoch's
		ops(first+3, 1, command.Expire, command.DeleteExpired, expire...),
		ops(first+4, 1, command.Expire, command.DeleteExpired, expire...),
		ops(first+5, 1, command.Write, command.Put, key("gone"), raw("again", 0)),
		ops(first+6, 1, command.Expire, command.DeleteExpired, key("gone"), bound),
		ops(first+7, 1, command.Write, command.Put, key("whole"), raw("v", 1)),
		ops(first+8, 1, command.Expire, command.DeleteExpired, key("whole"), bound, key("whole"), []byte("soon")), // rejected, all of it
	}
	for cut := range len(log) {
		d := newDisk()
		open := d.open(t)
		require.NoError(t, raftstore.WriteFirstRegion(open, firstRegion(), false))
		found, err := open.Load(1)
		require.NoError(t, err)
		m := machine.NewApplyMachine(1, found)
		if cut > 0 {
			applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: log[:cut]})
		}
		applyAll(t, open, m, machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: log[cut:]})

		found, err = open.Load(1)
		require.NoError(t, err)
		require.Equal(t, uint64(first+8), found.Regions[0].Apply.AppliedIndex)
		snap := d.state.NewSnapshot()
		for k, want := range map[string][]byte{
			"whole": raw("v", 1),
			"gone":  raw("again", 0), "rewritten": raw("v", 70), "later": raw("v", 61), "never": raw("v", 0), "absent": nil, "odd": []byte("short"),
		} {
			got, err := snap.Get(engine.Default, key(k))
			require.NoError(t, err)
			require.Equal(t, want, got, "%s, cut at %d", k, cut)
		}
		require.NoError(t, snap.Close())
	}
}

// The store stops, and nobody is told that it is done, when what an entry depends on cannot be read.
func TestExpireFailsWithItsLookup(t *testing.T) {
	d := newDisk()
	open := d.open(t)
	require.NoError(t, raftstore.WriteFirstRegion(open, firstRegion(), false))
	found, err := open.Load(1)
	require.NoError(t, err)
	m := machine.NewApplyMachine(1, found)
	task := machine.ApplyTask{RegionID: 1, PeerID: 2, Entries: []eraftpb.Entry{
		ops(machine.InitIndex+1, 1, command.Expire, command.DeleteExpired, []byte("k"), keys.AppendBound(nil, 60)),
	}}
	broken := &raftstore.Disk{Log: open.Log, State: unreadable{d.state}, Snapshots: open.Snapshots}
	batch := d.state.NewBatch()
	defer func() { require.NoError(t, batch.Close()) }()
	round, rest, err := broken.Apply(m, []machine.ApplyTask{task}, batch)
	require.ErrorContains(t, err, "bad block")
	require.Empty(t, round.Reply)
	require.Len(t, rest, 1, "and it is left undone")
}

type unreadable struct{ engine.Engine }

func (u unreadable) NewSnapshot() engine.Snapshot { return badBlock{u.Engine.NewSnapshot()} }

type badBlock struct{ engine.Snapshot }

func (badBlock) Get(engine.CF, []byte) ([]byte, error) { return nil, errors.New("bad block") }
