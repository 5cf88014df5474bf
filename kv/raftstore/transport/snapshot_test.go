package transport

import (
	"fmt"
	"io"
	"math/rand"
	"syscall"
	"testing"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/engine/pebbledb"
	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
	"github.com/shoal-kv/shoal/rpc"
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

// build makes the snapshot that snapshotMessage announces, of about that size.
func build(t *testing.T, n *node, region uint64, size int) { buildPaced(t, n, region, size, nil) }

func buildPaced(t *testing.T, n *node, region uint64, size int, pace snapfile.Pace) {
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
	require.NoError(t, n.snaps.Hold(snapfile.Key{RegionID: region, Term: 6, Index: 100}, &metapb.Region{Id: region}, db.NewSnapshot(), pace))
}

// content is what a node sends of a region.
func content(t *testing.T, n *node, region uint64) ([]byte, snapfile.Meta) {
	stream, err := n.snaps.OpenToSend(snapfile.Key{RegionID: region, Term: 6, Index: 100})
	require.NoError(t, err)
	b, err := io.ReadAll(stream)
	require.NoError(t, err)
	require.NoError(t, stream.Close())
	return b, stream.Meta()
}

func TestSnapshot(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	for i, size := range []int{0, 1000, 5*chunkSize + 12345} {
		region := uint64(7 + i)
		build(t, one, region, size)
		_, built := content(t, one, region)
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

// Two stores with an engine that makes tables, and takes them, send each other tables; to one without, the same store sends pairs.
func TestSnapshotOfTables(t *testing.T) {
	d := new(directory)
	one, two, three := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0"), start(t, d, 3, "127.0.0.1:0")
	open := func() *pebbledb.DB {
		e, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir()})
		require.NoError(t, err)
		return e
	}
	from, to := open(), &countingStager{DB: open()}
	two.snaps.StageIn(to)
	b, random := from.NewBatch(), rand.New(rand.NewSource(1))
	value := make([]byte, 10_000)
	for i := range 500 {
		random.Read(value)
		b.Put(engine.Default, fmt.Appendf(nil, "key-%08d", i), value)
	}
	require.NoError(t, b.Commit(true))
	require.NoError(t, b.Close())
	region := &metapb.Region{Id: 7}
	key := snapfile.Key{RegionID: 7, Term: 6, Index: 100}
	require.NoError(t, one.snaps.Hold(key, region, from.NewSnapshot(), nil))
	one.Send(list(snapshotMessage(1, 2, 7), snapshotMessage(1, 3, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 2 }, "reported")
	require.ElementsMatch(t, []string{"region 7 peer 20 true", "region 7 peer 30 true"}, one.sentSnapshots())
	require.Positive(t, to.tables)
	require.Zero(t, to.pairs)
	require.NoError(t, two.snaps.Install(key, region, to.DB, nil))
	r, err := three.snaps.OpenToInstall(key)
	require.NoError(t, err)
	require.Equal(t, uint64(500), r.Meta().CFs[0].Pairs)
	require.NoError(t, r.Close())
	want, _ := content(t, one, 7)
	require.NoError(t, two.snaps.Hold(key, region, to.NewSnapshot(), nil))
	got, _ := content(t, two, 7)
	require.Equal(t, want, got)
	for _, n := range []*node{one, two, three} {
		n.halt()
		require.NoError(t, n.snaps.Close())
	}
	require.NoError(t, from.Close())
	require.NoError(t, to.Close())
}

// A receiver that does not say what it takes, as none did once, is sent pairs.
func TestSnapshotToAStoreThatSaysNothing(t *testing.T) {
	d := new(directory)
	one := start(t, d, 1, "127.0.0.1:0")
	silent := &silentServer{got: newSnapshots(t)}
	addr, server, served := serve(t, silent, "127.0.0.1:0")
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	d.set(2, addr)
	e, err := pebbledb.Open(pebbledb.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	b := e.NewBatch()
	b.Put(engine.Default, []byte("k"), []byte("v"))
	require.NoError(t, b.Commit(true))
	require.NoError(t, b.Close())
	key := snapfile.Key{RegionID: 7, Term: 6, Index: 100}
	require.NoError(t, one.snaps.Hold(key, &metapb.Region{Id: 7}, e.NewSnapshot(), nil))
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 true"}, one.sentSnapshots())
	r, err := silent.got.OpenToInstall(key)
	require.NoError(t, err)
	require.Equal(t, uint64(1), r.Meta().CFs[0].Pairs)
	require.NoError(t, r.Close())
	one.halt()
	require.NoError(t, one.snaps.Close())
	require.NoError(t, e.Close())
}

func newSnapshots(t *testing.T) *snapfile.Manager {
	m, err := snapfile.New(snapfile.NewMemFS())
	require.NoError(t, err)
	return m
}

// silentServer takes snapshots, and sends no header before its answer.
type silentServer struct {
	tikvpb.UnimplementedTikvServer
	got *snapfile.Manager
}

func (s *silentServer) Snapshot(stream tikvpb.Tikv_SnapshotServer) error {
	chunk, err := stream.Recv()
	if err != nil {
		return err
	}
	file, err := s.got.Receive(snapshotKey(chunk.Message))
	if err != nil {
		return err
	}
	defer file.Abort()
	for {
		if chunk, err = stream.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		if _, err := file.Write(chunk.Data); err != nil {
			return err
		}
	}
	if _, err := file.Commit(); err != nil {
		return err
	}
	return stream.SendAndClose(new(raft_serverpb.Done))
}

// countingStager counts what is staged.
type countingStager struct {
	*pebbledb.DB
	tables, pairs int
}

type countingStaged struct {
	engine.TableStaged
	s *countingStager
}

func (s *countingStager) Stage(replace map[engine.CF]engine.Range) (engine.Staged, error) {
	staged, err := s.DB.Stage(replace)
	if err != nil {
		return nil, err
	}
	return countingStaged{staged.(engine.TableStaged), s}, nil
}

func (c countingStaged) Put(cf engine.CF, key, value []byte) error {
	c.s.pairs++
	return c.TableStaged.Put(cf, key, value)
}

func (c countingStaged) PutTable(cf engine.CF, lane int, part []byte, end bool) error {
	c.s.tables++
	return c.TableStaged.PutTable(cf, lane, part, end)
}

// A value may be as large as a message may be, and more.
func TestSnapshotOfALargeValue(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	db := memdb.New()
	b := db.NewBatch()
	value := make([]byte, rpc.MaxMessage-100<<10)
	rand.New(rand.NewSource(1)).Read(value)
	b.Put(engine.Default, []byte("k"), make([]byte, 50_000))
	b.Put(engine.Default, []byte("l"), value)
	require.NoError(t, b.Commit(true))
	require.NoError(t, one.snaps.Hold(snapfile.Key{RegionID: 7, Term: 6, Index: 100}, &metapb.Region{Id: 7}, db.NewSnapshot(), nil))
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 true"}, one.sentSnapshots())
	require.Len(t, two.messages(), 1)
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

// PITFALLS S22: what was damaged, or cut short, on its way is refused, as soon as it shows, and leaves nothing behind.
func TestDamagedSnapshot(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	build(t, one, 7, 3*chunkSize)
	good, _ := content(t, one, 7)
	damaged := append([]byte(nil), good...)
	damaged[2*chunkSize] ^= 1
	for i, bytes := range [][]byte{damaged, good[:len(good)-1], good[:chunkSize], nil} {
		err := sendBytes(t, one, two, snapshotMessage(1, 2, 7), bytes)
		require.Equal(t, codes.DataLoss, status.Code(err), "%v", err)
		require.ErrorContains(t, err, "corrupt at byte")
		require.Equal(t, i+1, two.refused(reasonCorrupt))
		names, err := two.files.List()
		require.NoError(t, err)
		require.Empty(t, names)
	}
	require.Empty(t, two.messages())
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(two.messages()) == 1 }, "a good one")
}

// sendBytes does as a sender does whose bytes these are.
func sendBytes(t *testing.T, from, to *node, m *raft_serverpb.RaftMessage, b []byte) error {
	conn, err := from.opts.Dial(to.addr)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	stream, err := tikvpb.NewTikvClient(conn).Snapshot(from.identify(t.Context(), to.id))
	require.NoError(t, err)
	chunk := &raft_serverpb.SnapshotChunk{Message: m}
	for {
		if err := stream.Send(chunk); err != nil || len(b) == 0 {
			break
		}
		n := min(len(b), chunkSize)
		chunk, b = &raft_serverpb.SnapshotChunk{Data: b[:n]}, b[n:]
	}
	_, err = stream.CloseAndRecv()
	return err
}

// When the sender's engine fails in the midst of it, or the region goes, the stream breaks: the receiver throws away what it has, and both are told.
func TestSnapshotBreaksWhileItIsMade(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	left := 40 * blockSize
	reached := make(chan struct{})
	buildPaced(t, one, 7, 100*blockSize, func(n int) error {
		if left -= n; left > 0 {
			return nil
		}
		if left+n > 0 {
			eventually(t, func() bool { names, err := two.files.List(); return err == nil && len(names) == 1 }, "begun")
			close(reached)
		}
		return errors.New("the region is gone")
	})
	one.Send(list(snapshotMessage(1, 2, 7)))
	<-reached
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 false"}, one.sentSnapshots())
	eventually(t, func() bool { names, err := two.files.List(); return err == nil && len(names) == 0 }, "cleared away")
	require.Empty(t, two.messages())
	build(t, one, 7, chunkSize)
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(two.messages()) == 1 }, "a new attempt")
}

