package transport

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/rpc"
)

func TestDelivery(t *testing.T) {
	d := new(directory)
	one, two, three := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0"), start(t, d, 3, "127.0.0.1:0")
	var want2, want3 []*raft_serverpb.RaftMessage
	const rounds, regions = 50, 20
	for i := uint64(0); i < rounds; i++ {
		var msgs []*raft_serverpb.RaftMessage
		for region := uint64(1); region <= regions; region++ {
			a, b := message(1, 2, region, i, int(i)+1), message(1, 3, region, i, 100)
			msgs = append(msgs, a, b)
			want2, want3 = append(want2, a), append(want3, b)
		}
		one.Send(msgs)
	}
	eventually(t, func() bool { return len(two.messages()) == len(want2) && len(three.messages()) == len(want3) }, "all messages")
	require.Equal(t, want2, two.messages()) // one stream keeps the order
	require.Equal(t, want3, three.messages())
	require.Empty(t, one.messages())
	require.Zero(t, one.lost(2)+one.lost(3))
	require.Equal(t, 2*rounds*regions, count(one.metrics.sent))
	require.Equal(t, rounds*regions, count(two.metrics.received))

	two.Send(list(message(2, 1, 7, 8, 9))) // the way back is a stream of its own
	eventually(t, func() bool { return len(one.messages()) == 1 }, "an answer")
}

// Whoever has received a message may keep it and change it: nothing of it is recycled.
func TestDeliveredMessagesShareNoMemory(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	two.onDeliver = func(msgs []*raft_serverpb.RaftMessage) {
		for _, m := range msgs { // a receiver that writes into what it was given
			data := m.Message.Entries[0].Data
			for i := range data {
				data[i]++
			}
		}
	}
	const count = 400
	for i := uint64(0); i < count; i++ {
		one.Send(list(message(1, 2, 1, i, 20_000), message(1, 2, 2, i, 10)))
	}
	eventually(t, func() bool { return len(two.messages()) == 2*count }, "all messages")
	for _, m := range two.messages() {
		data := m.Message.Entries[0].Data
		require.Equal(t, len(data), bytes.Count(data, []byte{byte(m.Message.Index) + 1}))
	}
}

// A store comes back at another address, and is found.
func TestStoreMoves(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	sendUntil(t, one, two, 1)
	require.Zero(t, one.lost(2))
	two.halt()
	eventually(t, func() bool { return one.lost(2) > 0 }, "noticed without anything to send")
	again := start(t, d, 2, "127.0.0.1:0")
	require.NotEqual(t, two.addr, again.addr)
	sendUntil(t, one, again, 2)
}

// A store that restarts is found while the scheduler is down.
func TestStoreRestartsWithoutScheduler(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	sendUntil(t, one, two, 1)
	two.halt()
	again := start(t, d, 2, two.addr)
	d.set(2, "")
	sendUntil(t, one, again, 2)
}

// A store that cannot be reached costs its messages, nothing else; attempts are paced.
func TestUnreachableStore(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	d.set(3, unusedAddress(t))
	for range 3 { // store 4 is not known at all
		one.Send(list(message(1, 3, 1, 1, 10), message(1, 2, 1, 1, 10), message(1, 4, 1, 1, 10)))
		eventually(t, func() bool { return one.lost(3) > 0 && one.lost(4) > 0 }, "reported")
	}
	eventually(t, func() bool { return len(two.messages()) == 3 }, "the others are served")
	began, before := time.Now(), one.lost(3)
	eventually(t, func() bool {
		one.Send(list(message(1, 3, 1, 1, 10)))
		return one.lost(3) >= before+4
	}, "tried again")
	require.Greater(t, time.Since(began), 3*minPause)
	require.Positive(t, one.dropped(reasonUnreachable))
	// Nothing to send: no more attempts.
	eventually(t, func() bool { return one.remotes[3].queue.empty() }, "drained")
	sendUntil(t, one, start(t, d, 3, "127.0.0.1:0"), 9)
}

