package rpc

import (
	"github.com/pingcap/errors"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Message is what the generated code of kvproto offers beside the protobuf API: encoding into a given buffer, without reflection.
type Message interface {
	// Reset makes the message empty.
	Reset()
	// Size is the length of the encoded message, in bytes.
	Size() int
	// MarshalToSizedBuffer encodes the message into the end of a buffer that has at least Size bytes.
	MarshalToSizedBuffer(b []byte) (int, error)
	// Unmarshal decodes and merges; it must not keep b.
	Unmarshal(b []byte) error
}

// Encoder is a message that lies in memory as it is sent, so that nothing need be copied.
type Encoder interface {
	// Encode gives the encoded message. Its memory is left alone until grpc frees the buffers.
	Encode() (mem.BufferSlice, error)
}

// Decoder is a message that takes what it wants out of the buffers in which it came.
type Decoder interface {
	// Decode decodes; what it keeps of data it must hold a reference to.
	Decode(data mem.BufferSlice) error
}

// Codec is protobuf on the wire. It takes the short way for every Message, Encoder and Decoder, and grpc's own codec for what else there is. (kvproto's coprocessor
// responses are the Messages that keep b; nobody here receives them.)
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name is that of grpc's own codec: the bytes are the same.
func (Codec) Name() string { return proto.Name }

// Marshal encodes a message, into a buffer from the pool unless it is small.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if e, ok := v.(Encoder); ok {
		return e.Encode()
	}
	m, ok := v.(Message)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Marshal(v)
	}
	size := m.Size()
	if mem.IsBelowBufferPoolingThreshold(size) {
		b := make([]byte, size)
		if err := marshal(m, b); err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	b := buffers.Get(size)
	if err := marshal(m, (*b)[:size]); err != nil {
		buffers.Put(b)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(b, buffers)}, nil
}

func marshal(m Message, b []byte) error {
	n, err := m.MarshalToSizedBuffer(b)
	if err != nil {
		return errors.Annotatef(err, "encode %T", m)
	}
	if n != len(b) {
		return errors.Errorf("encode %T: changed from %d to %d bytes meanwhile", m, len(b), n)
	}
	return nil
}

// Unmarshal decodes a message, which then shares no memory with data unless it is a Decoder.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if d, ok := v.(Decoder); ok {
		return d.Decode(data)
	}
	m, ok := v.(Message)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
	}
	b := data.MaterializeToBuffer(buffers)
	defer b.Free()
	m.Reset()
	return errors.Annotatef(m.Unmarshal(b.ReadOnlyData()), "decode %T", m)
}
