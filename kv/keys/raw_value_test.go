package keys

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The layout is kvproto's, byte by byte: other readers of the family depend on it.
func TestRawValueLayout(t *testing.T) {
	require.Equal(t, []byte{0x12, 0x34, 0x56, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, AppendRawValue(nil, []byte{0x12, 0x34, 0x56}, 0xffff))
	value, expiry, err := SplitRawValue(make([]byte, 8))
	require.NoError(t, err)
	require.NotNil(t, value, "an empty value is not an absent one")
	require.Empty(t, value)
	require.Zero(t, expiry)
	_, _, err = SplitRawValue(make([]byte, 7))
	require.ErrorContains(t, err, "raw value with an expiry")
}

func TestRawValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value, expiry := rapid.SliceOf(rapid.Byte()).Draw(t, "value"), rapid.Uint64().Draw(t, "expiry")
		got, at, err := SplitRawValue(AppendRawValue([]byte("x"), value, expiry)[1:])
		if err != nil || at != expiry || !bytes.Equal(got, value) {
			t.Fatalf("%v %d %v", got, at, err)
		}
	})
}

func TestExpiry(t *testing.T) {
	require.Zero(t, Expiry(100, 0))
	require.Equal(t, uint64(101), Expiry(100, 1))
	require.Equal(t, uint64(math.MaxUint64), Expiry(100, math.MaxUint64))
	require.False(t, Expired(0, math.MaxUint64))
	require.False(t, Expired(101, 100))
	require.True(t, Expired(101, 101))
}
