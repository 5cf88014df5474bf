package segment

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/errors"
)

// segment is one file of the log.
type segment struct {
	name string
	file vfs.File
	size int64
	// What follows is of its present life: its number in the row, where it ends, and how many entries and states in it are needed.
	seq  uint64
	end  int64
	life int
}

// maxIdle is how many files wait to be written over; more are removed.
const maxIdle = 4

// files are the segments, and the note of what is durable.
type files struct {
	opts   Options
	next   uint64 // number of the next file's name
	note   noteFile
	pad    []byte
	dirty  bool // something was written since the last sync
	sealed bool // the newest segment takes no more: it was found by recovery

	live  []*segment // oldest first, without gaps in their numbers
	freed []*segment // without life, but named by a durable batch
	idle  []*segment // to be written over

	written        uint64
	made, recycled int
	named          uint64 // the oldest segment, as the newest batch names it

	// reading is held by readers of segments, and taken to give one a new life.
	reading sync.RWMutex

	// A file of zeros is always made ahead, by a goroutine that close joins.
	spares chan spare
	quit   chan struct{}
	done   chan struct{}
}

type spare struct {
	seg *segment
	err error
}

// start begins making spares.
func (f *files) start() {
	f.spares, f.quit, f.done = make(chan spare), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(f.done)
		for {
			seg, err := f.make(fmt.Sprintf("%012d.seg", f.next), f.opts.SegmentBytes)
			f.next++
			select {
			case f.spares <- spare{seg, err}:
			case <-f.quit:
				if err == nil {
					_ = seg.file.Close()
				}
				return
			}
		}
	}()
}

// make creates a file full of zeros, durably.
func (f *files) make(name string, size int64) (*segment, error) {
	path := f.opts.FS.PathJoin(f.opts.Dir, name)
	file, err := f.opts.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, errors.Trace(err)
	}
	// Page by page: what the kernel caches in larger pieces it would later count as written in larger pieces, whatever goes to the disk.
	for at := int64(0); at < size && err == nil; at += pageSize {
		_, err = file.WriteAt(zeros[:], at)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.syncDir(f.opts.Dir)
	}
	if err != nil {
		_ = file.Close()
		return nil, errors.Annotatef(err, "make segment %s", name)
	}
	return &segment{name: name, file: file, size: size}, nil
}

func (f *files) syncDir(name string) error {
	dir, err := f.opts.FS.OpenDir(name)
	if err != nil {
		return errors.Trace(err)
	}
	err = dir.Sync()
	if e := dir.Close(); err == nil {
		err = e
	}
	return errors.Trace(err)
}

// segment returns the live one with the number, nil when it is gone.
func (f *files) segment(seq uint32) *segment {
	if len(f.live) == 0 || uint64(seq) < f.live[0].seq {
		return nil
	}
	return f.live[uint64(seq)-f.live[0].seq]
}

// full tells whether n bytes need another segment than the newest.
func (f *files) full(n int64) bool {
	if len(f.live) == 0 || f.sealed {
		return true
	}
	seg := f.live[len(f.live)-1]
	return seg.end+n > seg.size
}

// following returns the segment that is to come after the newest, with room for n bytes.
func (f *files) following(n int64) (*segment, error) {
	seq := uint64(1)
	if len(f.live) > 0 {
		last := f.live[len(f.live)-1]
		seq = last.seq + 1
		if f.dirty { // else what comes next could be found after a crash without what was before
			if err := last.file.SyncData(); err != nil {
				return nil, errors.Annotatef(err, "sync %s", last.name)
			}
		}
	}
	seg, err := f.fresh(n)
	if err != nil {
		return nil, err
	}
	seg.seq, seg.end, seg.life = seq, 0, 0
	return seg, nil
}

// fresh returns a segment that nobody needs. A batch larger than all segments gets one of its own.
func (f *files) fresh(n int64) (*segment, error) {
	if n > f.opts.SegmentBytes {
		f.made++
		seq := uint64(0)
		if len(f.live) > 0 {
			seq = f.live[len(f.live)-1].seq
		}
		return f.make(fmt.Sprintf("%012d.big", seq+1), (n+pageSize-1)/pageSize*pageSize)
	}
	if last := len(f.idle) - 1; last >= 0 {
		seg := f.idle[last]
		f.idle = f.idle[:last]
		f.recycled++
		f.reading.Lock() // whoever reads what was freed has come to an end
		defer f.reading.Unlock()
		return seg, nil
	}
	s := <-f.spares
	f.made++
	return s.seg, s.err
}

