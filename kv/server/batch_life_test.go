package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/engine"
	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
)

// countedSnapshot tells when it is closed.
type countedSnapshot struct {
	storage.Snapshot
	open *atomic.Int32
}

func (s *countedSnapshot) Close() error {
	s.open.Add(-1)
	return s.Snapshot.Close()
}

// lateReads is a storage whose snapshots come when the test says so: each read that it is asked for comes out of asked, to be performed.
func lateReads(t *testing.T) (s *hooked, asked chan func(), open *atomic.Int32) {
	under := newStandalone(t, memdb.New())
	mustPut(t, under, engine.Default, "k", "v")
	open = new(atomic.Int32)
	asked = make(chan func(), 16)
	s = &hooked{Storage: under}
	s.read = func(_ context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		asked <- func() {
			under.Read(context.Background(), at, func(snap storage.Snapshot, err error) {
				open.Add(1)
				done(&countedSnapshot{Snapshot: snap, open: open}, err)
			})
		}
	}
	return s, asked, open
}

// A snapshot that comes later is served off the storage's goroutine; meanwhile the stream goes on.
func TestBatchCommandsLateSnapshot(t *testing.T) {
	s, asked, open := lateReads(t)
	_, conn := startServer(t, s)
	c := newBatchClient(t, conn)
	c.send(1, getCmd(nil, "k"), getCmd(nil, "nope"))
	c.send(3, emptyCmd(9, 0))
	require.Equal(t, uint64(9), c.receive(1)[3].GetEmpty().GetTestId())
	(<-asked)()
	got := c.receive(2)
	require.Equal(t, "v", string(got[1].GetRawGet().Value))
	require.True(t, got[2].GetRawGet().NotFound)
	require.Eventually(t, func() bool { return open.Load() == 0 }, patience, time.Millisecond)
}

// max_execution_duration_ms: a read has not happened, a write is undetermined (S25), and what comes later finds nobody.
func TestBatchCommandsDeadline(t *testing.T) {
	s, asked, open := lateReads(t)
	held := make(chan func(error), 4)
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }
	_, conn := startServer(t, s)
	c := newBatchClient(t, conn)
	hurry := &kvrpcpb.Context{MaxExecutionDurationMs: 1}
	got := c.ask(getCmd(hurry, "k"), putCmd(hurry, "k", "new"))
	require.Equal(t, "Deadline is exceeded", got[1].GetRawGet().RegionError.Message)
	require.NotNil(t, got[1].GetRawGet().RegionError.ServerIsBusy)
	require.NotNil(t, got[2].GetRawPut().RegionError.StaleCommand)

	(<-asked)()
	(<-held)(nil)
	require.Eventually(t, func() bool { return open.Load() == 0 }, patience, time.Millisecond)
	// Nothing is answered twice, and the stream is well.
	require.Equal(t, uint64(9), c.ask(emptyCmd(9, 0))[1].GetEmpty().GetTestId())

	// A patient caller is not hurried by the other's deadline.
	patient := &kvrpcpb.Context{MaxExecutionDurationMs: uint64(patience.Milliseconds())}
	c.send(1, putCmd(hurry, "k", "new"), putCmd(patient, "k", "new"))
	require.NotNil(t, c.receive(1)[1].GetRawPut().RegionError.StaleCommand)
	(<-held)(nil)
	(<-held)(nil)
	require.Nil(t, c.receive(1)[2].GetRawPut().RegionError)
}

func TestUnaryDeadline(t *testing.T) {
	s, asked, open := lateReads(t)
	s.write = func(context.Context, storage.Target, []storage.Modify, func(error)) {} // handed over, never heard of
	srv := NewServer(s)
	hurry := &kvrpcpb.Context{MaxExecutionDurationMs: 1}
	get, err := srv.RawGet(context.Background(), &kvrpcpb.RawGetRequest{Context: hurry, Key: []byte("k")})
	require.NoError(t, err)
	require.Equal(t, "Deadline is exceeded", get.RegionError.Message)
	(<-asked)()
	require.Eventually(t, func() bool { return open.Load() == 0 }, patience, time.Millisecond)
	put, err := srv.RawPut(context.Background(), &kvrpcpb.RawPutRequest{Context: hurry, Key: []byte("k")})
	require.NoError(t, err)
	require.NotNil(t, put.RegionError.StaleCommand)
}

