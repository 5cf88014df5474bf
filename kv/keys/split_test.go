package keys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/shoal-kv/shoal/kv/keys"
)

func TestSplitKey(t *testing.T) {
	encoded := keys.EncodeBytes(nil, []byte("a user's key"))
	for _, c := range []struct{ key, want string }{
		{"", ""},
		{"raw", "raw"},
		{"raw key of seventeen", "raw key of seventeen"},
		{string(encoded), string(encoded)},
		{string(encoded) + "12345678", string(encoded)},
		{string(encoded) + "1234567", string(encoded) + "1234567"},
		{string(encoded) + "123456789", string(encoded) + "123456789"},
	} {
		require.Equal(t, c.want, string(keys.SplitKey([]byte(c.key))), "%q", c.key)
	}
}
