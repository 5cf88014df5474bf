package server

import (
	"bytes"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// batchRequest is the wire form of tikvpb.BatchCommandsRequest. The commands that make up nearly all traffic are decoded here by
// hand, in place: their keys and values point into one copy of the message instead of being allocated one by one, and a Context
// stays bytes, because it is nearly always equal to one that the stream has seen. All other commands stay bytes until somebody asks for them.
//
// When a field that must be single comes twice, the last one counts; no encoder writes such messages.
type batchRequest struct {
	commands []command
	ids      []uint64
}

// command is one request of a batch.
type command struct {
	// method is otherMethod unless the command is decoded here.
	method method
	// whole is the encoded tikvpb.BatchCommandsRequest_Request.
	whole []byte

	context, key, value, cf []byte
	ttl                     uint64
}

// The field numbers of tikvpb.BatchCommandsRequest.
const (
	requestsField = 1
	idsField      = 2
)

var errOneWay = errors.New("server: a batch is received and its answers are sent, never the other way")

// Reset empties the message for reuse. It, the methods of rpc.Message and those that grpc's own codec wants make this a message.
func (m *batchRequest) Reset() {
	clear(m.commands) // do not hold on to the last message's bytes
	m.commands, m.ids = m.commands[:0], m.ids[:0]
}

// String is for messages about messages.
func (m *batchRequest) String() string { return fmt.Sprintf("batch of %d commands", len(m.commands)) }

// ProtoMessage marks a message.
func (*batchRequest) ProtoMessage() {}

// Size is that of nothing: it is only received.
func (*batchRequest) Size() int { return 0 }

// MarshalToSizedBuffer fails: it is only received.
func (*batchRequest) MarshalToSizedBuffer([]byte) (int, error) { return 0, errOneWay }

// Unmarshal decodes a message from data, which may be reused once it returns: gRPC pools its receive buffers.
func (m *batchRequest) Unmarshal(data []byte) error {
	m.Reset()
	own := bytes.Clone(data)
	err := eachField(own, func(num protowire.Number, typ protowire.Type, field []byte, number uint64) error {
		switch {
		case num == requestsField && typ == protowire.BytesType:
			m.commands = append(m.commands, command{whole: field})
			return m.commands[len(m.commands)-1].decode()
		case num == idsField && typ == protowire.BytesType:
			return m.appendPacked(field)
		case num == idsField && typ == protowire.VarintType:
			m.ids = append(m.ids, number)
		}
		return nil
	})
	if err == nil && len(m.ids) != len(m.commands) {
		err = fmt.Errorf("%d requests with %d request ids", len(m.commands), len(m.ids))
	}
	return err
}

func (m *batchRequest) appendPacked(packed []byte) error {
	for len(packed) > 0 {
		id, n := protowire.ConsumeVarint(packed)
		if n < 0 {
			return protowire.ParseError(n)
		}
		m.ids = append(m.ids, id)
		packed = packed[n:]
	}
	return nil
}

// decode finds out what the command is, and decodes it when it is one of the hot ones. Writes that say for_cas are not: they may wait.
func (c *command) decode() error {
	var body []byte
	err := eachField(c.whole, func(num protowire.Number, typ protowire.Type, field []byte, _ uint64) error {
		if typ != protowire.BytesType {
			return nil
		}
		c.method, body = otherMethod, nil
		for _, m := range [...]method{rawGet, rawPut, rawDelete} {
			if num == methodFields[m] {
				c.method, body = m, field
			}
		}
		return nil
	})
	if err != nil || c.method == otherMethod {
		return err
	}
	forCAS := false
	err = eachField(body, func(num protowire.Number, typ protowire.Type, field []byte, number uint64) error {
		switch {
		case typ == protowire.BytesType:
			c.setBytes(num, field)
		case typ != protowire.VarintType:
		case c.method == rawPut && num == 5:
			c.ttl = number
		case (c.method == rawPut && num == 6) || (c.method == rawDelete && num == 4):
			forCAS = number != 0
		}
		return nil
	})
	if forCAS {
		*c = command{whole: c.whole}
	}
	return err
}

// setBytes knows RawGetRequest (context 1, key 2, cf 3), RawDeleteRequest (the same) and RawPutRequest (context 1, key 2, value 3, cf 4).
func (c *command) setBytes(num protowire.Number, field []byte) {
	switch {
	case num == 1:
		c.context = field
	case num == 2:
		c.key = field
	case num == 3 && c.method == rawPut:
		c.value = field
	case num == 3 || (num == 4 && c.method == rawPut):
		c.cf = field
	}
}

// eachField calls fn for every field of an encoded message, with the content of a length-delimited field or the number of a varint field.
func eachField(data []byte, fn func(num protowire.Number, typ protowire.Type, field []byte, number uint64) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var field []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			field, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(data)
		default:
			n = protowire.ConsumeFieldValue(num, typ, data)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := fn(num, typ, field, number); err != nil {
			return err
		}
	}
	return nil
}