// The client goes away: the storage's context ends, late outcomes are dropped, late snapshots are closed, nothing leaks.
func TestBatchCommandsCancel(t *testing.T) {
	s, asked, open := lateReads(t)
	held := make(chan func(error), 1)
	ended := make(chan struct{})
	s.write = func(ctx context.Context, _ storage.Target, _ []storage.Modify, done func(error)) {
		context.AfterFunc(ctx, func() { close(ended) })
		held <- done
	}
	g, conn := startServer(t, s)
	c := newBatchClient(t, conn)
	c.send(1, putCmd(nil, "k", "v"), getCmd(nil, "k"))
	done, read := <-held, <-asked
	c.cancel()
	<-ended
	g.Stop(context.Background()) // returns only when every handler and receiver has ended
	done(errors.New("too late"))
	read()
	require.Zero(t, open.Load())
}

// A client that does not read makes the server stop reading: what it holds is bounded, and nothing is lost when the client goes on.
func TestBatchCommandsUnreadStaysBounded(t *testing.T) {
	const limit, perMessage, valueSize = 64, 16, 16 << 10
	under := newStandalone(t, memdb.New())
	mustPut(t, under, engine.Default, "big", string(make([]byte, valueSize)))
	var asked atomic.Int64
	s := &hooked{Storage: under}
	s.read = func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		asked.Add(perMessage)
		under.Read(ctx, at, done)
	}
	_, conn := startServer(t, s, WithLimits(Limits{MaxStreamRequests: limit}))
	c := newBatchClient(t, conn)

	const total = 100 * perMessage
	go func() {
		for id := uint64(0); id < total; id += perMessage {
			requests := make([]*request, perMessage)
			for i := range requests {
				requests[i] = getCmd(nil, "big")
			}
			c.send(id, requests...)
		}
	}()
	// The server takes in what fits into windows and limits (a few MiB) of the 25 MiB asked for, and then stands still.
	stood, last := 0, int64(-1)
	require.Eventually(t, func() bool {
		if now := asked.Load(); now != last {
			stood, last = 0, now
			return false
		}
		stood++
		return last > 0 && stood > 20
	}, patience, 10*time.Millisecond)
	require.Less(t, last, int64(total/2))
	require.Len(t, c.receive(total), total)
}

// Unanswered writes are bounded as well: beyond the limit, the storage is not asked.
func TestBatchCommandsUnansweredStayBounded(t *testing.T) {
	const limit = 8
	var mu sync.Mutex
	var held []func(error)
	s := &hooked{Storage: newStandalone(t, memdb.New())}
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) {
		mu.Lock()
		defer mu.Unlock()
		held = append(held, done)
	}
	waiting := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(held)
	}
	_, conn := startServer(t, s, WithLimits(Limits{MaxStreamRequests: limit}))
	c := newBatchClient(t, conn)
	for id := range uint64(3 * limit) {
		c.send(id, putCmd(nil, fmt.Sprint(id), "v"))
	}
	require.Eventually(t, func() bool { return waiting() == limit }, patience, time.Millisecond)
	require.Never(t, func() bool { return waiting() > limit }, 50*time.Millisecond, 5*time.Millisecond)
	for answered := 0; answered < 3*limit; {
		mu.Lock()
		now := held
		held = nil
		mu.Unlock()
		for _, done := range now {
			done(nil)
		}
		require.Len(t, c.receive(len(now)), len(now))
		answered += len(now)
	}
}

// A storage that gives up must not make an answer look like "there is nothing".
func TestBatchCommandsStorageGivesUp(t *testing.T) {
	s := &hooked{}
	s.read = func(_ context.Context, _ storage.Target, done func(storage.Snapshot, error)) {
		done(nil, context.Canceled)
	}
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) {
		done(context.Canceled)
	}
	_, conn := startServer(t, s)
	got := newBatchClient(t, conn).ask(
		getCmd(nil, "k"), scanCmd(nil, "", 10), putCmd(nil, "k", "v"),
		&request{Cmd: &tikvpb.BatchCommandsRequest_Request_RawBatchGet{RawBatchGet: &kvrpcpb.RawBatchGetRequest{}}},
	)
	require.NotNil(t, got[1].GetRawGet().RegionError.GetServerIsBusy())
	require.NotNil(t, got[2].GetRawScan().RegionError.GetServerIsBusy())
	require.NotNil(t, got[3].GetRawPut().RegionError.GetServerIsBusy())
	require.NotNil(t, got[4].GetRawBatchGet().RegionError.GetServerIsBusy())
}

