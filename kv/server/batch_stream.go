package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"google.golang.org/grpc/status"
)

// stream is one BatchCommands stream. Three goroutines serve it for its whole life: the receiver reads messages, hands their writes
// over, serves their reads and sends what is answered by then; the sender sends the answers that come later; gRPC's own goroutine
// for the call watches over deadlines and the stream's end, and never blocks on the client. The few workers that long reads get
// (batch_other.go) may send, too; sending is serialised.
//
// Memory is bounded: commands that are unanswered, bytes of requests in work, and bytes of answers not sent are each held below a limit by not
// reading the stream. Whoever makes a large answer sends it before making another, and waits there for a client that does not read.
type stream struct {
	server *Server
	conn   tikvpb.Tikv_BatchCommandsServer
	ctx    context.Context
	wake   chan struct{} // tells the sender that there are answers to send
	idle   chan struct{} // tells that no message will come and every command's answer is sent
	over   chan struct{} // closed with the stream
	sweep  *time.Timer   // fires when deadlines want looking at

	lanes   lanes // the receiver's alone
	sending sync.Mutex
	sent    batchResponse // under sending: the message being sent

	mu    sync.Mutex
	freed *sync.Cond // on mu: load went down, or the stream closed
	batchState
}

// batchState is what a stream's mutex guards.
type batchState struct {
	answers batchResponse // to be sent
	pending []*call       // not answered yet
	// commands are received and their answers not sent; bytes are those of requests that still are in work.
	commands, bytes int
	longs           longQueue
	sweeping        bool // the timer is running
	receiving       bool // the receiver works on a message and sends at its end: no need to wake the sender
	ending          bool // no further message is accepted
	closed          bool // nothing is sent any more
}

// flushSize is the size of gathered answers at which a reader sends before it goes on.
const flushSize = 1 << 20

// BatchCommands serves a stream until the client ends it, it breaks, or the server drains.
func (s *Server) BatchCommands(conn tikvpb.Tikv_BatchCommandsServer) error {
	if !s.life.enter() {
		return errStopping
	}
	defer s.life.leave()
	st := &stream{
		server: s, conn: conn, ctx: conn.Context(), sweep: time.NewTimer(time.Hour),
		wake: make(chan struct{}, 1), idle: make(chan struct{}, 1), over: make(chan struct{}),
	}
	st.freed = sync.NewCond(&st.mu)
	st.lanes.init(s)
	received, sent := make(chan error, 1), make(chan error, 1)
	s.life.work.Go(func() { received <- st.receive() })
	s.life.work.Go(func() { sent <- st.send() })
	// Returning breaks the stream: a goroutine that waits in it is released, and s.life joins it.
	defer st.close()
	return st.watch(received, sent)
}

// watch ends when everything is answered after the client's or the server's end, or with an error.
func (st *stream) watch(received, sent <-chan error) error {
	defer st.sweep.Stop()
	stopping, end := st.server.life.stopping, error(nil)
	var patience <-chan time.Time
	for {
		select {
		case <-st.sweep.C:
			st.expire(time.Now())
		case err := <-received:
			if err != nil {
				return err
			}
			received = nil
			st.finishUp()
		case <-stopping:
			stopping, end = nil, errStopping
			patience = time.After(st.server.limits.DrainTimeout)
			st.finishUp()
		case err := <-sent:
			return err
		case <-st.idle:
			return end
		case <-patience:
			return end
		case <-st.ctx.Done():
			return status.FromContextError(st.ctx.Err()).Err()
		}
	}
}

// send sends the answers that others have gathered, until the stream is over.
func (st *stream) send() error {
	for {
		select {
		case <-st.wake:
			if st.moreToCome() {
				time.Sleep(gatherAnswers)
			}
			if err := st.flush(); err != nil {
				return err
			}
		case <-st.over:
			return nil
		}
	}
}

// gatherAnswers is how long answers wait for others, when they are few of many.
const gatherAnswers = 200 * time.Microsecond