// write appends a batch that names the oldest segment, and zeros up to the end of its last page.
func (f *files) write(seg *segment, batch []byte, oldest uint64) error {
	end := seg.end + int64(len(batch))
	padding := (pageSize - end%pageSize) % pageSize
	f.pad = append(append(f.pad[:0], batch...), zeros[:padding]...)
	if _, err := seg.file.WriteAt(f.pad, seg.end); err != nil {
		return errors.Annotatef(err, "write %s", seg.name)
	}
	f.written += uint64(len(batch))
	seg.end, f.dirty, f.named = end, true, oldest
	return nil
}

// sync makes everything up to the batch with the number durable.
func (f *files) sync(number uint64) error {
	if !f.dirty {
		return nil
	}
	last := f.live[len(f.live)-1]
	if err := last.file.SyncData(); err != nil {
		return errors.Annotatef(err, "sync %s", last.name)
	}
	f.dirty = false
	if err := f.note.write(number); err != nil {
		return errors.Annotate(err, "note what is durable")
	}
	return f.release(f.named)
}

// free takes segments without life out of the row. They may be written over once a batch that was written without them is durable: the
// caller has just written one that still names the oldest.
func (f *files) free() {
	for len(f.live) > 1 && f.live[0].life == 0 {
		f.freed, f.live = append(f.freed, f.live[0]), f.live[1:]
	}
}

// release gives freed segments a new life to wait for; durable is the oldest segment that the last synced batch needs.
func (f *files) release(durable uint64) error {
	for len(f.freed) > 0 && f.freed[0].seq < durable {
		seg := f.freed[0]
		f.freed = f.freed[1:]
		if len(f.idle) < maxIdle && seg.size == f.opts.SegmentBytes {
			f.idle = append(f.idle, seg)
			continue
		}
		if err := f.remove(seg); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) remove(seg *segment) error {
	f.reading.Lock()
	defer f.reading.Unlock()
	if err := seg.file.Close(); err != nil {
		return errors.Trace(err)
	}
	return errors.Trace(f.opts.FS.Remove(f.opts.FS.PathJoin(f.opts.Dir, seg.name)))
}

// openFiles makes or lists the directory. All segments found are idle until recovery says otherwise.
func openFiles(opts Options) (*files, error) {
	f := &files{opts: opts}
	if err := opts.FS.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, errors.Trace(err)
	}
	names, err := opts.FS.List(opts.Dir)
	if err != nil {
		return nil, errors.Trace(err)
	}
	if err := f.note.open(opts); err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == noteName {
			continue
		}
		if err := f.found(name); err != nil {
			_ = f.close()
			return nil, err
		}
	}
	if err = f.syncDir(opts.Dir); err == nil {
		err = f.syncDir(opts.FS.PathDir(opts.Dir))
	}
	if err != nil {
		_ = f.close()
		return nil, err
	}
	return f, nil
}

// found opens a segment.
func (f *files) found(name string) error {
	path := f.opts.FS.PathJoin(f.opts.Dir, name)
	info, err := f.opts.FS.Stat(path)
	if err != nil {
		return errors.Trace(err)
	}
	var number uint64
	if _, err := fmt.Sscanf(name, "%d.", &number); err != nil {
		return errors.Errorf("%s does not belong into a log's directory", name)
	}
	f.next = max(f.next, number+1)
	file, err := f.opts.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return errors.Trace(err)
	}
	f.idle = append(f.idle, &segment{name: name, file: file, size: info.Size()})
	return nil
}

// tidy removes idle files that are not of a segment's size: never finished, or made for one large batch.
func (f *files) tidy() error {
	idle := f.idle
	f.idle = nil
	for _, seg := range idle {
		if seg.size == f.opts.SegmentBytes {
			f.idle = append(f.idle, seg)
		} else if err := f.remove(seg); err != nil {
			return err
		}
	}
	return nil
}

func (f *files) close() error {
	if f.quit != nil {
		close(f.quit)
		<-f.done
	}
	err := f.note.close()
	for _, list := range [][]*segment{f.live, f.freed, f.idle} {
		for _, seg := range list {
			if e := seg.file.Close(); err == nil {
				err = e
			}
		}
	}
	return errors.Trace(err)
}
