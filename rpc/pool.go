package rpc

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// buffers is the memory of messages and of the frames in which they travel, for all connections of the process. Other than grpc's own pool it clears
// nothing, as all of a buffer is written before it is read, and knows more sizes: there a message of 33 KiB takes, and clears, a MiB.
var buffers mem.BufferPool = new(bufferPool)

// smallestBuffer and largestBuffer are the sizes of what is kept for others, as powers of two.
const smallestBuffer, largestBuffer = 8, 24

// bufferPool keeps buffers by the power of two that is their capacity.
type bufferPool struct {
	sizes [largestBuffer + 1]sync.Pool
}

// Get gives a buffer of n bytes, which may be any.
func (p *bufferPool) Get(n int) *[]byte {
	size := max(bits.Len(uint(max(n, 1)-1)), smallestBuffer)
	if size > largestBuffer {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.sizes[size].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<size)
	return &b
}

// Put takes a buffer back, if it is one of the sizes that are kept.
func (p *bufferPool) Put(b *[]byte) {
	c := uint(cap(*b))
	if size := bits.Len(c) - 1; size >= smallestBuffer && size <= largestBuffer && c == 1<<size {
		p.sizes[size].Put(b)
	}
}
