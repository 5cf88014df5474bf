package snapfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine"
)

// faulty is a directory of which one call fails, after which the machine is as good as gone: all later calls fail too.
type faulty struct {
	FS
	left int // calls until the failure
}

var errIO = errors.New("EIO")

func (d *faulty) step() error {
	if d.left == 0 {
		return errIO
	}
	d.left--
	return nil
}

func (d *faulty) Create(name string) (WriteFile, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name)
	return &faultyFile{f, d}, err
}

func (d *faulty) Open(name string) (ReadFile, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	return d.FS.Open(name)
}

func (d *faulty) Rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

func (d *faulty) Remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.FS.Remove(name)
}

func (d *faulty) Sync() error {
	if err := d.step(); err != nil {
		return err
	}
	return d.FS.Sync()
}

type faultyFile struct {
	WriteFile
	dir *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.dir.step(); err != nil {
		return 0, err
	}
	return f.WriteFile.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.dir.step(); err != nil {
		return err
	}
	return f.WriteFile.Sync()
}

// PITFALLS S2, S22: whatever a crash at any step of receiving leaves, the next run begins without it, and can receive the same snapshot.
func TestCrashAtEveryStep(t *testing.T) {
	data := content{engine.Default: {{"a", "1"}, {"b", strings.Repeat("2", 2*blockTarget)}}, engine.Write: {{"w", "3"}}}
	good := build(t, testRegion("", ""), data)
	rapid.Check(t, func(t *rapid.T) {
		mem := NewMemFS()
		dir := &faulty{FS: mem, left: rapid.IntRange(0, 50).Draw(t, "steps")}
		func() {
			m, err := New(dir)
			if err != nil {
				return
			}
			to, err := m.Receive(testKey)
			if err != nil {
				return
			}
			if _, err := io.Copy(to, bytes.NewReader(good)); err != nil {
				to.Abort()
				return
			}
			_, _ = to.Commit() // or not: a crash follows
		}()
		mem.Crash(func(n int) int { return rapid.IntRange(0, n).Draw(t, "keep") })
		m := newManager(t, mem)
		items, err := m.List()
		require.NoError(t, err)
		require.Empty(t, items)
		_, err = receive(t, m, testKey, good)
		require.NoError(t, err)
		reader, err := m.OpenToInstall(testKey)
		require.NoError(t, err)
		require.Equal(t, data, readAll(t, reader))
	})
}

// A failure that is not a crash leaves no file and no claim on its name.
func TestFailureAtEveryStep(t *testing.T) {
	good := build(t, testRegion("", ""), content{engine.Default: {{"a", "1"}}})
	failures := 0
	for steps := 0; ; steps++ {
		mem := NewMemFS()
		dir := &faulty{FS: mem, left: steps}
		m := newManager(t, dir)
		to, err := m.Receive(testKey)
		if err == nil {
			if _, err = to.Write(good); err == nil {
				_, err = to.Commit()
			} else {
				to.Abort()
			}
		}
		if err == nil {
			break
		}
		failures++
		require.ErrorIs(t, err, errIO)
		require.ErrorContains(t, err, "snap_")
		dir.left = 1000
		to, err = m.Receive(testKey)
		require.NoError(t, err)
		to.Abort()
	}
	require.Equal(t, 4, failures) // open, create, write, rename
}

func TestMemFSCrash(t *testing.T) {
	all, none := func(n int) int { return n }, func(int) int { return 0 }
	write := func(d *MemFS, name, text string) WriteFile {
		f, err := d.Create(name)
		require.NoError(t, err)
		_, err = f.Write([]byte(text))
		require.NoError(t, err)
		return f
	}
	read := func(d *MemFS, name string) string {
		f, err := d.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return "none"
		}
		require.NoError(t, err)
		b := make([]byte, f.Size())
		_, err = f.ReadAt(b, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return string(b)
	}
	scene := func() (*MemFS, WriteFile) {
		d := NewMemFS()
		f := write(d, "a", "synced")
		require.NoError(t, f.Sync())
		require.NoError(t, d.Sync())
		_, err := f.Write([]byte(", not"))
		require.NoError(t, err)
		write(d, "b", "content")
		require.NoError(t, d.Rename("a", "c"))
		require.NoError(t, d.Remove("b"))
		return d, f
	}
	d, f := scene()
	d.Crash(none)
	require.Equal(t, []string{"synced", "none", "none"}, []string{read(d, "a"), read(d, "b"), read(d, "c")})
	_, err := f.Write([]byte("ghost"))
	require.Error(t, err)
	require.Error(t, f.Sync())
	d.Crash(nil)
	require.Equal(t, "synced", read(d, "a"))

	d, _ = scene()
	d.Crash(all)
	require.Equal(t, []string{"none", "none", "synced, not"}, []string{read(d, "a"), read(d, "b"), read(d, "c")})

	d, _ = scene()
	first := true
	d.Crash(func(n int) int { // one change of names, three bytes of each file
		if first {
			first = false
			return 1
		}
		return min(n, 3)
	})
	require.Equal(t, []string{"synced, n", "con", "none"}, []string{read(d, "a"), read(d, "b"), read(d, "c")})

	require.ErrorIs(t, d.Remove("x"), fs.ErrNotExist)
	require.ErrorIs(t, d.Rename("x", "y"), fs.ErrNotExist)
	file, err := d.Open("b")
	require.NoError(t, err)
	n, err := file.ReadAt(make([]byte, 5), 1)
	require.Equal(t, 2, n)
	require.Equal(t, io.EOF, err)
	_, err = file.ReadAt(make([]byte, 1), 3)
	require.Equal(t, io.EOF, err)
}
