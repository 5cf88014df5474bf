package server

import (
	"fmt"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// batchResponse is the wire form of tikvpb.BatchCommandsResponse: answers are encoded as they come in, so that sending copies one
// run of bytes. The order of the answers in it is free: each is paired with its request by id.
type batchResponse struct {
	responses []byte // encoded field 1, repeated
	ids       []uint64
	feedback  *kvrpcpb.HealthFeedback // sent once, when asked for
}

// The field numbers of tikvpb.BatchCommandsResponse, of the raw responses (region_error and error are the same in all that have
// them) and of RawGetResponse.
const (
	responsesField      = 1
	responseIDsField    = 2
	healthFeedbackField = 4

	regionErrorField = 1
	errorTextField   = 2
	valueField       = 3
	notFoundField    = 4
)

func (m *batchResponse) empty() bool { return len(m.ids) == 0 }

// addValue answers a RawGet that found a value.
func (m *batchResponse) addValue(id uint64, value []byte) {
	body := protowire.SizeTag(valueField) + protowire.SizeBytes(len(value))
	m.open(id, methodFields[rawGet], body)
	m.responses = protowire.AppendTag(m.responses, valueField, protowire.BytesType)
	m.responses = protowire.AppendBytes(m.responses, value)
}

// addNotFound answers a RawGet of a key that does not exist.
func (m *batchResponse) addNotFound(id uint64) {
	m.open(id, methodFields[rawGet], protowire.SizeTag(notFoundField)+protowire.SizeVarint(1))
	m.responses = protowire.AppendTag(m.responses, notFoundField, protowire.VarintType)
	m.responses = protowire.AppendVarint(m.responses, 1)
}

// addBody answers with the encoded message of the method's response; for a write that went well it is empty.
func (m *batchResponse) addBody(id uint64, of method, body []byte) {
	m.open(id, methodFields[of], len(body))
	m.responses = append(m.responses, body...)
}

// addMessage answers with any response.
func (m *batchResponse) addMessage(id uint64, resp *response) error {
	size := resp.Size()
	m.responses = protowire.AppendTag(m.responses, responsesField, protowire.BytesType)
	m.responses = protowire.AppendVarint(m.responses, uint64(size))
	at := len(m.responses)
	m.responses = append(m.responses, make([]byte, size)...)
	if _, err := resp.MarshalToSizedBuffer(m.responses[at:]); err != nil {
		return fmt.Errorf("encode the answer of request %d: %w", id, err)
	}
	m.ids = append(m.ids, id)
	return nil
}

// open begins a Response whose one field holds a message of size bytes, which the caller appends.
func (m *batchResponse) open(id uint64, field protowire.Number, size int) {
	m.ids = append(m.ids, id)
	m.responses = protowire.AppendTag(m.responses, responsesField, protowire.BytesType)
	m.responses = protowire.AppendVarint(m.responses, uint64(protowire.SizeTag(field)+protowire.SizeBytes(size)))
	m.responses = protowire.AppendTag(m.responses, field, protowire.BytesType)
	m.responses = protowire.AppendVarint(m.responses, uint64(size))
}

// encode is the failure as the body of any response that has region_error = 1 and error = 2.
func (f failure) encode() []byte {
	f = f.inStream()
	var body []byte
	if f.region != nil {
		encoded, err := f.region.Marshal()
		if err != nil {
			panic(fmt.Sprintf("server: a region error cannot be encoded: %v: %v", f.region, err))
		}
		body = protowire.AppendTag(body, regionErrorField, protowire.BytesType)
		body = protowire.AppendBytes(body, encoded)
	}
	if f.text != "" {
		body = protowire.AppendTag(body, errorTextField, protowire.BytesType)
		body = protowire.AppendString(body, f.text)
	}
	return body
}

// keepCapacity is the buffer size up to which a message is worth reusing; one large answer must not stay for the life of its stream.
const keepCapacity = 1 << 20

// Reset empties the message for reuse. It, the methods of rpc.Message and those that grpc's own codec wants make this a message.
func (m *batchResponse) Reset() {
	if cap(m.responses) > keepCapacity {
		m.responses = nil
	}
	m.responses, m.ids, m.feedback = m.responses[:0], m.ids[:0], nil
}

// String is for messages about messages.
func (m *batchResponse) String() string { return fmt.Sprintf("answers of %d commands", len(m.ids)) }

// ProtoMessage marks a message.
func (*batchResponse) ProtoMessage() {}

// Unmarshal fails: it is only sent.
func (*batchResponse) Unmarshal([]byte) error { return errOneWay }

// Size is the number of bytes of the encoded message.
func (m *batchResponse) Size() int {
	size := len(m.responses) + protowire.SizeTag(responseIDsField) + protowire.SizeBytes(m.idsSize())
	if m.feedback != nil {
		size += protowire.SizeTag(healthFeedbackField) + protowire.SizeBytes(m.feedback.Size())
	}
	return size
}

func (m *batchResponse) idsSize() (size int) {
	for _, id := range m.ids {
		size += protowire.SizeVarint(id)
	}
	return size
}

// Marshal encodes the message.
func (m *batchResponse) Marshal() ([]byte, error) {
	buf := make([]byte, m.Size())
	_, err := m.MarshalToSizedBuffer(buf)
	return buf, err
}

// MarshalToSizedBuffer encodes the message at the end of buf, which must have room for Size bytes.
func (m *batchResponse) MarshalToSizedBuffer(buf []byte) (int, error) {
	size := m.Size()
	b := append(buf[len(buf)-size:len(buf)-size], m.responses...)
	b = protowire.AppendTag(b, responseIDsField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(m.idsSize()))
	for _, id := range m.ids {
		b = protowire.AppendVarint(b, id)
	}
	if m.feedback != nil {
		encoded, err := m.feedback.Marshal()
		if err != nil {
			return 0, fmt.Errorf("encode the health feedback: %w", err)
		}
		b = protowire.AppendTag(b, healthFeedbackField, protowire.BytesType)
		b = protowire.AppendBytes(b, encoded)
	}
	return len(b), nil
}