// PITFALLS S23: a receiver that never reads costs a bounded queue, and no one else anything; when it reads again, what waited arrives.
func TestStuckReceiver(t *testing.T) {
	d := new(directory)
	const queueBytes = 8 << 20
	one := start(t, d, 1, "127.0.0.1:0", func(o *Options) { o.Limits.QueueBytes = queueBytes })
	two := start(t, d, 2, "127.0.0.1:0")
	stuck := &stuckServer{resume: make(chan struct{}), accepted: make(chan struct{}, 1)}
	addr, server, served := serve(t, stuck, "127.0.0.1:0")
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	d.set(3, addr)
	one.Send(list(message(1, 3, 1, 0, 10)))
	<-stuck.accepted

	const count, size = 4000, 64 << 10 // 250 MiB in all
	for i := uint64(1); i <= count; i++ {
		one.Send(list(message(1, 3, 1, i, size)))
	}
	eventually(t, func() bool { return one.dropped(reasonQueueFull) > count/2 }, "dropped")
	q := one.remotes[3].queue
	q.mu.Lock()
	require.LessOrEqual(t, q.bytes, queueBytes)
	require.LessOrEqual(t, cap(q.items), 2*queueBytes/size+64)
	q.mu.Unlock()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	require.Less(t, stats.HeapAlloc, uint64(64<<20))
	sendUntil(t, one, two, 5)

	close(stuck.resume)
	eventually(t, func() bool {
		stuck.mu.Lock()
		defer stuck.mu.Unlock()
		return stuck.received == 1+count-one.dropped(reasonQueueFull)
	}, "all that was not dropped")
	one.Send(list(message(1, 3, 1, 0, 10)))
	eventually(t, func() bool { return one.lost(3) > 0 }, "the loss is reported")
}

// stuckServer takes streams and does not read them before it is told to.
type stuckServer struct {
	tikvpb.UnimplementedTikvServer
	resume, accepted chan struct{}
	mu               sync.Mutex
	received         int
}

func (s *stuckServer) wait(ctx context.Context) {
	s.accepted <- struct{}{}
	select {
	case <-s.resume:
	case <-ctx.Done():
	}
}

func (s *stuckServer) BatchRaft(stream tikvpb.Tikv_BatchRaftServer) error {
	s.wait(stream.Context())
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.received += len(batch.Msgs)
		s.mu.Unlock()
	}
}

func (s *stuckServer) Snapshot(stream tikvpb.Tikv_SnapshotServer) error {
	s.wait(stream.Context())
	return status.Error(codes.Canceled, "was stuck")
}

// Close does not wait for a receiver that does not read.
func TestCloseWhileStuck(t *testing.T) {
	d := new(directory)
	stuck := &stuckServer{resume: make(chan struct{}), accepted: make(chan struct{}, 1)}
	addr, server, served := serve(t, stuck, "127.0.0.1:0")
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	d.set(3, addr)
	one := start(t, d, 1, "127.0.0.1:0")
	for i := range uint64(200) {
		one.Send(list(message(1, 3, 1, i, 64<<10)))
	}
	<-stuck.accepted
	one.Close()
	one.Send(list(message(1, 3, 1, 0, 10), message(1, 5, 1, 0, 10), snapshotMessage(1, 3, 7)))
	require.NotContains(t, one.remotes, uint64(5))
	require.Empty(t, one.sentSnapshots())
}

func TestSendFromMany(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0"), start(t, d, 2, "127.0.0.1:0")
	var wg sync.WaitGroup
	const senders, each = 8, 100
	for s := range uint64(senders) {
		wg.Go(func() {
			for i := range uint64(each) {
				one.Send(list(message(1, 2, s, i, 50)))
			}
		})
	}
	wg.Wait()
	eventually(t, func() bool { return len(two.messages()) == senders*each }, "all messages")
	next := map[uint64]uint64{}
	for _, m := range two.messages() { // each sender's in its order
		require.Equal(t, next[m.RegionId], m.Message.Index)
		next[m.RegionId]++
	}
}

// A message that no frame can take ends the session, and the reason is one that a reader of the log understands.
func TestTooLargeMessage(t *testing.T) {
	d := new(directory)
	one, two := start(t, d, 1, "127.0.0.1:0", func(o *Options) { o.Limits.QueueBytes = 1 << 30 }), start(t, d, 2, "127.0.0.1:0")
	one.Send(list(message(1, 2, 1, 1, rpc.MaxMessage)))
	eventually(t, func() bool { return one.lost(2) > 0 }, "reported")
	sendUntil(t, one, two, 2)
}

