package pebbledb

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// refusing is a file whose system takes the flag for direct writes and then refuses the writes.
type refusing struct {
	vfs.File
	refused int
}

func (f *refusing) Write(p []byte) (int, error) {
	if f.refused == 0 && len(p)%directUnit == 0 {
		f.refused++
		return 0, syscall.EINVAL
	}
	return f.File.Write(p)
}

// A table's file holds what was written, however it was cut, wherever it ends, and whether or not the file system takes direct writes.
func TestTableFileHoldsWhatWasWritten(t *testing.T) {
	data := make([]byte, 3*tableBuffer)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for name, open := range map[string]func() (vfs.FS, string){
		"os":      func() (vfs.FS, string) { return vfs.Default, filepath.Join(dir, "table") },
		"memory":  func() (vfs.FS, string) { return vfs.NewMem(), "table" },
		"refused": func() (vfs.FS, string) { return vfs.Default, filepath.Join(dir, "refused") },
	} {
		for _, size := range []int{
			0, 1, directUnit - 1, directUnit, directUnit + 1, tableBuffer - 1, tableBuffer, tableBuffer + 1, tableBuffer + directUnit, 2*tableBuffer + 5, 3 * tableBuffer,
		} {
			fs, path := open()
			file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			if name == "refused" {
				file = &refusing{File: file}
			}
			f := newTableFile(file)
			for rest := data[:size]; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(300_000))
				written, err := f.Write(rest[:n])
				require.NoError(t, err)
				require.Equal(t, n, written)
				rest = rest[n:]
			}
			if size%2 == 0 {
				require.NoError(t, f.Sync())
			}
			require.NoError(t, f.Close())
			file, err = fs.Open(path)
			require.NoError(t, err)
			info, err := file.Stat()
			require.NoError(t, err)
			require.EqualValues(t, size, info.Size(), name)
			if size > 0 {
				got := make([]byte, size)
				_, err = file.ReadAt(got, 0)
				require.NoError(t, err)
				require.Equal(t, data[:size], got, "%s %d", name, size)
			}
			require.NoError(t, file.Close())
		}
	}
}

// failing is a file whose second write fails.
type failing struct {
	vfs.File
	writes int
}

var errWrite = errors.New("the disk does not take this")

func (f *failing) Write(p []byte) (int, error) {
	if f.writes++; f.writes == 2 {
		return 0, errWrite
	}
	return len(p), nil
}

// A write that fails behind the caller's back is told at the latest when the file is made durable, and nothing is written after it.
func TestTableFileTellsOfAFailedWrite(t *testing.T) {
	file, err := vfs.NewMem().Create("table", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	broken := &failing{File: file}
	f := newTableFile(broken)
	for range 5 {
		if _, err = f.Write(make([]byte, tableBuffer)); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, errWrite)
	require.ErrorIs(t, f.Sync(), errWrite)
	require.ErrorIs(t, f.Close(), errWrite)
	require.Equal(t, 2, broken.writes)
}
