package transport

import (
	"github.com/pingcap/errors"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/shoal-kv/shoal/rpc"
)

// A snapshot's bytes are not copied between the stream that makes them and grpc's frames, nor between the frames in which they come and whoever
// takes them in: at a GiB, each copy is worth a twentieth of a core second and more.

var (
	_ rpc.Encoder = (*sentData)(nil)
	_ rpc.Decoder = (*receivedChunk)(nil)
)

// dataField is SnapshotChunk.data.
const dataField = 2

// sentData is a SnapshotChunk of data alone, which is sent from where it lies. Its memory is memory's when grpc has done with it.
type sentData struct {
	data   []byte
	memory mem.BufferPool
}

// Encode puts the field's tag and length in front.
func (c *sentData) Encode() (mem.BufferSlice, error) {
	head := protowire.AppendVarint(protowire.AppendTag(nil, dataField, protowire.BytesType), uint64(len(c.data)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(&c.data, c.memory)}, nil
}

// chunkMemory is the memory of chunks that have been sent.
type chunkMemory chan []byte

// chunksInFlight is how many chunks are kept for others.
const chunksInFlight = 4

// Get gives memory of at least a chunk's size and no bytes.
func (m chunkMemory) Get(int) *[]byte {
	select {
	case b := <-m:
		return &b
	default:
		b := make([]byte, 0, 1<<20)
		return &b
	}
}

// Put takes it back.
func (m chunkMemory) Put(b *[]byte) {
	select {
	case m <- (*b)[:0]:
	default:
	}
}

// receivedChunk is a SnapshotChunk whose data stay in the buffers in which they came, until the next.
type receivedChunk struct {
	message *raft_serverpb.RaftMessage
	data    mem.BufferSlice
}

// Decode takes the buffers where they hold nothing but data.
func (c *receivedChunk) Decode(all mem.BufferSlice) error {
	c.free()
	if c.keep(all) {
		return nil
	}
	b := all.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	var chunk raft_serverpb.SnapshotChunk
	if err := chunk.Unmarshal(b.ReadOnlyData()); err != nil {
		return errors.Annotate(err, "decode a snapshot chunk")
	}
	c.message, c.data = chunk.Message, mem.BufferSlice{mem.SliceBuffer(chunk.Data)}
	return nil
}

// keep refers to the data, if there is no other field, and one piece of data.
func (c *receivedChunk) keep(all mem.BufferSlice) bool {
	if len(all) == 0 {
		return false
	}
	first := all[0].ReadOnlyData()
	field, kind, tag := protowire.ConsumeTag(first)
	if tag < 0 || field != dataField || kind != protowire.BytesType {
		return false
	}
	n, length := protowire.ConsumeVarint(first[tag:])
	if length < 0 || n != uint64(all.Len()-tag-length) {
		return false
	}
	c.data = append(c.data, all[0].Slice(tag+length, len(first)))
	for _, b := range all[1:] {
		b.Ref()
		c.data = append(c.data, b)
	}
	return true
}

// free gives the data's buffers back.
func (c *receivedChunk) free() {
	c.data.Free()
	c.message, c.data = nil, c.data[:0]
}
