// Package segment is a raft log in files of its own: the alternative to an engine that test/logbench measures. It is a prototype, and no
// part of the product.
//
// The log is a row of segments: files of one size, filled with zeros when they are made and written over again when nothing
// in them is needed any more, so that a sync has no new length or extents to make durable. A Write appends one batch to the newest segment, with
// one write and at most one sync; what is needed to find an entry is kept in memory.
//
// The order of Write: encode (first what garbage collection moves, then the updates) → room in the newest segment, or the next one → one write, padded
// to the page's end so that the kernel never has to read a page first → sync → the index takes the batch in → segments without life are freed.
//
// Garbage collection goes from the oldest segment on: what still lives in it is copied into the batches of later Writes, a little each
// time, and paid for by no sync of its own. Since the oldest always goes first, a record that ends the life of others (a cut, a longer log
// replaced, a region destroyed) is never forgotten before them. Every batch names the oldest segment that is still needed; a segment is written
// over only when a batch that no longer needs it is durable.
//
// Recovery looks for the newest segment, takes from its last batch which is the oldest, and has the index take in all batches between, in order.
// The log ends at the first batch that is not whole. The number of the last synced batch is noted beside the segments, so that damage is told from a
// torn tail (PITFALLS S22). What comes next goes to a new segment: nothing that was torn is ever followed by something new.
package segment

import (
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/kv/raftstore/logstore"
)

// Options says where a log lives. The zero value of SegmentBytes has a sensible meaning.
type Options struct {
	// Dir holds the segments and nothing else; it is created when missing.
	Dir string
	// FS is the file system below.
	FS vfs.FS
	// SegmentBytes is the size of a segment, a multiple of 4 KiB; default 32 MiB.
	SegmentBytes int64
}

// Log is the raft log of all groups of a store. Write must not run beside itself; all else may run beside it.
type Log struct {
	opts  Options
	files *files

	writing sync.Mutex // Write and Sync
	batch   []byte
	// proposed is how many bytes of the last batch were updates: the next one is taken to be like it.
	proposed int
	number   uint64 // of the last batch
	fault    error
	collect  collector

	mu    sync.RWMutex
	index index
}

// Stats is what a log has done since it was opened, and what it holds.
type Stats struct {
	// MovedBytes were copied out of old segments, out of WrittenBytes that all batches had.
	MovedBytes, WrittenBytes uint64
	// Made and Recycled count new segments by where they came from; Segments are in use, of which LiveBytes are needed.
	Made, Recycled, Segments int
	LiveBytes                int64
}

// Open recovers the log in opts.Dir, or begins a new one. An error says what is damaged.
func Open(opts Options) (*Log, error) {
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = 32 << 20
	}
	if opts.SegmentBytes%pageSize != 0 {
		return nil, errors.Errorf("segments of %d bytes: they must be a multiple of %d", opts.SegmentBytes, pageSize)
	}
	l := &Log{opts: opts, index: newIndex()}
	files, err := openFiles(opts)
	if err != nil {
		return nil, errors.Annotatef(err, "open the log in %s", opts.Dir)
	}
	l.files = files
	if err := l.recover(); err != nil {
		_ = files.close()
		return nil, errors.Annotatef(err, "open the log in %s", opts.Dir)
	}
	files.start()
	return l, nil
}

// Close syncs what was written and releases the files.
func (l *Log) Close() error {
	err := l.Sync()
	if e := l.files.close(); err == nil {
		err = e
	}
	return errors.Trace(err)
}

// Sync makes every earlier Write durable.
func (l *Log) Sync() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.fault == nil {
		l.fault = l.files.sync(l.number)
	}
	return l.fault
}

// Write makes the updates of all groups take effect, with the contract of logstore.Store.
func (l *Log) Write(updates []logstore.Update) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.fault != nil {
		return l.fault
	}
	sync := false
	for i := range updates {
		if err := check(&updates[i]); err != nil {
			return err
		}
		sync = sync || updates[i].Sync
	}
	if err := l.encode(updates); err != nil {
		return err
	}
	if len(l.batch) > headerSize {
		if l.fault = l.append(); l.fault != nil {
			return l.fault
		}
	}
	if sync {
		l.fault = l.files.sync(l.number)
	}
	return l.fault
}

func (l *Log) encode(updates []logstore.Update) error {
	l.batch = begin(l.batch)
	if l.fault = l.addMoves(2*l.proposed + moveAtLeast); l.fault != nil {
		return l.fault
	}
	moved := len(l.batch)
	for i := range updates {
		if err := l.addUpdate(&updates[i]); err != nil {
			l.collect.regions = nil // what was to move has not
			l.batch = begin(l.batch)
			return err
		}
	}
	l.proposed = len(l.batch) - moved
	return nil
}

// append writes the batch at the end of the log and lets the index take it in. It is seen by readers before it is synced, as an engine's is.
func (l *Log) append() error {
	f := l.files
	if n := int64(len(l.batch)); f.full(n) {
		seg, err := f.following(n)
		if err != nil {
			return err
		}
		l.mu.Lock()
		f.live, f.sealed = append(f.live, seg), false
		l.mu.Unlock()
	}
	l.number++
	oldest, seg := f.live[0].seq, f.live[len(f.live)-1]
	seal(l.batch, header{seq: seg.seq, number: l.number, oldest: oldest})
	at := seg.end
	if err := f.write(seg, l.batch, oldest); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.index.take(f, seg, at, l.batch[headerSize:]); err != nil {
		panic(fmt.Sprintf("batch %d, just encoded, cannot be read: %v", l.number, err))
	}
	f.free()
	return nil
}

func check(u *logstore.Update) error {
	if u.Destroy && (len(u.Entries) > 0 || u.Reset || u.CompactTo > 0) {
		return &logstore.UpdateError{RegionID: u.RegionID, Reason: "destroy excludes every other change but what state is left"}
	}
	for i := 1; i < len(u.Entries); i++ {
		if u.Entries[i].Index != u.Entries[0].Index+uint64(i) {
			return &logstore.UpdateError{RegionID: u.RegionID, Index: u.Entries[i].Index, Reason: "entries are not contiguous"}
		}
	}
	return nil
}

// Stats reads the counters.
func (l *Log) Stats() Stats {
	l.writing.Lock()
	defer l.writing.Unlock()
	f := l.files
	return Stats{
		MovedBytes: l.collect.moved, WrittenBytes: f.written, Made: f.made, Recycled: f.recycled, Segments: len(f.live),
		LiveBytes: l.index.bytes,
	}
}

// Regions returns, in ascending order, the groups that have a raft state.
func (l *Log) Regions() ([]uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var regions []uint64
	for id, g := range l.index.groups {
		if g.hasState {
			regions = append(regions, id)
		}
	}
	slices.Sort(regions)
	return regions, nil
}