// moreToCome says that few of many commands are answered: others will be soon, for the stores of a cluster, and the regions of a store, work in rounds. One
// message for all of them costs the store and the client as much as one for the first.
func (st *stream) moreToCome() bool {
	const many, few = 8, 4 // commands, and the part of them that is few
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.commands >= many && len(st.answers.ids) < st.commands/few
}

// receive reads messages until the client's end, the server's, or an error.
func (st *stream) receive() error {
	msg := &batchRequest{}
	for {
		if err := st.conn.RecvMsg(msg); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !st.admit(msg) {
			return nil
		}
		if err := st.handle(msg); err != nil {
			return err
		}
		st.mu.Lock()
		st.receiving = false // from here on, answers wake the sender
		st.mu.Unlock()
		if err := st.flush(); err != nil {
			return err
		}
	}
}

// admit waits until the message fits into the stream's limits; a message that never would is admitted alone. It answers false at the stream's end.
func (st *stream) admit(msg *batchRequest) bool {
	size := 0
	for i := range msg.commands {
		size += len(msg.commands[i].whole)
	}
	limits := &st.server.limits
	st.mu.Lock()
	defer st.mu.Unlock()
	for !st.ending && st.commands > 0 &&
		(st.commands+len(msg.commands) > limits.MaxStreamRequests || st.bytes+size > limits.MaxStreamBytes) {
		st.freed.Wait()
	}
	if st.ending {
		return false
	}
	st.commands += len(msg.commands)
	st.bytes += size
	st.receiving = true
	return true
}

// flush sends the answers that are there.
func (st *stream) flush() error {
	st.sending.Lock()
	defer st.sending.Unlock()
	for {
		st.mu.Lock()
		if st.closed || st.answers.empty() {
			st.mu.Unlock()
			return nil
		}
		st.answers, st.sent = st.sent, st.answers
		st.mu.Unlock()

		n := len(st.sent.ids)
		err := st.conn.SendMsg(&st.sent)
		st.sent.Reset()

		st.mu.Lock()
		st.commands -= n
		st.checkIdle()
		st.freed.Broadcast()
		st.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// flushLarge sends when much has been gathered, and thereby waits for a client that reads slowly.
func (st *stream) flushLarge() error {
	st.mu.Lock()
	large := len(st.answers.responses) >= flushSize
	st.mu.Unlock()
	if !large {
		return nil
	}
	return st.flush()
}

// answered is called under mu after answers were added for commands of size bytes that are no longer in work.
func (st *stream) answered(size int) {
	st.bytes -= size
	if st.closed {
		st.answers.Reset()
		return
	}
	st.freed.Broadcast()
	if !st.receiving {
		signal(st.wake)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// finishUp stops admitting messages.
func (st *stream) finishUp() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ending = true
	st.checkIdle()
	st.freed.Broadcast()
}

func (st *stream) checkIdle() {
	if st.ending && st.commands == 0 {
		signal(st.idle)
	}
}

// close lets go of what is still in work: outcomes that come later find nobody.
func (st *stream) close() {
	close(st.over)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.closed, st.ending = true, true
	st.answers.Reset()
	st.pending = nil
	st.longs.waiting = nil
	st.freed.Broadcast()
}

// spawn runs fn on a goroutine of its own, unless the stream is closed.
func (st *stream) spawn(fn func()) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return false
	}
	st.server.life.work.Go(fn)
	return true
}

// answerHealth puts the health feedback into the next message's envelope and into the answer.
func (st *stream) answerHealth(id uint64, size int) error {
	feedback := st.server.healthFeedback()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.answers.feedback = feedback
	err := st.answers.addMessage(id, &response{
		Cmd: &tikvpb.BatchCommandsResponse_Response_GetHealthFeedback{
			GetHealthFeedback: &kvrpcpb.GetHealthFeedbackResponse{HealthFeedback: feedback},
		},
	})
	st.answered(size)
	return err
}
