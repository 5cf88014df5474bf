package server

import (
	"bytes"
	"testing"

	"github.com/pingcap/kvproto/pkg/errorpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func bytesGen() *rapid.Generator[[]byte] { return rapid.SliceOfN(rapid.Byte(), 0, 40) }

func contextGen() *rapid.Generator[*kvrpcpb.Context] {
	return rapid.Custom(func(t *rapid.T) *kvrpcpb.Context {
		if rapid.Bool().Draw(t, "nil") {
			return nil
		}
		return &kvrpcpb.Context{
			RegionId:               rapid.Uint64().Draw(t, "region"),
			RegionEpoch:            &metapb.RegionEpoch{Version: rapid.Uint64().Draw(t, "version")},
			MaxExecutionDurationMs: rapid.Uint64().Draw(t, "ms"),
			RequestSource:          rapid.String().Draw(t, "source"),
		}
	})
}

func requestGen() *rapid.Generator[*request] {
	return rapid.Custom(func(t *rapid.T) *request {
		in, key := contextGen().Draw(t, "context"), bytesGen().Draw(t, "key")
		cf := rapid.SampledFrom([]string{"", "default", "lock", "x"}).Draw(t, "cf")
		req := &request{}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			req.Cmd = &tikvpb.BatchCommandsRequest_Request_RawGet{RawGet: &kvrpcpb.RawGetRequest{Context: in, Key: key, Cf: cf}}
		case 1:
			req.Cmd = &tikvpb.BatchCommandsRequest_Request_RawPut{RawPut: &kvrpcpb.RawPutRequest{
				Context: in, Key: key, Value: bytesGen().Draw(t, "value"), Cf: cf,
				Ttl: rapid.Uint64().Draw(t, "ttl"), ForCas: rapid.Bool().Draw(t, "cas"),
			}}
		case 2:
			req.Cmd = &tikvpb.BatchCommandsRequest_Request_RawDelete{RawDelete: &kvrpcpb.RawDeleteRequest{Context: in, Key: key, Cf: cf, ForCas: rapid.Bool().Draw(t, "cas")}}
		case 3:
			req.Cmd = &tikvpb.BatchCommandsRequest_Request_RawScan{RawScan: &kvrpcpb.RawScanRequest{Context: in, StartKey: key, Cf: cf, Limit: 3}}
		}
		if rapid.Bool().Draw(t, "unknown field") {
			req.XXX_unrecognized = []byte{0xe8, 0x07, 0x05} // field 125, varint 5
		}
		return req
	})
}

// The hand-written decoder reads what the generated encoder writes, and keeps nothing of the buffer it was given.
func TestBatchRequestDecodesLikeGenerated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &tikvpb.BatchCommandsRequest{}
		for i, n := 0, rapid.IntRange(0, 8).Draw(t, "n"); i < n; i++ {
			want.Requests = append(want.Requests, requestGen().Draw(t, "request"))
			want.RequestIds = append(want.RequestIds, rapid.Uint64().Draw(t, "id"))
		}
		data, err := want.Marshal()
		require.NoError(t, err)
		var got batchRequest
		require.NoError(t, got.Unmarshal(data))
		for i := range data {
			data[i] = 0xff // as a pooled buffer's next user would
		}
		require.Len(t, got.commands, len(want.Requests))
		for i, req := range want.Requests {
			require.Equal(t, want.RequestIds[i], got.ids[i])
			checkCommand(t, req, &got.commands[i])
		}
	})
}

func checkCommand(t *rapid.T, want *request, got *command) {
	whole := &request{}
	require.NoError(t, whole.Unmarshal(got.whole))
	require.Equal(t, want.String(), whole.String())
	in := func(c *kvrpcpb.Context) {
		var decoded kvrpcpb.Context
		require.NoError(t, decoded.Unmarshal(got.context))
		if c == nil {
			c = &kvrpcpb.Context{}
		}
		require.Equal(t, c.String(), decoded.String())
	}
	same := func(want, got []byte) { require.True(t, bytes.Equal(want, got), "%x, not %x", got, want) }
	if want.GetRawPut().GetForCas() || want.GetRawDelete().GetForCas() {
		require.Equal(t, &command{whole: got.whole}, got)
		return
	}
	switch cmd := want.Cmd.(type) {
	case *tikvpb.BatchCommandsRequest_Request_RawGet:
		require.Equal(t, rawGet, got.method)
		in(cmd.RawGet.Context)
		same(cmd.RawGet.Key, got.key)
		same([]byte(cmd.RawGet.Cf), got.cf)
	case *tikvpb.BatchCommandsRequest_Request_RawPut:
		require.Equal(t, rawPut, got.method)
		in(cmd.RawPut.Context)
		same(cmd.RawPut.Key, got.key)
		same(cmd.RawPut.Value, got.value)
		same([]byte(cmd.RawPut.Cf), got.cf)
		require.Equal(t, cmd.RawPut.Ttl, got.ttl)
	case *tikvpb.BatchCommandsRequest_Request_RawDelete:
		require.Equal(t, rawDelete, got.method)
		in(cmd.RawDelete.Context)
		same(cmd.RawDelete.Key, got.key)
		same([]byte(cmd.RawDelete.Cf), got.cf)
		require.Nil(t, got.value)
	default:
		require.Equal(t, otherMethod, got.method)
	}
}

