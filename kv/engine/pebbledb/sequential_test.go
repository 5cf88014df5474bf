package pebbledb

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// counting counts the reads that reach a file.
type counting struct {
	vfs.File
	reads int
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	return c.File.ReadAt(p, at)
}

// Whatever is read, in whatever order, is what the file holds; in order it takes few reads, and out of order no more than were asked for.
func TestSequentialFile(t *testing.T) {
	data := make([]byte, 10*sequentialWindow+123)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(data) // never fails
	open := func() (*counting, vfs.File) {
		c := &counting{File: vfs.NewMemFile(data)}
		return c, sequential(c, []vfs.OpenOption{vfs.SequentialReadsOption})
	}
	check := func(f vfs.File, at, n int) {
		p := make([]byte, n)
		got, err := f.ReadAt(p, int64(at))
		want := min(n, max(0, len(data)-at))
		require.Equal(t, want, got)
		require.Equal(t, data[min(at, len(data)):][:want], p[:want])
		if want < n {
			require.Equal(t, io.EOF, err)
		} else {
			require.NoError(t, err)
		}
	}
	c, f := open()
	for at := 0; at < len(data); at += 3000 {
		check(f, at, 3000)
	}
	require.Less(t, c.reads, 15)
	c, f = open()
	for at := len(data) - 3000; at > 0; at -= 3000 {
		check(f, at, 3000)
	}
	require.LessOrEqual(t, c.reads, len(data)/3000)
	rng := rand.New(rand.NewPCG(1, 2))
	_, f = open()
	for at := 0; at < 1000*1000; {
		if at = max(0, at+rng.IntN(20_000)-8000); rng.IntN(50) == 0 {
			at = rng.IntN(len(data) + 100)
		}
		check(f, at, rng.IntN(40_000))
	}
	plain := vfs.NewMemFile(data)
	require.Equal(t, plain, sequential(plain, nil))
}
