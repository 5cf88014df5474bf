package pebbledb

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// tableBuffer is how much of a table goes to the disk at once, tableWriteback after how many bytes the kernel is asked to write
	// back what went to its cache.
	tableBuffer, tableWriteback = 1 << 20, 1 << 20
	// directUnit is what memory, offset and length of a direct write must be multiples of.
	directUnit = 4096
)

// tableFile writes a table that is made once and as large as it gets, straight to the disk where the file system can: the kernel's
// cache costs several times as much CPU as the disk needs, and holds what may not be read for long. The table's blocks, which
// are small, are gathered; the end, which is no multiple of directUnit, takes the way through the cache.
type tableFile struct {
	vfs.File
	buf    []byte // aligned; n bytes of it are in use
	n      int
	direct bool
}

func newTableFile(file vfs.File) *tableFile {
	f := &tableFile{File: file, buf: alignedBuffer(tableBuffer)}
	if fd := file.Fd(); fd != vfs.InvalidFd {
		f.direct = setDirect(fd, true)
	}
	if !f.direct {
		f.File = vfs.NewSyncingFile(file, vfs.SyncingFileOptions{BytesPerSync: tableWriteback})
	}
	return f
}

func alignedBuffer(n int) []byte {
	b := make([]byte, n+directUnit)
	past := int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % directUnit)
	return b[directUnit-past:][:n:n]
}

// Write gathers.
func (f *tableFile) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(f.buf[f.n:], rest)
		rest = rest[n:]
		if f.n += n; f.n == len(f.buf) {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// flush writes what has gathered. In the end the file is the kernel's again.
func (f *tableFile) flush() error {
	b := f.buf[:f.n]
	f.n = 0
	if whole := len(b) &^ (directUnit - 1); f.direct && whole > 0 {
		n, err := f.File.Write(b[:whole])
		if errors.Is(err, syscall.EINVAL) { // the flag was taken, and yet it cannot
			err = nil
		}
		if b = b[n:]; err != nil {
			return err
		}
	}
	if len(b) == 0 {
		return nil
	}
	if f.direct {
		f.direct = false
		setDirect(f.File.Fd(), false)
	}
	_, err := f.File.Write(b)
	return err
}

// Sync writes the rest, and makes all durable.
func (f *tableFile) Sync() error { return firstError(f.flush(), f.File.Sync()) }

// Close writes what no Sync has written.
func (f *tableFile) Close() error { return firstError(f.flush(), f.File.Close()) }
