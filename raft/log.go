package raft

import (
	"fmt"

	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/eraftpb"
)

// RaftLog is one node's log: what Storage has persisted, and on top of it a suffix in memory.
//
//	storage:  first ………………………………… stabled
//	entries:              offset+1 … … … … … … … … last
//
// entries holds everything above min(applied, stabled, committed), so that appending, committing and applying never ask
// Storage; only a follower that lags further behind makes a leader read old entries. Elements of entries are never changed
// once written, because Readies and messages point at them: what is cut off makes room in a new array.
type RaftLog struct {
	storage Storage

	// committed is the last index known to be held by a quorum, applied the last one that the state machine has, stabled
	// the last one that is durable on this node.
	committed uint64
	applied   uint64
	stabled   uint64

	entries []eraftpb.Entry
	// offset is the index before entries[0], offsetTerm its term.
	offset     uint64
	offsetTerm uint64

	// pendingSnapshot has been received and is not durable yet. While it is set Storage still holds the log that the
	// snapshot replaces, and must not be asked.
	pendingSnapshot *eraftpb.Snapshot

	handoff handoff
	durable durable
	cache   cache
}

// newLog reads the whole log of storage, as the course does.
func newLog(storage Storage) *RaftLog {
	first, err := storage.FirstIndex()
	if err != nil {
		panic(fmt.Sprintf("raft: storage has no first index: %v", err))
	}
	l, err := loadLog(storage, first-1)
	if err != nil {
		panic(err.Error())
	}
	return l
}

// loadLog reads the entries behind applied, which is as much as must be in memory.
func loadLog(storage Storage, applied uint64) (*RaftLog, error) {
	first, err := storage.FirstIndex()
	if err != nil {
		return nil, errors.Annotate(err, "raft: reading the first index")
	}
	last, err := storage.LastIndex()
	if err != nil {
		return nil, errors.Annotate(err, "raft: reading the last index")
	}
	if applied+1 < first || applied > last {
		return nil, errors.Errorf("raft: applied index %d is outside of the persisted log, which reaches from %d to %d", applied, first-1, last)
	}
	l := &RaftLog{storage: storage, committed: applied, applied: applied, stabled: last, offset: applied, entries: []eraftpb.Entry{}}
	if l.offsetTerm, err = storage.Term(applied); err != nil {
		return nil, errors.Annotatef(err, "raft: reading the term of applied index %d", applied)
	}
	for l.LastIndex() < last {
		ents, err := storage.Entries(l.LastIndex()+1, last+1)
		if err != nil {
			return nil, errors.Annotatef(err, "raft: reading entries %d to %d", l.LastIndex()+1, last)
		}
		l.entries = append(l.entries, ents...)
	}
	l.handoff.entries = last
	l.handoff.apply = applied
	l.cache.settled = applied
	return l, nil
}

// LastIndex returns the index of the last entry, or of the snapshot when nothing follows it.
func (l *RaftLog) LastIndex() uint64 {
	return l.offset + uint64(len(l.entries))
}

func (l *RaftLog) lastTerm() uint64 {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].Term
	}
	return l.offsetTerm
}

// Term returns the term of entry i. ErrUnavailable beyond the end, ErrCompacted before the beginning,
// ErrLogTemporarilyUnavailable if Storage has to load it.
func (l *RaftLog) Term(i uint64) (uint64, error) {
	switch {
	case i > l.LastIndex():
		return 0, ErrUnavailable
	case i > l.offset:
		return l.entries[i-l.offset-1].Term, nil
	case i == l.offset:
		return l.offsetTerm, nil
	case l.pendingSnapshot != nil:
		return 0, ErrCompacted
	}
	return l.storage.Term(i)
}

func (l *RaftLog) matchTerm(i, term uint64) bool {
	t, err := l.Term(i)
	return err == nil && t == term
}

// isUpToDate tells whether a log that ends with (index, term) holds all that a quorum may have committed here.
func (l *RaftLog) isUpToDate(index, term uint64) bool {
	return term > l.lastTerm() || term == l.lastTerm() && index >= l.LastIndex()
}

// isBehind tells whether a log that ends with (index, term) is better than this one.
func (l *RaftLog) isBehind(index, term uint64) bool {
	return term > l.lastTerm() || term == l.lastTerm() && index > l.LastIndex()
}

// slice returns the entries of [lo, hi), all of which must be in memory.
func (l *RaftLog) slice(lo, hi uint64) []eraftpb.Entry {
	from, to := lo-l.offset-1, hi-l.offset-1
	return l.entries[from:to:to]
}

// allEntries returns what is in memory.
func (l *RaftLog) allEntries() []eraftpb.Entry {
	return l.entries
}

// unstableEntries returns the entries that are not durable yet; never nil.
func (l *RaftLog) unstableEntries() []eraftpb.Entry {
	return l.slice(max(l.stabled, l.offset)+1, l.LastIndex()+1)
}

// nextEnts returns the entries that are committed and not applied yet.
func (l *RaftLog) nextEnts() []eraftpb.Entry {
	if lo := max(l.applied, l.offset); l.committed > lo {
		return l.slice(lo+1, l.committed+1)
	}
	return nil
}

