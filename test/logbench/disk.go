package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/pingcap/errors"
	"golang.org/x/sys/unix"
)

// watchedDisk counts what is written to tables, and times the syncs of a log's files.
type watchedDisk struct {
	vfs.FS

	mu     sync.Mutex
	tables uint64 // bytes
	syncs  *hdrhistogram.Histogram
}

func newWatchedDisk(fs vfs.FS) *watchedDisk { return &watchedDisk{FS: fs, syncs: newHistogram()} }

func (d *watchedDisk) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tables = 0
	d.syncs.Reset()
}

func (d *watchedDisk) read() (tables uint64, syncs latency) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tables, latencyOf(d.syncs)
}

func (d *watchedDisk) Unwrap() vfs.FS { return d.FS }

func (d *watchedDisk) watch(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	w := &watchedFile{File: f, disk: d}
	switch filepath.Ext(name) {
	case ".log", ".seg", ".big":
		w.isLog = true
	case ".sst":
		w.isTable = true
	}
	return w, nil
}

func (d *watchedDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return d.watch(name, f, err)
}

func (d *watchedDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return d.watch(name, f, err)
}

func (d *watchedDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.watch(to, f, err)
}

type watchedFile struct {
	vfs.File
	disk           *watchedDisk
	isLog, isTable bool
}

func (f *watchedFile) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	if f.isTable {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		f.disk.tables += uint64(n)
	}
	return n, err
}

func (f *watchedFile) Sync() error     { return f.timed(f.File.Sync) }
func (f *watchedFile) SyncData() error { return f.timed(f.File.SyncData) }

func (f *watchedFile) timed(sync func() error) error {
	begin := time.Now()
	err := sync()
	if took := time.Since(begin); f.isLog && err == nil {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		err = errors.Trace(f.disk.syncs.RecordValue(int64(took)))
	}
	return err
}

// usage is what the kernel says of this process.
type usage struct {
	cpu     time.Duration
	written uint64 // bytes that it caused to be sent to a disk
	device  uint64 // bytes that the disk was sent by everybody
	memory  int64  // its own, not of files
}

// since subtracts what was used before; memory is not a count.
func (u usage) since(b usage) usage {
	return usage{u.cpu - b.cpu, u.written - b.written, u.device - b.device, u.memory}
}

// readUsage leaves out what this kernel does not tell.
func readUsage(dir string) (u usage) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) == nil {
		u.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	u.written = uint64(procNumber("/proc/self/io", "write_bytes:"))
	u.device = deviceBytes(dir)
	u.memory = procNumber("/proc/self/status", "RssAnon:") << 10
	return u
}

// deviceBytes is what was written to the disk on which a directory lies, 0 when the kernel does not tell.
func deviceBytes(dir string) uint64 {
	var st unix.Stat_t
	text, err := os.ReadFile("/proc/diskstats")
	if err != nil || unix.Stat(dir, &st) != nil {
		return 0
	}
	const sectorsWritten, sector = 9, 512
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) > sectorsWritten && f[0] == fmt.Sprint(unix.Major(st.Dev)) && f[1] == fmt.Sprint(unix.Minor(st.Dev)) {
			n, _ := strconv.ParseUint(f[sectorsWritten], 10, 64)
			return n * sector
		}
	}
	return 0
}

// procNumber finds the number after a name at a line's beginning.
func procNumber(file, name string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// sizeOf is what the files of a directory take.
func sizeOf(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, errors.Trace(err)
}
