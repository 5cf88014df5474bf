package snapfile

import (
	"io"
	"os"
	"path/filepath"

	"github.com/pingcap/errors"
)

// FS is one directory, as a Manager needs it. Safe for concurrent use.
type FS interface {
	// Create opens a new, empty file for writing; an existing one of that name is emptied.
	Create(name string) (WriteFile, error)
	// Open opens a file for reading. The error is fs.ErrNotExist when there is none.
	Open(name string) (ReadFile, error)
	// Rename gives a file another name, in the place of what had that name before.
	Rename(from, to string) error
	// Remove removes a file. The error is fs.ErrNotExist when there is none.
	Remove(name string) error
	// List returns the names of all files, sorted.
	List() ([]string, error)
	// Sync makes every Create, Rename and Remove so far durable.
	Sync() error
}

// WriteFile is a file being written.
type WriteFile interface {
	io.Writer
	// Sync makes what was written durable; the file's name is made so by FS.Sync.
	Sync() error
	Close() error
}

// ReadFile is a file being read; it stays readable when it is removed or replaced.
type ReadFile interface {
	io.ReaderAt
	// Size is the file's length when it was opened.
	Size() int64
	Close() error
}

// OSDir returns the directory dir of the operating system; it is made if it does not exist.
func OSDir(dir string) (FS, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, errors.Trace(err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	return osDir(dir), nil
}

type osDir string

func (d osDir) path(name string) string { return filepath.Join(string(d), name) }

func (d osDir) Create(name string) (WriteFile, error) {
	return os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
}

func (d osDir) Open(name string) (ReadFile, error) {
	file, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // only read from
		return nil, err
	}
	return osFile{File: file, size: info.Size()}, nil
}

func (d osDir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }
func (d osDir) Remove(name string) error     { return os.Remove(d.path(name)) }
func (d osDir) Sync() error                  { return syncDir(string(d)) }

func (d osDir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

type osFile struct {
	*os.File
	size int64
}

func (f osFile) Size() int64 { return f.size }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return errors.Trace(err)
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	return errors.Trace(err)
}
