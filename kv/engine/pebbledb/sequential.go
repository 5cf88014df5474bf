package pebbledb

import (
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sequentialWindow is how much of a file is read at once when it is read in order.
const sequentialWindow = 128 << 10

// sequentialFile is a table opened to be read in order: by a compaction, or by an iterator that has read for a while. pebble asks for one
// block at a time; asking the kernel for each costs more than a third of a long scan. Like pebble's handle on it, which is its one
// user, it is not safe for concurrent use.
type sequentialFile struct {
	vfs.File
	window []byte // what the file holds at begin
	begin  int64
	next   int64 // where the last read ended
}

// sequential wraps a file that was opened with these options, if they say so.
func sequential(f vfs.File, opts []vfs.OpenOption) vfs.File {
	if !slices.Contains(opts, vfs.SequentialReadsOption) {
		return f
	}
	return &sequentialFile{File: f}
}

// ReadAt reads ahead of those who go on where they were, or a little further: what lies between is in pebble's cache.
func (f *sequentialFile) ReadAt(p []byte, at int64) (int, error) {
	end := at + int64(len(p))
	onward := at >= f.next && at-f.next < sequentialWindow
	f.next = end
	if f.holds(at, end) {
		return copy(p, f.window[at-f.begin:]), nil
	}
	if !onward || len(p) > sequentialWindow/2 {
		return f.File.ReadAt(p, at)
	}
	if f.window == nil {
		f.window = make([]byte, 0, sequentialWindow)
	}
	n, err := f.File.ReadAt(f.window[:sequentialWindow], at)
	f.window, f.begin = f.window[:n], at
	if f.holds(at, end) { // the error, if any, is that the file ends behind it
		return copy(p, f.window), nil
	}
	return copy(p, f.window), err
}

func (f *sequentialFile) holds(at, end int64) bool {
	return at >= f.begin && end <= f.begin+int64(len(f.window))
}
