package keys

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The examples are those of the MyRocks memcomparable format, as in TiKV's documentation of it.
func TestEncodeBytes(t *testing.T) {
	for _, c := range []struct{ plain, encoded []byte }{
		{[]byte{}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 247}},
		{[]byte{0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 248}},
		{[]byte{1, 2, 3}, []byte{1, 2, 3, 0, 0, 0, 0, 0, 250}},
		{[]byte{1, 2, 3, 0}, []byte{1, 2, 3, 0, 0, 0, 0, 0, 251}},
		{[]byte{1, 2, 3, 4, 5, 6, 7}, []byte{1, 2, 3, 4, 5, 6, 7, 0, 254}},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247}},
		{[]byte{0, 0, 0, 0, 0, 0, 0, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247}},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 255, 9, 0, 0, 0, 0, 0, 0, 0, 248}},
	} {
		require.Equal(t, c.encoded, EncodeBytes(nil, c.plain))
		require.Len(t, c.encoded, EncodedLen(len(c.plain)))
		plain, rest, err := DecodeBytes([]byte{}, c.encoded)
		require.NoError(t, err)
		require.Empty(t, rest)
		require.Equal(t, c.plain, plain)
	}
}

func TestDecodeBytesRefusesWhatIsNone(t *testing.T) {
	for _, c := range []struct {
		encoded []byte
		want    string
	}{
		{nil, "malformed memcomparable bytes : ends within a group"},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8}, "malformed memcomparable bytes 0102030405060708: ends within a group"},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 255}, "malformed memcomparable bytes 0102030405060708FF: ends within a group"},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 255, 1}, "malformed memcomparable bytes 0102030405060708FF01: ends within a group"},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 254}, "malformed memcomparable bytes 0102030405060708FE: has padding that is not zero"},
		{[]byte{1, 2, 3, 0, 0, 1, 0, 0, 250}, "malformed memcomparable bytes 0102030000010000FA: has padding that is not zero"},
		{[]byte{1, 2, 3, 0, 0, 0, 0, 0, 246}, "malformed memcomparable bytes 0102030000000000F6: has the group marker 0xf6"},
		{[]byte{1, 2, 3, 0, 0, 0, 0, 0, 0}, "malformed memcomparable bytes 010203000000000000: has the group marker 0x00"},
	} {
		_, _, err := DecodeBytes(nil, c.encoded)
		var malformed *DecodeError
		require.ErrorAs(t, err, &malformed)
		require.Equal(t, c.want, err.Error())
	}
}

// plainBytes draws strings that share prefixes and are made of the bytes that matter most.
var plainBytes = rapid.OneOf(
	rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0xf7, 0xfe, 0xff}), 0, 20),
	rapid.SliceOfN(rapid.Byte(), 0, 40),
)

func TestBytesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, plain, after := plainBytes.Draw(t, "before"), plainBytes.Draw(t, "plain"), plainBytes.Draw(t, "after")
		encoded := EncodeBytes(bytes.Clone(before), plain)
		require.Equal(t, len(before)+EncodedLen(len(plain)), len(encoded))
		require.True(t, bytes.HasPrefix(encoded, before))
		got, rest, err := DecodeBytes(bytes.Clone(before), append(encoded[len(before):], after...))
		require.NoError(t, err)
		require.True(t, bytes.Equal(append(bytes.Clone(before), plain...), got))
		require.True(t, bytes.Equal(after, rest))
	})
}

// A key's order is decided by the string before whatever follows it: versions of one key never mix with those of another.
func TestBytesKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := plainBytes.Draw(t, "a"), plainBytes.Draw(t, "b")
		if rapid.Bool().Draw(t, "extend") {
			b = append(bytes.Clone(a), b...)
		}
		ea := EncodeBytes(nil, a)
		eb := EncodeBytes(nil, b)
		want := bytes.Compare(a, b)
		require.Equal(t, want, bytes.Compare(ea, eb))
		if want != 0 {
			ea = append(ea, plainBytes.Draw(t, "after a")...)
			eb = append(eb, plainBytes.Draw(t, "after b")...)
			require.Equal(t, want, bytes.Compare(ea, eb))
		}
	})
}

// FuzzDecodeBytes: whatever decodes is the one encoding of what it decodes to.
func FuzzDecodeBytes(f *testing.F) {
	f.Add([]byte{})
	f.Add(EncodeBytes(nil, []byte("12345678")))
	f.Add(append(EncodeBytes(nil, []byte("123456789")), 7, 7))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		plain, rest, err := DecodeBytes(nil, encoded)
		if err != nil {
			return
		}
		if again := append(EncodeBytes(nil, plain), rest...); !bytes.Equal(encoded, again) {
			t.Fatalf("%X decodes to %X and %X, which encode to %X", encoded, plain, rest, again)
		}
	})
}
