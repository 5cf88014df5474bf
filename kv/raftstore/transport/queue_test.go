package transport

import (
	"testing"

	"github.com/pingcap/kvproto/pkg/raft_serverpb"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The queue is a list with two bounds, whatever is put and taken in which order.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxMessages, maxBytes := rapid.IntRange(1, 20).Draw(t, "messages"), rapid.IntRange(50, 2000).Draw(t, "bytes")
		q := newQueue(maxMessages, maxBytes)
		var model []*raft_serverpb.RaftMessage
		bytes, lost, n := 0, false, uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				n++
				m := message(1, 2, 1, n, rapid.IntRange(0, 300).Draw(t, "size"))
				fits := len(model) < maxMessages && bytes+m.Size() <= maxBytes
				require.Equal(t, fits, q.put(m))
				if fits {
					model, bytes = append(model, m), bytes+m.Size()
				}
				lost = lost || !fits
			},
			"take": func(t *rapid.T) {
				frameMessages, frameBytes := rapid.IntRange(1, 10).Draw(t, "frame"), rapid.IntRange(1, 1000).Draw(t, "frame bytes")
				got, size := q.take(frameMessages, frameBytes), 0
				for i, m := range got {
					require.Same(t, model[i], m)
					size += m.Size()
				}
				model, bytes = model[len(got):], bytes-size
				require.LessOrEqual(t, len(got), frameMessages)
				require.True(t, size <= frameBytes || len(got) == 1)
				if len(model) > 0 { // as many as fit
					require.True(t, len(got) == frameMessages || size+model[0].Size() > frameBytes)
				}
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
					require.Equal(t, len(model), q.clear())
					model, bytes, lost = nil, 0, false
				}
			},
			"lost": func(t *rapid.T) {
				require.Equal(t, lost, q.takeLost())
				lost = false
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model) == 0, q.empty())
				require.Equal(t, bytes, q.bytes)
				require.LessOrEqual(t, cap(q.items), 4*maxMessages+8)
				for _, it := range q.items[:q.head] {
					require.Nil(t, it.msg) // nothing taken is kept alive
				}
			},
		})
	})
}
