package snapfile

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/pingcap/errors"
)

// MemFS is a directory in memory, for simulations and tests. It behaves the same every time. Its crashes lose what was not synced:
// bytes of files, and separately from these, names.
type MemFS struct {
	mu    sync.Mutex
	names map[string]*memFile // as they are seen
	// durable are the names as they would be found after a crash that loses everything that it may lose; changes are those that were made
	// to names since, in order.
	durable map[string]*memFile
	changes []nameChange
	crashes int
}

type nameChange struct {
	remove, add string // "" for none
	file        *memFile
}

func (c nameChange) applyTo(names map[string]*memFile) {
	delete(names, c.remove)
	if c.add != "" {
		names[c.add] = c.file
	}
}

// memFile is the content of a file; MemFS.mu guards it.
type memFile struct {
	data   []byte
	synced int
}

var errCrashed = errors.New("the file was opened before a crash")

// NewMemFS returns an empty directory.
func NewMemFS() *MemFS {
	return &MemFS{names: make(map[string]*memFile), durable: make(map[string]*memFile)}
}

// Crash makes the directory what a crash of the machine may leave: of the n changes of names since the last Sync, the first keep(n)
// stay, and so, of every file, do the first keep(n) of the n bytes since its last Sync. keep must answer a number in [0, n]; nil keeps
// nothing. Files that are open fail from now on.
func (d *MemFS) Crash(keep func(n int) int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if keep == nil {
		keep = func(int) int { return 0 }
	}
	for _, c := range d.changes[:keep(len(d.changes))] {
		c.applyTo(d.durable)
	}
	for _, name := range slices.Sorted(maps.Keys(d.durable)) {
		old := d.durable[name]
		data := slices.Clone(old.data[:old.synced+keep(len(old.data)-old.synced)])
		d.durable[name] = &memFile{data: data, synced: len(data)}
	}
	d.names, d.changes = maps.Clone(d.durable), nil
	d.crashes++
}

// Flip makes one bit of a file wrong, on the disk: 0 is its first bit, 0.5 the one in its middle. False when there is no such file or it is empty.
func (d *MemFS) Flip(name string, where float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := d.names[name]
	if file == nil || len(file.data) == 0 || where < 0 || where >= 1 {
		return false
	}
	bit := int(where * float64(8*len(file.data)))
	file.data[bit/8] ^= 1 << (bit % 8)
	return true
}

// Create implements FS.
func (d *MemFS) Create(name string) (WriteFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file := new(memFile)
	d.change(nameChange{add: name, file: file})
	return &memWriter{handle: handle{dir: d, file: file, crashes: d.crashes}}, nil
}

// Open implements FS.
func (d *MemFS) Open(name string) (ReadFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	file, ok := d.names[name]
	if !ok {
		return nil, notExist("open", name)
	}
	return &memReader{handle: handle{dir: d, file: file, crashes: d.crashes}, size: int64(len(file.data))}, nil
}

// Rename implements FS.
func (d *MemFS) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	file, ok := d.names[from]
	if !ok {
		return notExist("rename", from)
	}
	d.change(nameChange{remove: from, add: to, file: file})
	return nil
}

// Remove implements FS.
func (d *MemFS) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; !ok {
		return notExist("remove", name)
	}
	d.change(nameChange{remove: name})
	return nil
}

// List implements FS.
func (d *MemFS) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), nil
}

// Sync implements FS.
func (d *MemFS) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable, d.changes = maps.Clone(d.names), nil
	return nil
}

func (d *MemFS) change(c nameChange) {
	c.applyTo(d.names)
	d.changes = append(d.changes, c)
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// handle is an open file.
type handle struct {
	dir     *MemFS
	file    *memFile
	crashes int
}

// do runs an operation on the file's content.
func (h *handle) do(op func(f *memFile) error) error {
	h.dir.mu.Lock()
	defer h.dir.mu.Unlock()
	if h.crashes != h.dir.crashes {
		return errCrashed
	}
	return op(h.file)
}

func (h *handle) Close() error { return nil }

type memWriter struct{ handle }

func (w *memWriter) Write(p []byte) (n int, err error) {
	err = w.do(func(f *memFile) error {
		f.data = append(f.data, p...)
		n = len(p)
		return nil
	})
	return n, err
}

func (w *memWriter) Sync() error {
	return w.do(func(f *memFile) error {
		f.synced = len(f.data)
		return nil
	})
}

type memReader struct {
	handle
	size int64
}

func (r *memReader) Size() int64 { return r.size }

func (r *memReader) ReadAt(p []byte, at int64) (n int, err error) {
	err = r.do(func(f *memFile) error {
		if at >= r.size {
			return io.EOF
		}
		if n = copy(p, f.data[at:r.size]); n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}
