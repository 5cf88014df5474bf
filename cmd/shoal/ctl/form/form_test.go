package form

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestForms(t *testing.T) {
	for _, tc := range []struct {
		form               Form
		word, bytes, shown string
	}{
		{Escaped, "käse", "käse", "käse"},
		{Escaped, `a\x00\xff\\\n\t\r`, "a\x00\xff\\\n\t\r", `a\x00\xff\\\n\t\r`},
		{Escaped, `"it's" \'\"`, `"it's" '"`, `"it\x27s" \x27"`},
		{Escaped, "\xff\\u00e4", "\xffä", `\xffä`},
		{Escaped, "", "", ""},
		{Hex, "6100fF", "a\x00\xff", "6100FF"},
		{Base64, "YQD/", "a\x00\xff", "YQD/"},
		{Text, `a\x00`, `a\x00`, `a\x00`},
		{Text, "it's\xff\n", "it's\xff\n", `it's\xff\x0a`},
	} {
		b, err := tc.form.Parse(tc.word)
		require.NoError(t, err)
		require.Equal(t, tc.bytes, string(b))
		require.Equal(t, tc.shown, tc.form.Show(b))
	}
}

func TestBadWords(t *testing.T) {
	for _, tc := range []struct {
		form       Form
		word, want string
	}{
		{Escaped, `a\`, `unknown escape at "\\"`},
		{Escaped, `\q`, "unknown escape"},
		{Escaped, `\x1`, "unknown escape"},
		{Escaped, `a\xzz`, `unknown escape at "\\xzz"`},
		{Hex, "abc", "every byte has two digits"},
		{Hex, "xy", "the digits are 0-9 and a-f"},
		{Base64, "YQD", "not base64"},
		{Base64, "YR==", "not base64"}, // bits beyond the last byte
	} {
		_, err := tc.form.Parse(tc.word)
		require.ErrorContains(t, err, tc.want, tc.word)
	}
	_, err := Text.Encode([]byte{0xff})
	require.ErrorContains(t, err, "not UTF-8")
	var f Form
	require.ErrorContains(t, f.Set("base63"), "escaped, hex, base64 or text")
	for _, name := range Names {
		require.NoError(t, f.Set(name))
		require.Equal(t, name, f.String())
	}
}

// TestWhatIsShownCanBePastedBack for any bytes: what a form shows it reads, and escaped text can stand between single quotes on one line.
func TestWhatIsShownCanBePastedBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) })).Draw(t, "bytes")
		for _, f := range []Form{Escaped, Hex, Base64} {
			shown := f.Show(b)
			again, err := f.Parse(shown)
			require.NoError(t, err)
			require.Equal(t, string(b), string(again))
			require.True(t, utf8.ValidString(shown))
			require.False(t, strings.ContainsFunc(shown, func(r rune) bool { return r == '\'' || !unicode.IsPrint(r) }), shown)
		}
		encoded, err := Text.Encode(b)
		require.Equal(t, utf8.Valid(b), err == nil)
		if err == nil {
			require.Equal(t, string(b), encoded)
		}
	})
}
