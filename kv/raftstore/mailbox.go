package raftstore

import "sync"

// mailbox is a queue with one reader, who takes all that is there at once. Put never blocks. Who may be refused asks
// with tryPut; completions use put and are bounded by what is in flight.
type mailbox[T any] struct {
	mu     sync.Mutex
	items  []T
	limit  int
	closed bool
	// wake holds a token while there is something that the reader has not seen.
	wake chan struct{}
}

func newMailbox[T any](limit int) *mailbox[T] {
	return &mailbox[T]{limit: limit, wake: make(chan struct{}, 1)}
}

// put appends items whatever the length; false when the mailbox is closed.
func (b *mailbox[T]) put(items ...T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.items = append(b.items, items...)
	b.signal()
	return true
}

// tryPut appends item unless the limit is reached or the mailbox is closed.
func (b *mailbox[T]) tryPut(item T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.items) >= b.limit {
		return false
	}
	b.items = append(b.items, item)
	b.signal()
	return true
}

// tryPutAll appends as many of the items as the limit lets in, and returns how many it refused. The reader finds them all at once.
func (b *mailbox[T]) tryPutAll(items []T) (refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return len(items)
	}
	fit := min(len(items), max(0, b.limit-len(b.items)))
	b.items = append(b.items, items[:fit]...)
	b.signal()
	return len(items) - fit
}

func (b *mailbox[T]) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns everything that is there; the slice given becomes the next queue's space.
func (b *mailbox[T]) take(space []T) []T {
	clear(space)
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = space[:0]
	return items
}

// waiting says that there is something to take.
func (b *mailbox[T]) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) > 0
}

// close refuses what comes from now on. What is there can still be taken.
func (b *mailbox[T]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.signal()
}
