package transport

import (
	"context"
	stderrors "errors"
	"io"
	"time"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-kv/shoal/kv/raftstore/snapfile"
)

// chunkSize is the number of a snapshot's bytes in one message.
const chunkSize = 1 << 20

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
	file, _, err := t.opts.Snapshots.OpenToSend(snapshotKey(m))
	if err != nil {
		return err
	}
	defer file.Close() // only read from
	ctx, cancel := context.WithCancelCause(t.ctx)
	defer cancel(nil)
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
	chunk := &raft_serverpb.SnapshotChunk{Message: m}
	for {
		watchdog.Reset(stall)
		if err := stream.Send(chunk); err == io.EOF {
			break // the answer says why
		} else if err != nil {
			return errors.Trace(err)
		}
		data := make([]byte, chunkSize) // grpc may hold on to the one before
		n, err := io.ReadFull(file, data)
		if err == io.EOF {
			break
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return errors.Trace(err)
		}
		chunk = &raft_serverpb.SnapshotChunk{Data: data[:n]}
	}
	watchdog.Reset(stall)
	_, err = stream.CloseAndRecv()
	return errors.Annotatef(err, "snapshot stream to %s", conn.Target())
}

// snapshotKey is the name of a snapshot message's file, on both sides.
func snapshotKey(m *raft_serverpb.RaftMessage) snapfile.Key {
	at := m.GetMessage().GetSnapshot().GetMetadata()
	return snapfile.Key{RegionID: m.GetRegionId(), Term: at.GetTerm(), Index: at.GetIndex()}
}

// The receiver's half: one stream, one file, one message.

// Snapshot receives one region snapshot, and delivers the message that came with it when the file is complete, verified and durable.
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

// receiveSnapshot returns the stream's message, once its file is here.
func (t *Transport) receiveSnapshot(stream tikvpb.Tikv_SnapshotServer, from uint64) (*raft_serverpb.RaftMessage, error) {
	chunk, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	m := chunk.Message
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
	for {
		if err := t.paceInbound(stream.Context(), len(chunk.Data)); err != nil {
			return m, status.FromContextError(err).Err()
		}
		if _, err := file.Write(chunk.Data); err != nil {
			return m, status.Error(codes.Internal, err.Error())
		}
		if chunk, err = stream.Recv(); err == io.EOF {
			break
		} else if err != nil {
			return m, err
		}
	}
	_, err = file.Commit()
	var corrupt *snapfile.CorruptError
	switch {
	case stderrors.As(err, &corrupt):
		return m, t.refuse(reasonCorrupt, codes.DataLoss, corrupt.Error())
	case err != nil:
		return m, status.Error(codes.Internal, err.Error())
	}
	return m, nil
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