// Whatever bytes come in: an error or a message, never a panic, and never a message that the generated decoder refuses.
func FuzzBatchRequest(f *testing.F) {
	seed := &tikvpb.BatchCommandsRequest{Requests: []*request{getCmd(&kvrpcpb.Context{RegionId: 3}, "k"), putCmd(nil, "k", "v"), emptyCmd(1, 2)}, RequestIds: []uint64{1, 2, 3}}
	data, err := seed.Marshal()
	require.NoError(f, err)
	f.Add(data)
	f.Add([]byte{0x08, 0x01, 0x10, 0x05}) // wrong wire type; an id that is not packed
	f.Add([]byte{0x0a, 0x05, 0x6a, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		var got batchRequest
		if got.Unmarshal(data) != nil {
			return
		}
		require.Len(t, got.ids, len(got.commands))
		for i := range got.commands {
			_ = (&request{}).Unmarshal(got.commands[i].whole)
		}
	})
}

func TestBatchRequestUnpackedIDs(t *testing.T) {
	var got batchRequest
	require.NoError(t, got.Unmarshal([]byte{0x10, 0x05, 0x0a, 0x00, 0x10, 0x07, 0x0a, 0x00}))
	require.Equal(t, []uint64{5, 7}, got.ids)
	require.Len(t, got.commands, 2)
}

// What is encoded by hand is what the generated decoder reads.
func TestBatchResponseEncodesLikeGenerated(t *testing.T) {
	regionErr := &errorpb.Error{Message: "m", NotLeader: &errorpb.NotLeader{RegionId: 3}}
	rapid.Check(t, func(t *rapid.T) {
		want := &tikvpb.BatchCommandsResponse{}
		var got batchResponse
		for i, n := 0, rapid.IntRange(0, 8).Draw(t, "n"); i < n; i++ {
			id := rapid.Uint64().Draw(t, "id")
			want.RequestIds = append(want.RequestIds, id)
			want.Responses = append(want.Responses, addAny(t, &got, id, regionErr))
		}
		if rapid.Bool().Draw(t, "feedback") {
			want.HealthFeedback = &kvrpcpb.HealthFeedback{StoreId: 3, SlowScore: 1}
			got.feedback = want.HealthFeedback
		}
		data, err := got.Marshal()
		require.NoError(t, err)
		require.Len(t, data, got.Size())
		decoded := &tikvpb.BatchCommandsResponse{}
		require.NoError(t, decoded.Unmarshal(data))
		require.Equal(t, want.String(), decoded.String())
		got.Reset()
		require.True(t, got.empty())
		require.Nil(t, got.feedback)
	})
}

// addAny adds an answer in one of the ways that there are, and returns its generated form.
func addAny(t *rapid.T, to *batchResponse, id uint64, regionErr *errorpb.Error) *response {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		value := bytesGen().Draw(t, "value")
		to.addValue(id, value)
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawGet{RawGet: &kvrpcpb.RawGetResponse{Value: value}}}
	case 1:
		to.addNotFound(id)
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawGet{RawGet: &kvrpcpb.RawGetResponse{NotFound: true}}}
	case 2:
		to.addBody(id, rawPut, nil)
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawPut{RawPut: &kvrpcpb.RawPutResponse{}}}
	case 3:
		f := failure{region: regionErr, text: "text"}
		to.addBody(id, rawDeleteRange, f.encode())
		return &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawDeleteRange{
			RawDeleteRange: &kvrpcpb.RawDeleteRangeResponse{RegionError: regionErr, Error: "text"},
		}}
	default:
		resp := &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawScan{RawScan: &kvrpcpb.RawScanResponse{Kvs: []*kvrpcpb.KvPair{{Key: []byte("k")}}}}}
		require.NoError(t, to.addMessage(id, resp))
		return resp
	}
}
