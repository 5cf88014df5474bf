package raft

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// handoff is the async mode's account of what has been given out and not been reported back.
type handoff struct {
	// entries and apply are the last indexes that a Ready has given out to be written and to be applied.
	entries uint64
	apply   uint64
	// commit is the last commit index that a Ready has given out to be written.
	commit uint64
	// snapshot tells that the pending snapshot has been given out.
	snapshot bool
	// writes are the Readies that have something to make durable, oldest first.
	writes []write
}

// write is what becomes true once the Ready of this number is durable.
type write struct {
	number uint64
	// last is the index up to which the log is durable then, as far as later Readies have not replaced it.
	last               uint64
	term, vote, commit uint64
	snapshot           uint64
}

// durable is the async mode's account of the commit index, which Readies write lazily: the one that is certainly durable
// here, and whether the next Ready is to make the current one so.
type durable struct {
	commit uint64
	wanted bool
}

// truncateAfter forgets what is in flight behind index i. A write under way still happens, but what it makes durable there
// is replaced by a later one; if exactly the same entries come back later, only the write that brings them counts.
func (h *handoff) truncateAfter(i uint64) {
	h.entries = min(h.entries, i)
	for k := range h.writes {
		h.writes[k].last = min(h.writes[k].last, i)
	}
}

// restore starts over at a snapshot.
func (h *handoff) restore(index uint64) {
	h.entries, h.apply, h.snapshot = index, index, false
	for k := range h.writes {
		h.writes[k].last = 0
	}
}

// writesCommit tells whether a write under way makes this commit index durable.
func (h *handoff) writesCommit(index uint64) bool {
	n := len(h.writes)
	return n > 0 && h.writes[n-1].commit >= index
}

// takeWritten removes the oldest write if it is covered by number.
func (h *handoff) takeWritten(number uint64) (write, bool) {
	if len(h.writes) == 0 || h.writes[0].number > number {
		return write{}, false
	}
	w := h.writes[0]
	h.writes = h.writes[1:]
	return w, true
}

// wrote takes in that a write is durable.
func (l *RaftLog) wrote(w write) {
	l.stabled = max(l.stabled, w.last)
	l.durable.commit = max(l.durable.commit, w.commit)
	if l.pendingSnapshot != nil && w.snapshot == snapshotIndex(l.pendingSnapshot) {
		l.pendingSnapshot = nil
	}
}

// toWrite returns the entries that no Ready has given out yet.
func (l *RaftLog) toWrite() []eraftpb.Entry {
	return l.slice(l.handoff.entries+1, l.LastIndex()+1)
}

// applicable returns the range (lo, hi] that may be given out to be applied: committed, durable here, and in order behind
// the snapshot, which the state machine must have taken in first.
func (l *RaftLog) applicable() (lo, hi uint64) {
	lo, hi = l.handoff.apply, min(l.committed, l.stabled)
	if hi < lo || l.pendingSnapshot != nil || l.applied < l.offset {
		return lo, lo
	}
	return lo, hi
}

func (l *RaftLog) hasApplicable() bool {
	lo, hi := l.applicable()
	return lo < hi
}

// appliedTo takes in that the state machine has applied everything up to index i. This is also when it shows that Storage
// has compacted its log.
func (l *RaftLog) appliedTo(i uint64) {
	if i > l.handoff.apply {
		panic(fmt.Sprintf("raft: index %d was reported as applied but only %d has been given out", i, l.handoff.apply))
	}
	l.applied = max(l.applied, i)
	l.maybeCompact()
}

// cache bounds the entries that are in memory only because a follower might want them.
type cache struct {
	limit uint64
	// settled is the index up to which entries are applied, committed and durable, as far as they have been counted; bytes
	// is what those in memory take.
	settled uint64
	bytes   uint64
}

// entryOverhead is what an entry takes in memory beside its data.
const entryOverhead = 128

// floor is the index up to which nothing needs to stay in memory.
func (l *RaftLog) floor() uint64 {
	return min(l.applied, l.stabled, l.committed)
}

// maybeCompact forgets what Storage has compacted, and what exceeds the cache's limit. What is forgotten goes in large
// pieces, so that the copying of the rest is paid by what was freed.
func (l *RaftLog) maybeCompact() {
	if l.pendingSnapshot != nil {
		return
	}
	first, err := l.storage.FirstIndex()
	if err == nil && first-1 > l.offset {
		l.forget(min(first-1, l.floor()))
	}
	if l.cache.limit == 0 {
		return
	}
	for floor := l.floor(); l.cache.settled < floor; l.cache.settled++ {
		l.cache.bytes += l.cacheSize(l.cache.settled + 1)
	}
	if l.cache.bytes <= l.cache.limit {
		return
	}
	to, left := l.offset, l.cache.bytes
	for to < l.cache.settled && left > l.cache.limit/2 {
		to++
		left -= l.cacheSize(to)
	}
	l.forget(to)
}

func (l *RaftLog) cacheSize(i uint64) uint64 {
	return uint64(len(l.entries[i-l.offset-1].Data)) + entryOverhead
}

// forget drops the entries up to index i from memory.
func (l *RaftLog) forget(i uint64) {
	if i <= l.offset {
		return
	}
	for k := l.offset + 1; k <= min(i, l.cache.settled); k++ {
		l.cache.bytes -= l.cacheSize(k)
	}
	l.cache.settled = max(l.cache.settled, i)
	dropped := i - l.offset
	l.offsetTerm = l.entries[dropped-1].Term
	// A new array, so that the old one can be freed once nobody points into it.
	l.entries = append(make([]eraftpb.Entry, 0, len(l.entries)-int(dropped)), l.entries[dropped:]...)
	l.offset = i
}