// blockSize is about that of a snapshot's block.
const blockSize = 64 << 10

// A receiver whose disk is full says so, in the midst of it; the sender's snapshot stays good.
func TestReceiverIsFull(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	build(t, one, 7, 5*chunkSize)
	full := &fullDisk{left: 100}
	two.snaps.StageIn(full)
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Equal(t, []string{"region 7 peer 20 false"}, one.sentSnapshots())
	require.Equal(t, 1, full.discarded)
	require.Zero(t, two.refused(reasonCorrupt)) // it is nobody's fault
	require.Empty(t, two.messages())
	full.left = 1 << 20
	one.Send(list(snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return len(two.messages()) == 1 }, "there is room again")
}

// fullDisk takes so many pairs in, and then no more.
type fullDisk struct{ left, discarded int }

func (f *fullDisk) Stage(map[engine.CF]engine.Range) (engine.Staged, error) { return f, nil }

func (f *fullDisk) Put(engine.CF, []byte, []byte) error {
	if f.left--; f.left < 0 {
		return syscall.ENOSPC
	}
	return nil
}

func (f *fullDisk) Finish() error             { return nil }
func (f *fullDisk) Commit(engine.Batch) error { return nil }
func (f *fullDisk) Discard()                  { f.discarded++ }

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
		snapshotMessage(1, 2, 8), // no such snapshot
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