// PITFALLS S19: an address that leads to another store.
func TestWrongStoreAtTheAddress(t *testing.T) {
	d := new(directory)
	one, three := start(t, d, 1, "127.0.0.1:0"), start(t, d, 3, "127.0.0.1:0")
	d.set(2, three.addr)
	one.Send(list(message(1, 2, 1, 1, 10)))
	eventually(t, func() bool { return one.lost(2) > 0 }, "reported")
	require.Equal(t, 1, three.refused(reasonStore))
	require.Empty(t, three.messages())
	two := start(t, d, 2, "127.0.0.1:0")
	sendUntil(t, one, two, 2) // found as soon as the address is right
}

// PITFALLS S19: a store of another cluster.
func TestWrongCluster(t *testing.T) {
	d := new(directory)
	one := start(t, d, 1, "127.0.0.1:0", func(o *Options) { o.ClusterID = clusterID + 1 })
	two := start(t, d, 2, "127.0.0.1:0")
	one.Send(list(message(1, 2, 1, 1, 10), snapshotMessage(1, 2, 7)))
	eventually(t, func() bool { return one.lost(2) > 0 }, "reported")
	eventually(t, func() bool { return len(one.sentSnapshots()) == 1 }, "reported")
	require.Empty(t, two.messages())
}

// What the receiving half refuses, and how it says so.
func TestRefusals(t *testing.T) {
	d := new(directory)
	two := start(t, d, 2, "127.0.0.1:0")
	conn, err := rpc.Dial(two.addr, rpc.Security{})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	client := tikvpb.NewTikvClient(conn)

	good := []string{clusterHeader, "42", fromHeader, "1", toHeader, "2"}
	change := func(i int, value string) []string {
		c := append([]string(nil), good...)
		c[i] = value
		return c
	}
	noPeers := message(1, 2, 1, 1, 10)
	noPeers.FromPeer, noPeers.ToPeer = nil, nil
	noMeta := snapshotMessage(1, 2, 7)
	noMeta.Message.Snapshot.Metadata = nil
	for _, c := range []struct {
		headers []string
		send    *raft_serverpb.RaftMessage
		code    codes.Code
		want    string
		reason  string
	}{
		{nil, nil, codes.InvalidArgument, "the stream's metadata has no shoal-cluster-id", reasonMalformed},
		{good[:4], nil, codes.InvalidArgument, "the stream's metadata has no shoal-to-store-id", reasonMalformed},
		{append(change(1, "42"), clusterHeader, "43"), nil, codes.InvalidArgument, "has no shoal-cluster-id", reasonMalformed},
		{change(3, "-1"), nil, codes.InvalidArgument, "the stream's metadata has a malformed shoal-from-store-id", reasonMalformed},
		{change(1, "41"), nil, codes.FailedPrecondition, "mismatch cluster id, need 42 but got 41", reasonCluster},
		{change(5, "3"), nil, codes.FailedPrecondition, "store not match: request for store 3 reached store 2", reasonStore},
		{good, message(1, 3, 1, 1, 10), codes.FailedPrecondition, "store not match: request for store 3 reached store 2", reasonStore},
		{good, message(5, 2, 1, 1, 10), codes.InvalidArgument, "store not match: a message from store 5 came on a stream from store 1", reasonStore},
		{good, noPeers, codes.InvalidArgument, "does not say from which peer to which it goes", reasonMalformed},
		{good, new(raft_serverpb.RaftMessage), codes.InvalidArgument, "does not say from which peer to which it goes", reasonMalformed},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), c.headers...)
		before := two.refused(c.reason)
		check := func(err error) {
			require.Equal(t, c.code, status.Code(err), "%v", err)
			require.ErrorContains(t, err, c.want)
		}
		batch, err := client.BatchRaft(ctx)
		require.NoError(t, err)
		if c.send != nil {
			_ = batch.Send(&tikvpb.BatchRaftMessage{Msgs: list(message(1, 2, 1, 1, 10), c.send)})
		}
		check(batch.RecvMsg(new(raft_serverpb.Done)))
		single, err := client.Raft(ctx)
		require.NoError(t, err)
		if c.send != nil {
			_ = single.Send(c.send)
		}
		check(single.RecvMsg(new(raft_serverpb.Done)))
		snap, err := client.Snapshot(ctx)
		require.NoError(t, err)
		_ = snap.Send(&raft_serverpb.SnapshotChunk{Message: c.send})
		check(snap.RecvMsg(new(raft_serverpb.Done)))
		require.Equal(t, before+3, two.refused(c.reason))
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), good...)
	for _, m := range list(message(1, 2, 1, 1, 10), noMeta) { // no snapshot on a snapshot stream
		snap, err := client.Snapshot(ctx)
		require.NoError(t, err)
		_ = snap.Send(&raft_serverpb.SnapshotChunk{Message: m})
		require.ErrorContains(t, snap.RecvMsg(new(raft_serverpb.Done)), "the first chunk has no snapshot message")
	}
	batch, err := client.BatchRaft(ctx) // a snapshot on another stream
	require.NoError(t, err)
	_ = batch.Send(&tikvpb.BatchRaftMessage{Msgs: list(snapshotMessage(1, 2, 7))})
	require.ErrorContains(t, batch.RecvMsg(new(raft_serverpb.Done)), "must come on a Snapshot stream")
	require.Empty(t, two.messages())
}

