package server

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errStopping ends a stream that this server does not serve any longer: clients try again elsewhere.
var errStopping = status.Error(codes.Unavailable, "the server is stopping")

// life is how a server comes to its end, in two steps. First the clients' streams answer what they have received and end;
// meanwhile the streams between stores go on, because writes in work need what comes in there. When the last client's stream has
// ended, these end too.
type life struct {
	stopping chan struct{} // closed: clients' streams must come to an end
	drained  chan struct{} // closed: they have
	work     sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	clients int // streams being served
}

func newLife() *life { return &life{stopping: make(chan struct{}), drained: make(chan struct{})} }

// enter is called by a client's stream before it starts, and answers false when it must not. Each true is paired with a leave.
func (l *life) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.clients++
	return true
}

func (l *life) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients--
	l.checkDrained()
}

// stop begins the end; again is no harm.
func (l *life) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	close(l.stopping)
	l.checkDrained()
}

func (l *life) checkDrained() {
	if l.stopped && l.clients == 0 {
		close(l.drained)
	}
}

// wait returns when, after a stop, every stream has ended and every goroutine that one of them started.
func (l *life) wait() {
	<-l.drained // nothing is added to work from here on
	l.work.Wait()
}

// untilDrained serves a stream from another store, which never ends it, until this server has answered its clients. Returning from
// the stream's handler breaks the stream, and thereby ends serve.
func (l *life) untilDrained(serve func() error) error {
	ended := make(chan error, 1)
	if !l.startUnlessDrained(func() { ended <- serve() }) {
		return errStopping
	}
	select {
	case err := <-ended:
		return err
	case <-l.drained:
		return errStopping
	}
}

func (l *life) startUnlessDrained(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped && l.clients == 0 {
		return false
	}
	l.work.Go(fn)
	return true
}
