package transport

import (
	"io"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Raft receives a stream of single messages.
func (t *Transport) Raft(stream tikvpb.Tikv_RaftServer) error {
	from, err := t.admit(stream.Context())
	if err != nil {
		return err
	}
	return t.untilClose(func() error {
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				return stream.SendAndClose(new(raft_serverpb.Done))
			}
			if err != nil {
				return err
			}
			if err := t.deliver([]*raft_serverpb.RaftMessage{m}, from); err != nil {
				return err
			}
		}
	})
}

// BatchRaft receives a stream of batches.
func (t *Transport) BatchRaft(stream tikvpb.Tikv_BatchRaftServer) error {
	from, err := t.admit(stream.Context())
	if err != nil {
		return err
	}
	return t.untilClose(func() error {
		for {
			batch, err := stream.Recv()
			if err == io.EOF {
				return stream.SendAndClose(new(raft_serverpb.Done))
			}
			if err != nil {
				return err
			}
			if err := t.deliver(batch.Msgs, from); err != nil {
				return err
			}
		}
	})
}

// deliver hands messages to the handler, all or, when one of them must be refused, none. The decoder has copied every byte of them, so they share
// no memory with what grpc recycles.
func (t *Transport) deliver(msgs []*raft_serverpb.RaftMessage, from uint64) error {
	for _, m := range msgs {
		if err := t.check(m, from); err != nil {
			return err
		}
		if isSnapshot(m) {
			return t.refuse(reasonMalformed, codes.InvalidArgument, "a snapshot message must come on a Snapshot stream, with its data")
		}
	}
	if len(msgs) == 0 {
		return nil
	}
	t.metrics.received.Add(float64(len(msgs)))
	t.opts.Handler.Deliver(msgs)
	return nil
}

// untilClose runs the body of a stream's handler, and returns its error, or an error as soon as the transport closes. Then grpc ends
// the stream and with it the body, for which Close waits.
func (t *Transport) untilClose(body func() error) error {
	closing := status.Errorf(codes.Unavailable, "store %d is stopping", t.opts.StoreID)
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return closing
	}
	t.wg.Add(1)
	t.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		defer t.wg.Done()
		done <- body()
	}()
	select {
	case err := <-done:
		return err
	case <-t.ctx.Done():
		return closing
	}
}
