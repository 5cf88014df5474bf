package transport

import (
	"fmt"
	"io"
	"math/rand"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// snapshotMessage announces the snapshot of a region at index 100 in term 6.
func snapshotMessage(from, to, region uint64) *raft_serverpb.RaftMessage {
	return &raft_serverpb.RaftMessage{
		RegionId: region,
		FromPeer: &metapb.Peer{Id: from * 10, StoreId: from},
		ToPeer:   &metapb.Peer{Id: to * 10, StoreId: to},
		Message: &eraftpb.Message{
			MsgType: eraftpb.MessageType_MsgSnapshot, From: from * 10, To: to * 10, Term: 6,
			Snapshot: &eraftpb.Snapshot{
				Data:     []byte("what the raftstore wants to say"),
				Metadata: &eraftpb.SnapshotMetadata{Index: 100, Term: 6, ConfState: &eraftpb.ConfState{Voters: []uint64{10, 20}}},
			},
		},
	}
}

// build makes the snapshot file that snapshotMessage announces, of about that size.
func build(t *testing.T, n *node, region uint64, size int) snapfile.Meta {
	db := memdb.New()
	b := db.NewBatch()
	random := rand.New(rand.NewSource(int64(region)))
	for i := 0; size > 0; i++ {
		value := make([]byte, min(size, 10_000))
		random.Read(value)
		b.Put(engine.Default, fmt.Appendf(nil, "key-%08d", i), value)
		size -= len(value)
	}
	require.NoError(t, b.Commit(true))
	snap := db.NewSnapshot()
	meta, err := n.snaps.Build(snapfile.Key{RegionID: region, Term: 6, Index: 100}, &metapb.Region{Id: region}, snap)
	require.NoError(t, err)
	return meta
}

func TestSnapshot(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	for i, size := range []int{0, 1000, 5*chunkSize + 12345} {
		region := uint64(7 + i)
		built := build(t, one, region, size)
		inPlace := make(chan error, 1)
		two.recorder.mu.Lock()
		two.onDeliver = func(msgs []*raft_serverpb.RaftMessage) { // the file is there before the message is
			r, err := two.snaps.OpenToInstall(snapshotKey(msgs[0]))
			if err == nil {
				err = r.Close()
			}
			inPlace <- err
		}
		two.recorder.mu.Unlock()
		m := snapshotMessage(1, 2, region)
		one.Send(list(m))
		require.NoError(t, <-inPlace)
		eventually(t, func() bool { return len(one.sentSnapshots()) == i+1 }, "reported")
		require.Equal(t, fmt.Sprintf("region %d peer 20 true", region), one.sentSnapshots()[i])
		require.Equal(t, m, two.messages()[i])
		r, err := two.snaps.OpenToInstall(snapshotKey(m))
		require.NoError(t, err)
		require.Equal(t, built, r.Meta())
		require.NoError(t, r.Close())
	}
	require.Equal(t, 3, count(two.metrics.snapshots.WithLabelValues("receive", "ok")))
	require.Zero(t, one.lost(2))
}

// The second time the file is already there: nothing is transferred, and the message arrives once more.
func TestSnapshotThatIsHereAlready(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	build(t, one, 7, 20*chunkSize)
	for i := 1; i <= 3; i++ {
		one.Send(list(snapshotMessage(1, 2, 7)))
		eventually(t, func() bool { return len(one.sentSnapshots()) == i }, "reported")
		require.Len(t, two.messages(), i)
	}
	require.Equal(t, []string{"region 7 peer 20 true", "region 7 peer 20 true", "region 7 peer 20 true"}, one.sentSnapshots())
}

// A file that was damaged on the sender's disk, or cut short on its way, is refused and leaves nothing behind.
func TestDamagedSnapshot(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	build(t, one, 7, 3*chunkSize)
	whole, _, err := one.snaps.OpenToSend(snapfile.Key{RegionID: 7, Term: 6, Index: 100})
	require.NoError(t, err)
	good, err := io.ReadAll(whole)
	require.NoError(t, err)
	damaged := append([]byte(nil), good...)
	damaged[2*chunkSize] ^= 1
	for i, content := range [][]byte{damaged, good[:len(good)-1], good[:chunkSize], nil} {
		f, err := one.files.Create("snap_gen_7_6_100.snap")
		require.NoError(t, err)
		_, err = f.Write(content)
		require.NoError(t, err)
		one.Send(list(snapshotMessage(1, 2, 7)))
		eventually(t, func() bool { return len(one.sentSnapshots()) == i+1 }, "reported")
		require.Equal(t, "region 7 peer 20 false", one.sentSnapshots()[i])
		require.Equal(t, i+1, two.refused(reasonCorrupt))
		names, err := two.files.List()
		require.NoError(t, err)
		require.Empty(t, names)
	}
	require.Empty(t, two.messages())
	build(t, one, 7, 3*chunkSize)
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(two.messages()) == 1 }, "a new attempt")
}