// entriesPerRead bounds how many old entries one append asks Storage for.
const entriesPerRead = 256

// entriesFrom returns entries from index lo on, at least one unless lo is beyond the end, of at most maxSize bytes.
func (l *RaftLog) entriesFrom(lo, maxSize uint64) ([]eraftpb.Entry, error) {
	if lo > l.LastIndex() {
		return nil, nil
	}
	if lo > l.offset {
		return limitSize(l.slice(lo, l.LastIndex()+1), maxSize), nil
	}
	if l.pendingSnapshot != nil {
		return nil, ErrCompacted
	}
	ents, err := l.storage.Entries(lo, min(lo+entriesPerRead, l.offset+1))
	if err != nil {
		return nil, err
	}
	return limitSize(ents, maxSize), nil
}

// firstIndex returns the index of the first entry that can still be sent to a follower.
func (l *RaftLog) firstIndex() uint64 {
	if l.pendingSnapshot == nil {
		if first, err := l.storage.FirstIndex(); err == nil {
			return min(first, l.offset+1)
		}
	}
	return l.offset + 1
}

// appendNew adds a leader's own entries, giving them their index and term.
func (l *RaftLog) appendNew(term uint64, ents []*eraftpb.Entry) {
	for _, e := range ents {
		own := *e
		own.Term, own.Index = term, l.LastIndex()+1
		l.entries = append(l.entries, own)
	}
}

// maybeAppend adds the entries that follow (prevIndex, prevTerm), if the log has that one, and cuts off what conflicts with
// them. It returns the last index that now is known to agree with the leader's log.
func (l *RaftLog) maybeAppend(prevIndex, prevTerm uint64, ents []*eraftpb.Entry) (uint64, bool) {
	if !l.matchTerm(prevIndex, prevTerm) {
		return 0, false
	}
	last := prevIndex + uint64(len(ents))
	for i, e := range ents {
		// Entries before offset are committed, and so agree with every later leader.
		if e.Index <= l.offset || l.matchTerm(e.Index, e.Term) {
			continue
		}
		if e.Index <= l.committed {
			panic(fmt.Sprintf("raft: entry %d of term %d conflicts with a committed entry (committed %d)", e.Index, e.Term, l.committed))
		}
		l.truncateAfter(e.Index - 1)
		for _, e := range ents[i:] {
			l.entries = append(l.entries, *e)
		}
		break
	}
	return last, true
}

// truncateAfter cuts off the entries behind index i, if there are any, and takes back whatever was said about them.
func (l *RaftLog) truncateAfter(i uint64) {
	if i >= l.LastIndex() {
		return
	}
	// The smaller capacity makes the next append allocate: the array still belongs to Readies and messages.
	l.entries = l.slice(l.offset+1, i+1)
	l.stabled = min(l.stabled, i)
	l.handoff.truncateAfter(i)
}

// commitTo raises the commit index.
func (l *RaftLog) commitTo(i uint64) bool {
	if i <= l.committed {
		return false
	}
	if i > l.LastIndex() {
		panic(fmt.Sprintf("raft: commit index %d is beyond the last index %d: the log lost entries", i, l.LastIndex()))
	}
	l.committed = i
	return true
}

// restore replaces the log by a snapshot, which becomes durable later.
func (l *RaftLog) restore(snap *eraftpb.Snapshot) {
	index := snap.Metadata.Index
	l.entries = []eraftpb.Entry{}
	l.offset, l.offsetTerm = index, snap.Metadata.Term
	l.committed, l.stabled = index, index
	l.pendingSnapshot = snap
	l.handoff.restore(index)
	l.cache = cache{limit: l.cache.limit, settled: index}
}

// findConflictByTerm returns the largest index at or before index whose term is at most term: the last place at which this
// log may agree with one that has term at index. It never looks below floor, where the logs are known to agree, and it
// stops where Storage would have to be asked, which is as good a place to try.
func (l *RaftLog) findConflictByTerm(index, term, floor uint64) (uint64, uint64) {
	for ; index > floor; index-- {
		if index < l.offset {
			return index, 0
		}
		if t, err := l.Term(index); err == nil && t <= term {
			return index, t
		}
	}
	t, err := l.Term(index)
	if err != nil {
		t = 0
	}
	return index, t
}

// unappliedConfChange tells whether a membership change is committed here but not applied.
func (l *RaftLog) unappliedConfChange() bool {
	for lo := max(l.applied, l.offset) + 1; lo <= l.committed; lo++ {
		if isConfChange(l.entries[lo-l.offset-1]) {
			return true
		}
	}
	return false
}

// limitSize returns the longest beginning of ents within limit bytes, but at least one entry. A limit of zero is none.
func limitSize(ents []eraftpb.Entry, limit uint64) []eraftpb.Entry {
	if limit == 0 {
		return ents
	}
	var size uint64
	for i := range ents {
		size += uint64(ents[i].Size())
		if size > limit && i > 0 {
			return ents[:i:i]
		}
	}
	return ents
}
