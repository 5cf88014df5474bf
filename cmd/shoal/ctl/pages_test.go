package ctl

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesFollowTheRows(t *testing.T) {
	large := make([]byte, 8*pageBytes)
	for _, tc := range []struct{ rows, got, valueBytes, want int }{
		{firstPage, firstPage, 10, 2 * firstPage}, // not all at once: the next rows may be larger
		{longestPage, longestPage, 10, longestPage},
		{longestPage, longestPage, pageBytes / 4, 3},
		{longestPage, 1, 8 * pageBytes, 1},
		{firstPage, 0, 0, firstPage}, // nothing learned
	} {
		p := pages{rows: tc.rows}
		keys, values := make([][]byte, tc.got), make([][]byte, tc.got)
		for i := range keys {
			keys[i], values[i] = []byte("k"), large[:tc.valueBytes]
		}
		p.learn(keys, values)
		require.Equal(t, tc.want, p.rows)
	}
}

func TestPrefixEnd(t *testing.T) {
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\x00": "\x01", "\xff\xff": "", "ab": "ac"} {
		require.Equal(t, want, string(prefixEnd([]byte(prefix))))
	}
}
