package rpc

import (
	"bytes"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
)

func TestBufferHasTheLengthAskedFor(t *testing.T) {
	pool := new(bufferPool)
	for _, n := range []int{0, 1, 255, 256, 257, 4096, 33 << 10, 1 << 20, 1<<20 + 1, 1 << largestBuffer, 1<<largestBuffer + 1} {
		for range 3 { // a new one, and those that others have had
			b := pool.Get(n)
			require.Len(t, *b, n)
			*b = (*b)[:n/2]
			pool.Put(b)
		}
	}
	for _, foreign := range [][]byte{nil, make([]byte, 100), make([]byte, 3000), make([]byte, 2<<largestBuffer)} {
		pool.Put(&foreign) // of no size that is kept
	}
	require.Len(t, *pool.Get(2048), 2048)
	require.Len(t, *pool.Get(1<<largestBuffer + 1), 1<<largestBuffer+1)
}

func TestBufferIsNoLargerThanTwiceWhatIsAskedFor(t *testing.T) {
	for n := 1 << smallestBuffer; n < 1<<largestBuffer; n = n*5/4 + 1 {
		require.LessOrEqual(t, cap(*new(bufferPool).Get(n)), 2*n)
	}
}

// What buffers held before is not in what is made of them.
func TestCodecWritesAllOfABuffer(t *testing.T) {
	want := &kvrpcpb.RawPutRequest{Key: make([]byte, 3000), Value: bytes.Repeat([]byte{0, 7}, 20<<10)}
	data, err := want.Marshal()
	require.NoError(t, err)
	for range 8 {
		dirty := buffers.Get(len(data))
		for i := range *dirty {
			(*dirty)[i] = 0xff
		}
		buffers.Put(dirty)
		ours, err := Codec{}.Marshal(want)
		require.NoError(t, err)
		require.Equal(t, data, ours.Materialize())
		got := new(kvrpcpb.RawPutRequest)
		require.NoError(t, Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data[:1000]), mem.SliceBuffer(data[1000:])}, got))
		require.Equal(t, want, got)
		ours.Free()
	}
}
