package transport

import (
	"sync"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
)

// queue is what waits for one store, bounded by count and by encoded bytes. Many put, one takes.
type queue struct {
	maxMessages, maxBytes int
	wake                  chan struct{} // holds a token when there may be something to take

	mu    sync.Mutex
	items []item // those before head are taken
	head  int
	bytes int
	lost  bool // something was refused since the last call of takeLost
}

type item struct {
	msg  *raft_serverpb.RaftMessage
	size int
}

func newQueue(maxMessages, maxBytes int) *queue {
	return &queue{maxMessages: maxMessages, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// put adds a message and reports true, unless it does not fit. The taker notices it at the next wakeUp at the latest.
func (q *queue) put(m *raft_serverpb.RaftMessage) bool {
	size := m.Size()
	q.mu.Lock()
	defer q.mu.Unlock()
	if waiting := len(q.items) - q.head; waiting >= q.maxMessages || q.bytes+size > q.maxBytes {
		q.lost = true
		return false
	}
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		q.trim()
	}
	q.items = append(q.items, item{m, size})
	q.bytes += size
	return true
}

func (q *queue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes, in order, as many messages as fit into the limits, at least one when there is any.
func (q *queue) take(maxMessages, maxBytes int) []*raft_serverpb.RaftMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.items[q.head:]
	n, bytes := 0, 0
	for n < len(waiting) && n < maxMessages && (n == 0 || bytes+waiting[n].size <= maxBytes) {
		bytes += waiting[n].size
		n++
	}
	if n == 0 {
		return nil
	}
	msgs := make([]*raft_serverpb.RaftMessage, n)
	for i := range msgs {
		msgs[i] = waiting[i].msg
	}
	clear(waiting[:n])
	q.head += n
	q.bytes -= bytes
	if q.head == len(q.items) {
		q.trim()
	}
	return msgs
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head == len(q.items)
}

// clear drops what waits and returns how much that was.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.items) - q.head
	clear(q.items[q.head:])
	q.items, q.head, q.bytes, q.lost = q.items[:0], 0, 0, false
	return n
}

// takeLost reports whether put has refused something since it was asked last.
func (q *queue) takeLost() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := q.lost
	q.lost = false
	return lost
}

// trim moves what waits to the front.
func (q *queue) trim() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}
