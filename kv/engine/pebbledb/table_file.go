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
// are small, are gathered; while one buffer is on its way to the disk the next is filled, for whoever makes the table would have to wait with its blocks.
// The end, which is no multiple of directUnit, takes the way through the cache.
type tableFile struct {
	vfs.File
	// buf is aligned; n bytes of it are in use. spare is the buffer that is being written, or was.
	buf, spare []byte
	n          int
	direct     bool
	// written holds the outcome of all writes until now; taken while one is under way.
	written chan error
}

func newTableFile(file vfs.File) *tableFile {
	f := &tableFile{File: file, buf: alignedBuffer(tableBuffer), written: make(chan error, 1)}
	f.written <- nil
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

// Write gathers. Its error may be that of an earlier write.
func (f *tableFile) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := copy(f.buf[f.n:], rest)
		rest = rest[n:]
		if f.n += n; f.n == len(f.buf) {
			if err := f.handOver(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// handOver has the full buffer written when the one before has been.
func (f *tableFile) handOver() error {
	err := <-f.written
	if err != nil {
		f.written <- err
		return err
	}
	if f.spare == nil {
		f.spare = alignedBuffer(tableBuffer)
	}
	full := f.buf
	f.buf, f.spare, f.n = f.spare, full, 0
	go func() { f.written <- f.put(full) }() // joined by the next handOver or flush
	return nil
}

// flush writes the rest, when all before it has been written.
func (f *tableFile) flush() error {
	err := <-f.written
	if err == nil {
		err = f.put(f.buf[:f.n])
		f.n = 0
	}
	f.written <- err
	return err
}

// put writes b. In the end the file is the kernel's again.
func (f *tableFile) put(b []byte) error {
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
