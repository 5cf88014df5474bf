package command

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/eraftpb"
	"github.com/pingcap/kvproto/pkg/metapb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/kv/engine"
)

func TestPayloadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type op struct {
			op         Op
			cf         engine.CF
			key, value []byte
		}
		var want []Command
		payload := []byte{Version}
		for range rapid.IntRange(0, 4).Draw(t, "commands") {
			c := Command{Kind: Write, Epoch: Epoch{rapid.Uint64().Draw(t, "version"), rapid.Uint64().Draw(t, "conf")}}
			var ops []op
			for range rapid.IntRange(0, 4).Draw(t, "ops") {
				o := op{
					Op(rapid.IntRange(1, 3).Draw(t, "op")), engine.CF(rapid.IntRange(0, 2).Draw(t, "cf")),
					rapid.SliceOf(rapid.Byte()).Draw(t, "key"), rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
				}
				ops = append(ops, o)
				c.Body = AppendOp(c.Body, o.op, o.cf, o.key, o.value)
			}
			require.NoError(t, DecodeOps(c.Body, func(o Op, cf engine.CF, key, value []byte) error {
				require.Equal(t, string(ops[0].key), string(key))
				require.Equal(t, string(ops[0].value), string(value))
				require.Equal(t, ops[0].op, o)
				require.Equal(t, ops[0].cf, cf)
				ops = ops[1:]
				return nil
			}))
			require.Empty(t, ops)
			want = append(want, c)
			payload = c.AppendTo(payload)
		}
		require.NoError(t, Decode(payload, func(c Command) error {
			require.Equal(t, want[0].Epoch, c.Epoch)
			require.Equal(t, string(want[0].Body), string(c.Body))
			want = want[1:]
			return nil
		}))
		require.Empty(t, want)
	})
}

func TestMalformedPayloads(t *testing.T) {
	good := Encode(Command{Kind: Write, Epoch: Epoch{1, 2}, Body: AppendOp(nil, Put, engine.Default, []byte("k"), []byte("v"))})
	nop := func(Command) error { return nil }
	require.NoError(t, Decode(good, nop))
	for i := 2; i < len(good); i++ {
		require.ErrorIs(t, Decode(good[:i], nop), ErrMalformed, "cut at %d", i)
	}
	require.ErrorContains(t, Decode([]byte{9, 1}, nop), "payload version 9")
	require.ErrorIs(t, DecodeOps([]byte{0x13, 0, 0}, nil), ErrMalformed, "the local family is not for clients")
	require.ErrorIs(t, DecodeOps([]byte{0x50, 0, 0}, nil), ErrMalformed, "unknown op")

	_, _, err := DecodeCompactLog(EncodeCompactLog(7, 3)[:1])
	require.ErrorIs(t, err, ErrMalformed)
	index, term, err := DecodeCompactLog(EncodeCompactLog(700, 3))
	require.NoError(t, err)
	require.Equal(t, [2]uint64{700, 3}, [2]uint64{index, term})

	want := []PeerChange{
		{eraftpb.ConfChangeType_RemoveNode, &metapb.Peer{Id: 4, StoreId: 5}},
		{eraftpb.ConfChangeType_AddLearnerNode, &metapb.Peer{Id: 6, StoreId: 7}},
	}
	changes, err := DecodePeerChanges(EncodePeerChanges(want))
	require.NoError(t, err)
	require.Equal(t, want, changes)
	for _, bad := range [][]byte{nil, {0}, {0, 0}, EncodePeerChanges(want)[:5], EncodePeerChanges([]PeerChange{{Peer: &metapb.Peer{Id: 4}}})} {
		_, err = DecodePeerChanges(bad)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(Command{Kind: Write, Body: AppendOp(nil, Put, engine.Default, []byte("k"), []byte("v"))}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_ = Decode(data, func(c Command) error {
			return DecodeOps(c.Body, func(Op, engine.CF, []byte, []byte) error { return nil })
		})
		_, _ = DecodePeerChanges(data)
		_, _, _ = DecodeCompactLog(data)
	})
}
