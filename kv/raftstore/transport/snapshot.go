package transport

import (
	"context"
	stderrors "errors"
	"io"
	"strings"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// chunkSize is about the number of a snapshot's bytes in one message: with a block of pairs more (64 KiB, but for large values) it is within the
// memory of a chunk, of 1 MiB, and so is a part of a table.
const chunkSize = 1<<20 - 80<<10

// The sender's half: a queue of messages, a few workers, a connection for every transfer.

// queueSnapshot gives a snapshot message to the workers.
func (t *Transport) queueSnapshot(m *raft_serverpb.RaftMessage) {
	if t.ctx.Err() != nil {
		return
	}
	select {
	case t.sends <- m:
	default:
		t.metrics.dropped.WithLabelValues(reasonQueueFull).Inc()
		t.reportSnapshot(m, errors.Errorf("%d snapshots are waiting already", t.opts.Limits.SnapshotQueue))
	}
}

// sendSnapshots is one worker.
func (t *Transport) sendSnapshots() {
	for {
		select {
		case m := <-t.sends:
			if err := t.sendSnapshot(m); t.ctx.Err() == nil {
				t.reportSnapshot(m, err)
			}
		case <-t.ctx.Done():
			return
		}
	}
}

func (t *Transport) reportSnapshot(m *raft_serverpb.RaftMessage, err error) {
	t.metrics.countSnapshot("send", err)
	if err != nil {
		t.log.Warn("sending a snapshot failed", zap.Uint64("region-id", m.RegionId), zap.Stringer("to", m.ToPeer), zap.Error(err))
	}
	t.opts.Handler.SnapshotSent(m.RegionId, m.ToPeer.GetId(), err == nil)
}

func (t *Transport) sendSnapshot(m *raft_serverpb.RaftMessage) (err error) {
	source, err := t.opts.Snapshots.OpenToSend(snapshotKey(m))
	if err != nil {
		return err
	}
	defer func() {
		if closed := source.Close(); err == nil {
			err = closed
		}
	}()
	ctx, cancel := context.WithCancelCause(t.ctx)
	var header *receiverHeader
	defer func() {
		cancel(nil)
		header.join()
	}()
	// A peer that does not read would otherwise keep the worker for as long as it answers pings.
	stall := t.opts.Limits.SnapshotStall
	watchdog := time.AfterFunc(stall, func() { cancel(errors.Errorf("no progress for %s", stall)) })
	defer watchdog.Stop()
	defer func() {
		if cause := context.Cause(ctx); cause != nil && err != nil {
			err = cause
		}
	}()

	r := t.remote(m.ToPeer.GetStoreId())
	if r == nil {
		return context.Canceled
	}
	conn, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // its stream has ended
	stream, err := tikvpb.NewTikvClient(conn).Snapshot(t.identify(ctx, r.storeID))
	if err != nil {
		return errors.Annotatef(err, "open a snapshot stream to %s", conn.Target())
	}
	header = awaitHeader(stream)
	watchdog.Reset(stall)
	if err = stream.Send(&raft_serverpb.SnapshotChunk{Message: m}); err == nil {
		source.SendTables(header.tableForm())
	}
	memory := make(chunkMemory, chunksInFlight)
	for err == nil {
		var data []byte
		if data, err = nextChunk(*memory.Get(chunkSize), source); err == io.EOF {
			break
		} else if err != nil {
			return errors.Annotate(err, "read the snapshot") // cancels the stream: the receiver throws away what it has
		}
		err = sendData(stream, data, memory, func() { watchdog.Reset(stall) })
	}
	if err != io.EOF { // which also says that the receiver has ended the stream: its answer says why
		return errors.Trace(err)
	}
	watchdog.Reset(stall)
	_, err = stream.CloseAndRecv()
	return errors.Annotatef(err, "snapshot stream to %s", conn.Target())
}

// sendData sends a chunk, and gives its memory back when grpc has done with it.
func sendData(stream tikvpb.Tikv_SnapshotClient, data []byte, memory chunkMemory, progress func()) error {
	if len(data) <= mostInMessage {
		progress()
		return stream.SendMsg(&sentData{data, memory})
	}
	for rest := data; len(rest) > 0; { // a large value makes a large block: its memory is not for others
		n := min(len(rest), mostInMessage)
		progress()
		if err := stream.SendMsg(&sentData{data: rest[:n]}); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// mostInMessage is the number of bytes from which on a chunk is sent in several messages.
const mostInMessage = 2 * chunkSize

// tableFormKey is where a receiver's header says in which form tables may come.
const tableFormKey = "shoal-snapshot-lanes"

// tableFormWait is how long the receiver may take to say so. One of an earlier build says nothing.
const tableFormWait = time.Second

// receiverHeader is what a receiver says of itself before the first block.
type receiverHeader struct {
	// came is closed when it is here, or will not come any more.
	came chan struct{}
	form string
}

func awaitHeader(stream tikvpb.Tikv_SnapshotClient) *receiverHeader {
	h := &receiverHeader{came: make(chan struct{})}
	go func() { // joined by join
		defer close(h.came)
		header, _ := stream.Header() // an error is the stream's, and shows when the next message is sent
		h.form = strings.Join(header.Get(tableFormKey), "")
	}()
	return h
}

// tableForm is the form in which tables may be sent; empty when none may, as far as is known in time.
func (h *receiverHeader) tableForm() string {
	select {
	case <-h.came:
		return h.form
	case <-time.After(tableFormWait):
		return ""
	}
}

// join waits for the waiting to end, as it does with the stream. h may be nil.
func (h *receiverHeader) join() {
	if h != nil {
		<-h.came
	}
}

// nextChunk puts the snapshot's next blocks into data, whole ones: the receiver need not put them together. io.EOF when there is none.
func nextChunk(data []byte, source *snapfile.Stream) ([]byte, error) {
	for len(data) < chunkSize {
		var err error
		if data, err = source.Next(data); err == io.EOF && len(data) > 0 {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// snapshotKey is the name of a message's snapshot, on both sides.
func snapshotKey(m *raft_serverpb.RaftMessage) snapfile.Key {
	at := m.GetMessage().GetSnapshot().GetMetadata()
	return snapfile.Key{RegionID: m.GetRegionId(), Term: at.GetTerm(), Index: at.GetIndex()}
}

// The receiver's half: one stream, one file, one message.

// Snapshot receives one region snapshot, and delivers the message that came with it when the snapshot is here, whole and verified.
func (t *Transport) Snapshot(stream tikvpb.Tikv_SnapshotServer) error {
	from, err := t.admit(stream.Context())
	if err != nil {
		return err
	}
	return t.untilClose(func() error {
		select {
		case t.receives <- struct{}{}:
			defer func() { <-t.receives }()
		default:
			return t.refuse(reasonBusy, codes.ResourceExhausted, "too many snapshots are being received")
		}
		m, err := t.receiveSnapshot(stream, from)
		t.metrics.countSnapshot("receive", err)
		if err != nil {
			t.log.Warn("receiving a snapshot failed", zap.Uint64("region-id", m.GetRegionId()), zap.Uint64("from-store-id", from), zap.Error(err))
			return err
		}
		t.metrics.received.Inc()
		t.opts.Handler.Deliver([]*raft_serverpb.RaftMessage{m})
		return stream.SendAndClose(new(raft_serverpb.Done))
	})
}

// receiveSnapshot returns the stream's message, once the snapshot is here.
func (t *Transport) receiveSnapshot(stream tikvpb.Tikv_SnapshotServer, from uint64) (*raft_serverpb.RaftMessage, error) {
	chunk := new(receivedChunk)
	defer chunk.free()
	if err := stream.RecvMsg(chunk); err != nil {
		return nil, err
	}
	m := chunk.message
	if err := t.check(m, from); err != nil {
		return m, err
	}
	if !isSnapshot(m) || m.Message.GetSnapshot().GetMetadata() == nil {
		return m, t.refuse(reasonMalformed, codes.InvalidArgument, "the first chunk has no snapshot message")
	}
	file, err := t.opts.Snapshots.Receive(snapshotKey(m))
	switch {
	case stderrors.Is(err, snapfile.ErrExists):
		return m, nil // whole, from an earlier transfer whose message may have been lost
	case stderrors.Is(err, snapfile.ErrBusy):
		return m, status.Error(codes.Aborted, err.Error())
	case err != nil:
		return m, status.Error(codes.Internal, err.Error())
	}
	defer file.Abort()
	if err := stream.SendHeader(metadata.Pairs(tableFormKey, file.TableForm())); err != nil {
		return m, err
	}
	for {
		if err := t.paceInbound(stream.Context(), chunk.data.Len()); err != nil {
			return m, status.FromContextError(err).Err()
		}
		for _, b := range chunk.data {
			if _, err := file.Write(b.ReadOnlyData()); err != nil {
				return m, t.refuseSnapshot(err)
			}
		}
		if err := stream.RecvMsg(chunk); err == io.EOF {
			break
		} else if err != nil {
			return m, err
		}
	}
	// A store that stood still finds old snapshots in its sockets. Their senders have given up and told raft so: taken in, they would only cost another one.
	if err := stream.Context().Err(); err != nil {
		return m, status.FromContextError(err).Err()
	}
	if _, err := file.Commit(); err != nil {
		return m, t.refuseSnapshot(err)
	}
	return m, nil
}

// refuseSnapshot tells the sender whether what it sent is at fault, or this store, whose disk may be full.
func (t *Transport) refuseSnapshot(err error) error {
	var corrupt *snapfile.CorruptError
	if stderrors.As(err, &corrupt) {
		return t.refuse(reasonCorrupt, codes.DataLoss, corrupt.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

// paceInbound waits until so many more bytes may be taken in. The sender waits with it, by the stream's flow control.
func (t *Transport) paceInbound(ctx context.Context, n int) error {
	for t.inbound != nil && n > 0 {
		part := min(n, t.inbound.Burst())
		if err := t.inbound.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}