func TestSnapshotThatCannotBeSent(t *testing.T) {
	d := new(directory)
	one := start(t, d, 1, "127.0.0.1:0", func(o *Options) { o.Limits.SnapshotStall = 100 * time.Millisecond })
	two := start(t, d, 2, "127.0.0.1:0")
	stuck := &stuckServer{resume: make(chan struct{}), accepted: make(chan struct{}, 2)}
	addr, server, served := serve(t, stuck, "127.0.0.1:0")
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	d.set(3, addr)
	d.set(4, unusedAddress(t))
	d.set(5, two.addr)
	build(t, one, 7, 20*chunkSize)
	build(t, one, 9, 1000)
	for i, m := range list(
		snapshotMessage(1, 2, 8), // no such file
		snapshotMessage(1, 3, 7), // does not read
		snapshotMessage(1, 3, 9), // does not answer
		snapshotMessage(1, 4, 7), // does not listen
		snapshotMessage(1, 5, 7), // another store listens
		snapshotMessage(1, 6, 7), // not known
		&raft_serverpb.RaftMessage{RegionId: 7, Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot}}, // nonsense
	) {
		one.Send(list(m))
		eventually(t, func() bool { return len(one.sentSnapshots()) == i+1 }, "reported")
		require.Equal(t, fmt.Sprintf("region %d peer %d false", m.RegionId, m.ToPeer.GetId()), one.sentSnapshots()[i])
	}
	require.Empty(t, two.messages())
}

// Transfers and those that wait for one are bounded, on both sides; each is reported once.
func TestSnapshotsAreBounded(t *testing.T) {
	d := new(directory)
	one := start(t, d, 1, "127.0.0.1:0", func(o *Options) { o.Limits.SnapshotSends, o.Limits.SnapshotQueue = 1, 2 })
	stuck := &stuckServer{resume: make(chan struct{}), accepted: make(chan struct{}, 10)}
	addr, server, served := serve(t, stuck, "127.0.0.1:0")
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	d.set(3, addr)
	build(t, one, 7, 1000)
	one.Send(list(snapshotMessage(1, 3, 7)))
	<-stuck.accepted // one is on its way
	for range 5 {
		one.Send(list(snapshotMessage(1, 3, 7)))
	}
	require.Len(t, one.sentSnapshots(), 3) // two wait, the others are refused at once
	require.Equal(t, 3, one.dropped(reasonQueueFull))
	close(stuck.resume)
	eventually(t, func() bool { return len(one.sentSnapshots()) == 6 }, "all are reported")
	require.NotContains(t, one.sentSnapshots(), "region 7 peer 30 true")
}

func TestSnapshotReceivesAreBounded(t *testing.T) {
	d := new(directory)
	one := start(t, d, 1, "127.0.0.1:0")
	two := start(t, d, 2, "127.0.0.1:0", func(o *Options) { o.Limits.SnapshotReceives = 1 })
	build(t, one, 7, 1000)
	two.receives <- struct{}{}
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 false"}, one.sentSnapshots())
	require.Equal(t, 1, two.refused(reasonBusy))
	<-two.receives
	other, err := two.snaps.Receive(snapfile.Key{RegionID: 7, Term: 6, Index: 100}) // from another leader, say
	require.NoError(t, err)
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 2 }, "reported")
	other.Abort()
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 3 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 false", "region 7 peer 20 false", "region 7 peer 20 true"}, one.sentSnapshots())
}

// A sender that goes away in the middle leaves nothing behind; the receiver's own disk failing is not the sender's fault.
func TestSnapshotInterrupted(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	build(t, one, 7, 30*chunkSize)
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool {
		names, err := two.files.List()
		return err == nil && len(names) == 1
	}, "begun")
	one.Close()
	eventually(t, func() bool {
		names, err := two.files.List()
		return err == nil && (len(names) == 0 || names[0] == "snap_rev_7_6_100.snap") // it may have been fast
	}, "cleared away")
}
