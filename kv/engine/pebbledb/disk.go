package pebbledb

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"
)

// disk is the file system as pebble sees it, and the place where a failure is caught. pebble answers a failed write of its
// log with a panic under its commit lock or by ending the process, and retries failed flushes at once and for ever. So it never learns: the
// first failed change poisons the engine, and from then on every change in the engine's directory is swallowed. The
// disk stays as the failure left it, as after a crash; pebble's waiting writers are released and find the fault when they
// come back to Commit, which acknowledges nothing; so does a recovery, which ends and finds it in Open. (Reads may fail
// from then on, when they meet a table that was never written.)
//
// It also times the syncs of the log, notes how far each log is durable (syncedLengths), and makes a new manifest's name
// durable before anything points to it.
type disk struct {
	vfs.FS
	dir    string
	fault  *fault
	synced *syncedLengths
	log    logStats
	logger *zap.Logger
}

// mine says whether a file lies in the engine's directory. Checkpoints and tables on their way in do not: their
// failures concern only who asked for them.
func (d *disk) mine(name string) bool { return name == d.dir || d.PathDir(name) == d.dir }

// frozen says whether changes are swallowed.
func (d *disk) frozen(name string) bool {
	return d.fault.err() != nil && d.mine(name)
}

// failed takes note of the error of a change and returns what pebble is to see of it: nothing, when the file is ours.
func (d *disk) failed(op, name string, err error) error {
	if err == nil || !d.mine(name) {
		return err
	}
	d.fault.fail(fmt.Errorf("%s %s: %w", op, name, err))
	return nil
}

func (d *disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.create("create", name, func() (vfs.File, error) { return d.FS.Create(name, category) })
}

func (d *disk) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return d.create("reuse", to, func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, category) })
}

func (d *disk) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.create("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, category, opts...) })
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.create("open", name, func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

// create opens a file for changes. The files of a frozen disk, which nothing reaches, have an empty one in memory below.
func (d *disk) create(op, name string, open func() (vfs.File, error)) (vfs.File, error) {
	if !d.mine(name) {
		return open()
	}
	f := vfs.NewMemFile(nil)
	if !d.frozen(name) {
		if onDisk, err := open(); d.failed(op, name, err) == nil && err == nil {
			f = onDisk
		}
	}
	kind, num := parseName(d.PathBase(name))
	if kind == manifestFile && !d.frozen(name) {
		// pebble syncs the directory once for a new manifest and for the marker that points to it. A file system that
		// writes entries in another order than they were made could keep the marker alone after a power cut.
		if err := d.failed("sync", d.dir, syncDir(d.FS, d.dir)); err != nil {
			return nil, err
		}
	}
	return &diskFile{File: f, disk: d, name: name, kind: kind, num: num}, nil
}

func syncDir(fs vfs.FS, name string) error {
	dir, err := fs.OpenDir(name)
	if err != nil {
		return err
	}
	return firstError(dir.Sync(), dir.Close())
}

// Open opens for reading. On a frozen disk pebble may look for tables that were never written, and ask again and again.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if err != nil && errors.Is(err, os.ErrNotExist) && d.frozen(name) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	return sequential(f, opts), nil
}

func (d *disk) Rename(from, to string) error {
	if d.frozen(to) {
		return nil
	}
	return d.failed("rename", to, d.FS.Rename(from, to))
}

// Link reports its errors, since pebble copies what it cannot link.
func (d *disk) Link(from, to string) error {
	if d.frozen(to) {
		return nil
	}
	return d.FS.Link(from, to)
}

// Remove reports its errors: a file that is left over does no harm.
func (d *disk) Remove(name string) error {
	if d.frozen(name) {
		return nil
	}
	return d.FS.Remove(name)
}

func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	if d.frozen(name) {
		return nil
	}
	return d.failed("mkdir", name, d.FS.MkdirAll(name, perm))
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

// fileKind tells the files whose tail matters from the others.
type fileKind uint8

const (
	otherFile fileKind = iota
	logFile
	manifestFile
)

// parseName recognises pebble's names of logs (000012.log) and manifests (MANIFEST-000012).
func parseName(base string) (fileKind, uint64) {
	kind, digits := otherFile, ""
	if s, ok := strings.CutSuffix(base, ".log"); ok {
		kind, digits = logFile, s
	} else if s, ok := strings.CutPrefix(base, "MANIFEST-"); ok {
		kind, digits = manifestFile, s
	}
	num, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return otherFile, 0
	}
	return kind, num
}

// diskFile is a file or directory that pebble changes. Writes and syncs of one file do not overlap.
type diskFile struct {
	vfs.File
	disk   *disk
	name   string
	kind   fileKind
	num    uint64
	length int64 // written so far
}

func (f *diskFile) Write(p []byte) (int, error) {
	if f.disk.frozen(f.name) {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	f.length += int64(n)
	if f.kind == logFile {
		f.disk.log.bytes.Add(uint64(n))
	}
	return len(p), f.disk.failed("write", f.name, err)
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if f.disk.frozen(f.name) {
		return len(p), nil
	}
	_, err := f.File.WriteAt(p, off)
	return len(p), f.disk.failed("write", f.name, err)
}

func (f *diskFile) Sync() error     { return f.sync(f.File.Sync) }
func (f *diskFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *diskFile) sync(do func() error) error {
	if f.disk.frozen(f.name) {
		return nil
	}
	start := time.Now()
	if err := do(); err != nil {
		return f.disk.failed("sync", f.name, err)
	}
	if took := time.Since(start); f.kind == logFile {
		f.disk.log.add(took)
		if took > time.Second {
			f.disk.logger.Warn("slow sync of the log", zap.String("file", f.name), zap.Duration("took", took))
		}
	}
	if f.kind == otherFile {
		return nil
	}
	return f.disk.failed("note the length of", f.name, f.disk.synced.note(f.kind, f.num, f.length))
}

// SyncTo only starts writing back; its false says that nothing is promised.
func (f *diskFile) SyncTo(length int64) (bool, error) {
	if f.disk.frozen(f.name) {
		return false, nil
	}
	full, err := f.File.SyncTo(length)
	return full, f.disk.failed("sync", f.name, err)
}

// Close always closes: nothing may leak, and the owner of a frozen engine wants its directory back.
func (f *diskFile) Close() error {
	return f.disk.failed("close", f.name, f.File.Close())
}

// logStats counts what is written to the log.
type logStats struct {
	bytes atomic.Uint64
	mu    sync.Mutex
	syncs uint64
	total time.Duration
	max   time.Duration
}

func (l *logStats) add(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncs++
	l.total += took
	l.max = max(l.max, took)
}

func (l *logStats) metrics() Metrics {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Metrics{LogBytes: l.bytes.Load(), LogSyncs: l.syncs, LogSyncTime: l.total, LogSyncMax: l.max}
}
