package server

import (
	"context"
	"fmt"
	"testing"

	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/shoal-kv/shoal/kv/engine/memdb"
	"github.com/shoal-kv/shoal/kv/storage"
	"github.com/shoal-kv/shoal/kv/storage/standalone"
	"github.com/shoal-kv/shoal/rpc"
)

const (
	benchBatch  = 64 // commands a message
	benchWindow = 4  // messages in flight on a stream
	benchKeys   = 10_000
)

// clientContext is a Context as a client fills it.
func clientContext(regionID uint64) *kvrpcpb.Context {
	return &kvrpcpb.Context{
		RegionId: regionID, RegionEpoch: &metapb.RegionEpoch{ConfVer: 5, Version: 8}, Peer: &metapb.Peer{Id: 4, StoreId: 1},
		MaxExecutionDurationMs: 20000, RequestSource: "external_default", ClusterId: 7,
		ResourceControlContext: &kvrpcpb.ResourceControlContext{ResourceGroupName: "default"},
	}
}

// benchMessages returns encoded messages of gets or puts.
func benchMessages(b *testing.B, puts bool) [][]byte {
	messages := make([][]byte, 64)
	value := string(make([]byte, 128))
	for m := range messages {
		msg := &tikvpb.BatchCommandsRequest{}
		for i := range benchBatch {
			key := fmt.Sprintf("key%013d", (m*benchBatch+i)*7919%benchKeys)
			cmd := getCmd(clientContext(1), key)
			if puts {
				cmd = putCmd(clientContext(1), key, value)
			}
			msg.Requests = append(msg.Requests, cmd)
			msg.RequestIds = append(msg.RequestIds, uint64(i+1))
		}
		data, err := msg.Marshal()
		require.NoError(b, err)
		messages[m] = data
	}
	return messages
}

// rawCodec sends bytes as they are, so that the client side of a benchmark costs as little as possible. It counts answers instead of decoding them.
type rawCodec struct{}

func (rawCodec) Name() string { return grpcproto.Name }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

func benchmarkStream(b *testing.B, puts bool) {
	e := memdb.New()
	s := standalone.New(e, standalone.Options{})
	b.Cleanup(func() {
		s.Close()
		require.NoError(b, e.Close())
	})
	for i := range benchKeys {
		mustPut(b, s, 0, fmt.Sprintf("key%013d", i), string(make([]byte, 128)))
	}
	benchmarkServer(b, s, puts)
}

// benchmarkServer counts one operation for each command.
func benchmarkServer(b *testing.B, s storage.Storage, puts bool) {
	_, conn := startServer(b, s, WithClusterID(7))
	messages := benchMessages(b, puts)
	stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		"/tikvpb.Tikv/BatchCommands", grpc.ForceCodecV2(rawCodec{}))
	require.NoError(b, err)
	total := (b.N + benchBatch - 1) / benchBatch
	b.ReportAllocs()
	b.ResetTimer()
	sent, size := 0, 0
	for received := 0; received < total; received++ {
		for sent < total && sent < received+benchWindow {
			require.NoError(b, stream.SendMsg(messages[sent%len(messages)]))
			sent++
		}
		require.NoError(b, stream.RecvMsg(&size))
		received += answersIn(size, puts) - 1
	}
	b.StopTimer()
	require.NoError(b, stream.CloseSend())
}

// answersIn tells how many messages' answers came in one: those of puts may come together, and all have the same size.
func answersIn(size int, puts bool) int {
	if !puts {
		return 1
	}
	const one = benchBatch * (4 + 1) // Response{RawPut{}} and a one-byte id
	return size / one
}

func BenchmarkBatchCommandsGet(b *testing.B) { benchmarkStream(b, false) }
func BenchmarkBatchCommandsPut(b *testing.B) { benchmarkStream(b, true) }

// nothing is a storage that costs nothing: what is left is the server's own price.
type nothing struct{ snap storage.Snapshot }

func (n nothing) Read(_ context.Context, _ storage.Target, done func(storage.Snapshot, error)) {
	done(n.snap, nil)
}

func (nothing) Write(_ context.Context, _ storage.Target, _ uint64, _ []storage.Modify, done func(error)) {
	done(nil)
}

func BenchmarkBatchCommandsPutNoStorage(b *testing.B) { benchmarkServer(b, nothing{}, true) }

// The decoders side by side, for one message of 64 puts.
func BenchmarkDecode(b *testing.B) {
	data := benchMessages(b, true)[0]
	for name, c := range map[string]struct {
		codec interface {
			Unmarshal(mem.BufferSlice, any) error
		}
		into any
	}{
		"grpc":   {encoding.GetCodecV2(grpcproto.Name), &tikvpb.BatchCommandsRequest{}},
		"rpc":    {rpc.Codec{}, &tikvpb.BatchCommandsRequest{}},
		"byhand": {rpc.Codec{}, &batchRequest{}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				require.NoError(b, c.codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, c.into))
			}
		})
	}
}

// The encoders side by side, for one message of 64 values.
func BenchmarkEncode(b *testing.B) {
	value := make([]byte, 128)
	generated := func() any {
		msg := &tikvpb.BatchCommandsResponse{}
		for id := range uint64(benchBatch) {
			msg.RequestIds = append(msg.RequestIds, id)
			msg.Responses = append(msg.Responses, &response{Cmd: &tikvpb.BatchCommandsResponse_Response_RawGet{RawGet: &kvrpcpb.RawGetResponse{Value: value}}})
		}
		return msg
	}
	own := &batchResponse{}
	byHand := func() any {
		own.Reset()
		for id := range uint64(benchBatch) {
			own.addValue(id, value)
		}
		return own
	}
	for name, c := range map[string]struct {
		codec encoding.CodecV2
		build func() any
	}{
		"grpc":   {encoding.GetCodecV2(grpcproto.Name), generated},
		"rpc":    {rpc.Codec{}, generated},
		"byhand": {rpc.Codec{}, byHand},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				out, err := c.codec.Marshal(c.build())
				require.NoError(b, err)
				out.Free()
			}
		})
	}
}
