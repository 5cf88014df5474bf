package rpc

import (
	"bytes"
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/kvrpcpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/pingcap/kvproto/pkg/tikvpb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
)

func appends(messages, size int) *tikvpb.BatchRaftMessage {
	batch := new(tikvpb.BatchRaftMessage)
	for i := range messages {
		batch.Msgs = append(batch.Msgs, &raft_serverpb.RaftMessage{
			RegionId:    uint64(i + 1),
			FromPeer:    &metapb.Peer{Id: 1, StoreId: 1},
			ToPeer:      &metapb.Peer{Id: 2, StoreId: 2},
			RegionEpoch: &metapb.RegionEpoch{ConfVer: 3, Version: 7},
			Message: &eraftpb.Message{
				MsgType: eraftpb.MessageType_MsgAppend, To: 2, From: 1, Term: 6, LogTerm: 6, Index: 1000, Commit: 999,
				Entries: []*eraftpb.Entry{{Term: 6, Index: 1001, Data: bytes.Repeat([]byte{byte(i)}, size)}},
			},
		})
	}
	return batch
}

// Our bytes and those of grpc's own codec are the same, in both directions.
func TestCodecIsGRPCsOwn(t *testing.T) {
	theirs := encoding.GetCodecV2(proto.Name)
	for _, m := range []Message{
		new(tikvpb.BatchRaftMessage),
		appends(1, 10),
		appends(20, 1000), // from the buffer pool
		&kvrpcpb.RawPutRequest{Key: []byte("k"), Value: []byte{}, ForCas: true},
	} {
		ours, err := Codec{}.Marshal(m)
		require.NoError(t, err)
		other, err := theirs.Marshal(m)
		require.NoError(t, err)
		require.Equal(t, other.Materialize(), ours.Materialize())
		fresh := func() Message {
			switch m.(type) {
			case *tikvpb.BatchRaftMessage:
				return appends(1, 1) // to be reset
			default:
				return &kvrpcpb.RawPutRequest{Ttl: 5}
			}
		}
		a, b := fresh(), fresh()
		require.NoError(t, Codec{}.Unmarshal(other, a))
		require.NoError(t, theirs.Unmarshal(ours, b))
		require.Equal(t, b, a)
		ours.Free()
		other.Free()
	}
	check := &healthpb.HealthCheckRequest{Service: "s"} // no Message
	data, err := Codec{}.Marshal(check)
	require.NoError(t, err)
	got := new(healthpb.HealthCheckRequest)
	require.NoError(t, Codec{}.Unmarshal(data, got))
	require.Equal(t, "s", got.Service)
}

func TestCodecRefusesWhatIsNoMessage(t *testing.T) {
	_, err := Codec{}.Marshal("text")
	require.Error(t, err)
	err = Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer("\xff\xff")}, new(kvrpcpb.RawPutRequest))
	require.ErrorContains(t, err, "decode *kvrpcpb.RawPutRequest")
}

func BenchmarkCodec(b *testing.B) {
	for _, c := range []struct {
		name  string
		codec encoding.CodecV2
	}{{"ours", Codec{}}, {"grpc", encoding.GetCodecV2(proto.Name)}} {
		for _, m := range []struct {
			name  string
			empty Message
			full  Message
		}{
			{"put", new(kvrpcpb.RawPutRequest), &kvrpcpb.RawPutRequest{Key: make([]byte, 20), Value: make([]byte, 128)}},
			{"appends", new(tikvpb.BatchRaftMessage), appends(48, 1024)},
		} {
			b.Run(m.name+"/marshal/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					data, err := c.codec.Marshal(m.full)
					if err != nil {
						b.Fatal(err)
					}
					data.Free()
				}
			})
			b.Run(m.name+"/unmarshal/"+c.name, func(b *testing.B) {
				data, err := c.codec.Marshal(m.full)
				require.NoError(b, err)
				b.ReportAllocs()
				for b.Loop() {
					if err := c.codec.Unmarshal(data, m.empty); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