// Clients that never send the same Context twice are served like others.
func TestBatchCommandsManyCallers(t *testing.T) {
	_, conn := startServer(t, newStandalone(t, memdb.New()))
	c := newBatchClient(t, conn)
	for i := range 2 {
		var requests []*request
		for j := range maxLanes {
			in := &kvrpcpb.Context{RegionId: 1, TaskId: uint64(i*maxLanes + j)}
			if j%100 == 0 {
				in.ResourceGroupTag = make([]byte, 2*maxLaneKey)
			}
			requests = append(requests, putCmd(in, fmt.Sprint(j), "v"), getCmd(in, "0"))
		}
		for _, cmd := range c.ask(requests...) {
			require.Nil(t, cmd.GetRawPut().GetRegionError())
			require.Nil(t, cmd.GetRawGet().GetRegionError())
		}
	}
}

// A stopping server answers what it has received, then ends the stream with Unavailable; it does not wait for the client.
func TestBatchCommandsDrain(t *testing.T) {
	held := make(chan func(error), 1)
	s := &hooked{Storage: newStandalone(t, memdb.New())}
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }
	g, conn := startServer(t, s)
	c, idle := newBatchClient(t, conn), newBatchClient(t, conn)
	idle.ask(emptyCmd(1, 0))
	c.send(1, putCmd(nil, "k", "v"))
	done := <-held
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.Stop(context.Background())
	}()
	_, err := idle.stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	done(nil)
	require.NotNil(t, c.receive(1)[1].GetRawPut())
	_, err = c.stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	<-stopped
}

// A write whose outcome never comes does not keep the server from stopping.
func TestBatchCommandsDrainTimeout(t *testing.T) {
	held := make(chan func(error), 1)
	s := &hooked{Storage: newStandalone(t, memdb.New())}
	s.write = func(_ context.Context, _ storage.Target, _ []storage.Modify, done func(error)) { held <- done }
	g, conn := startServer(t, s, WithLimits(Limits{DrainTimeout: time.Millisecond}))
	c := newBatchClient(t, conn)
	c.send(1, putCmd(nil, "k", "v"))
	done := <-held
	g.Stop(context.Background())
	_, err := c.stream.Recv()
	require.Equal(t, codes.Unavailable, status.Code(err), err)
	done(nil)
}

// Nor does a client that does not read: its stream is broken off while answers for it wait to be sent.
func TestBatchCommandsDrainUnread(t *testing.T) {
	under := newStandalone(t, memdb.New())
	mustPut(t, under, engine.Default, "big", string(make([]byte, 8<<20))) // more than the windows between the two
	asked := make(chan struct{}, 4)
	s := &hooked{Storage: under}
	s.read = func(ctx context.Context, at storage.Target, done func(storage.Snapshot, error)) {
		under.Read(ctx, at, done)
		asked <- struct{}{}
	}
	g, conn := startServer(t, s, WithLimits(Limits{DrainTimeout: time.Millisecond}))
	c := newBatchClient(t, conn)
	c.send(1, getCmd(nil, "big"), getCmd(nil, "big"))
	c.send(3, scanCmd(nil, "", 1))
	<-asked
	g.server.Drain()
	g.server.Wait()
	var err error
	for err == nil { // what had been sent can be read
		_, err = c.stream.Recv()
	}
	require.Equal(t, codes.Unavailable, status.Code(err), err)
}

// Large answers are sent in parts, each command's whole; a message may ask for more than the limit on commands.
func TestBatchCommandsLargeAnswers(t *testing.T) {
	s := newStandalone(t, memdb.New())
	mustPut(t, s, engine.Default, "big", string(make([]byte, 512<<10)))
	_, conn := startServer(t, s, WithLimits(Limits{MaxStreamRequests: 4}))
	c := newBatchClient(t, conn)
	requests := make([]*request, 16)
	for i := range requests {
		requests[i] = getCmd(nil, "big")
	}
	c.send(1, requests...)
	got, messages := 0, 0
	for ; got < len(requests); messages++ {
		msg, err := c.stream.Recv()
		require.NoError(t, err)
		for _, r := range msg.Responses {
			require.Len(t, r.GetRawGet().Value, 512<<10)
		}
		got += len(msg.Responses)
	}
	require.Greater(t, messages, 4)
}