// The older form, a stream of single messages, and the orderly end of both.
func TestStreamsOfOthers(t *testing.T) {
	d := new(directory)
	two := start(t, d, 2, "127.0.0.1:0")
	conn, err := rpc.Dial(two.addr, rpc.Security{})
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	ctx := metadata.AppendToOutgoingContext(t.Context(), clusterHeader, "42", fromHeader, "1", toHeader, "2")
	single, err := tikvpb.NewTikvClient(conn).Raft(ctx)
	require.NoError(t, err)
	// A message without raft's own part tells a removed peer to go.
	gc := &raft_serverpb.RaftMessage{RegionId: 1, FromPeer: &metapb.Peer{Id: 1, StoreId: 1}, ToPeer: &metapb.Peer{Id: 2, StoreId: 2}, IsTombstone: true}
	want := list(message(1, 2, 1, 1, 10), gc)
	for _, m := range want {
		require.NoError(t, single.Send(m))
	}
	_, err = single.CloseAndRecv()
	require.NoError(t, err)
	batch, err := tikvpb.NewTikvClient(conn).BatchRaft(ctx)
	require.NoError(t, err)
	require.NoError(t, batch.Send(new(tikvpb.BatchRaftMessage)))
	require.NoError(t, batch.Send(&tikvpb.BatchRaftMessage{Msgs: want}))
	_, err = batch.CloseAndRecv()
	require.NoError(t, err)
	require.Equal(t, append(want, want...), two.messages())

	// After Close nobody is let in.
	two.Close()
	single, err = tikvpb.NewTikvClient(conn).Raft(ctx)
	require.NoError(t, err)
	require.ErrorContains(t, single.RecvMsg(new(raft_serverpb.Done)), "store 2 is stopping")
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	opts := Options{Metrics: registry, Resolver: new(directory)}
	first, err := New(opts)
	require.NoError(t, err)
	first.Close()
	_, err = New(opts)
	require.ErrorContains(t, err, "register the transport's metrics")
	opts.Metrics = nil
	second, err := New(opts)
	require.NoError(t, err)
	second.Close()
}

func BenchmarkAppends(b *testing.B) {
	d := new(directory)
	one := start(b, d, 1, "127.0.0.1:0")
	two := start(b, d, 2, "127.0.0.1:0", func(o *Options) { o.Handler = new(counter) })
	done := two.opts.Handler.(*counter)
	done.ch = make(chan int, 1<<16)
	msgs := make([]*raft_serverpb.RaftMessage, 48)
	for i := range msgs {
		msgs[i] = message(1, 2, uint64(i), 1, 1024)
		msgs[i].Message.MsgType = eraftpb.MessageType_MsgAppend
	}
	b.ReportAllocs()
	b.SetBytes(48 << 10)
	waiting := 0
	for b.Loop() {
		one.Send(msgs)
		for waiting += len(msgs); waiting > 20*len(msgs); {
			waiting -= <-done.ch
		}
	}
}

type counter struct {
	recorder
	ch chan int
}

func (c *counter) Deliver(msgs []*raft_serverpb.RaftMessage) { c.ch <- len(msgs) }
