package shell

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                                nil,
		"  \t ":                           nil,
		"kv  get\thello\r":                {"kv", "get", "hello"},
		`put 'a b' "c d" e' 'f`:           {"put", "a b", "c d", "e f"},
		`'' ""x`:                          {"", "x"},
		`a\x00b \\ \`:                     {`a\x00b`, `\\`, `\`},
		`'a\x00b' 'it\'`:                  {`a\x00b`, `it\`},
		`"a\x00 \"q\" \\ it's"`:           {`a\x00 "q" \ it's`},
		`a\ b it\'s \"q \#x`:              {"a b", "it's", `"q`, "#x"},
		"get a#b # and 'no more'":         {"get", "a#b"},
		"# a comment":                     nil,
		"käse 'ü ö'":                      {"käse", "ü ö"},
		"kv put k --read-as=hex -- -dash": {"kv", "put", "k", "--read-as=hex", "--", "-dash"},
	} {
		got, err := Split(line)
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
	for _, open := range []string{`kv get 'a`, `"`, `"a\"`} {
		_, err := Split(open)
		require.ErrorContains(t, err, "is not closed", open)
	}
}

// TestWhatIsShownIsOneWord when it is put between single quotes, or is completed.
func TestWhatIsShownIsOneWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte(`\'"# ab`)))).Draw(t, "bytes")
		shown := form.Escaped.Show(b)
		got, err := Split("get '" + shown + "' # done")
		require.NoError(t, err)
		require.Equal(t, []string{"get", shown}, got)
	})
}

func TestJoin(t *testing.T) {
	for _, word := range []string{"plain", "a b", "it's", `"q"`, "#x", `C:\dir`} {
		got, err := Split("x " + join(word, 0))
		require.NoError(t, err)
		require.Equal(t, []string{"x", word}, got)
	}
	require.Equal(t, `"a b`, join("a b", '"'))
}
