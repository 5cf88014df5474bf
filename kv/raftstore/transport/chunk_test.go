package transport

import (
	"bytes"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"

	"github.com/shoal-kv/shoal/rpc"
)

// countingPool counts what it is given back.
type countingPool struct{ returned int }

func (p *countingPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p *countingPool) Put(*[]byte)       { p.returned++ }

// What is sent without a copy is what kvproto would have sent, and its memory comes back once, when the last who refers to it has done so.
func TestSentDataIsASnapshotChunk(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 20_000, 1 << 20} {
		var pool countingPool
		data := bytes.Repeat([]byte{7}, n)
		b, err := rpc.Codec{}.Marshal(&sentData{data, &pool})
		require.NoError(t, err)
		var chunk raft_serverpb.SnapshotChunk
		require.NoError(t, chunk.Unmarshal(b.Materialize()))
		require.True(t, bytes.Equal(data, chunk.Data))
		b.Ref()
		b.Free()
		require.Zero(t, pool.returned)
		b.Free()
		if !mem.IsBelowBufferPoolingThreshold(n) {
			require.Equal(t, 1, pool.returned)
		}
	}
	b, err := rpc.Codec{}.Marshal(&sentData{data: make([]byte, 5000)}) // nobody's memory
	require.NoError(t, err)
	b.Free()
}

// A chunk is taken in however it was cut into frames; what is data alone is kept where it is until the next, and everything else is decoded.
func TestReceivedChunk(t *testing.T) {
	message := &raft_serverpb.RaftMessage{RegionId: 5, Message: &eraftpb.Message{MsgType: eraftpb.MessageType_MsgSnapshot}}
	data := bytes.Repeat([]byte("0123456789"), 2000)
	twice := append(encoded(t, &raft_serverpb.SnapshotChunk{Data: data}), encoded(t, &raft_serverpb.SnapshotChunk{Data: []byte("again")})...)
	c := new(receivedChunk)
	for name, k := range map[string]struct {
		sent    []byte
		message *raft_serverpb.RaftMessage
		data    []byte
	}{
		"data":    {encoded(t, &raft_serverpb.SnapshotChunk{Data: data}), nil, data},
		"message": {encoded(t, &raft_serverpb.SnapshotChunk{Message: message}), message, nil},
		"both":    {encoded(t, &raft_serverpb.SnapshotChunk{Message: message, Data: data}), message, data},
		"twice":   {twice, nil, []byte("again")}, // the last counts, as in any protobuf
		"nothing": {nil, nil, nil},
	} {
		for _, frame := range []int{1, 3, 1000, len(k.sent)} {
			var pool countingPool
			var frames mem.BufferSlice
			for at := 0; at < len(k.sent); at += frame {
				memory := append(make([]byte, 0, 2<<10), k.sent[at:min(at+frame, len(k.sent))]...)
				frames = append(frames, mem.NewBuffer(&memory, &pool))
			}
			require.NoError(t, rpc.Codec{}.Unmarshal(frames, c))
			frames.Free() // as grpc does
			require.Equal(t, k.message, c.message, name)
			require.True(t, bytes.Equal(k.data, c.data.Materialize()), name)
			c.free()
			require.Empty(t, c.data)
			if frame > 0 {
				require.Equal(t, (len(k.sent)+frame-1)/frame, pool.returned, "%s in frames of %d", name, frame)
			}
		}
	}
	require.Error(t, rpc.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer("no protobuf")}, c))
}

func encoded(t *testing.T, c *raft_serverpb.SnapshotChunk) []byte {
	b, err := c.Marshal()
	require.NoError(t, err)
	return b
}

// Memory that has been sent serves again, and no more is kept than was asked for.
func TestChunkMemory(t *testing.T) {
	m := make(chunkMemory, 1)
	b, other := m.Get(chunkSize), m.Get(chunkSize)
	require.Empty(t, *b)
	require.GreaterOrEqual(t, cap(*b), chunkSize)
	*b = append(*b, 1)
	m.Put(b)
	m.Put(other)
	again := m.Get(chunkSize)
	require.Empty(t, *again)
	require.Same(t, &(*b)[:1][0], &(*again)[:1][0])
	require.NotSame(t, &(*other)[:1][0], &(*m.Get(chunkSize))[:1][0])
}
