package ctl

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tikv/client-go/v2/config"
	"github.com/tikv/client-go/v2/rawkv"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/rowfile"
	"github.com/shoal-kv/shoal/shoaltest"
)

// TestKV runs the commands against a cluster.
func TestKV(t *testing.T) {
	cluster := shoaltest.Start(t, shoaltest.Stores(1))
	pd := cluster.PD()
	t.Setenv(endpointsVariable, pd)
	client, err := rawkv.NewClient(t.Context(), []string{pd}, config.DefaultConfig().Security)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	c := kvCluster{client}
	t.Run("Forms", c.forms)
	t.Run("RawValues", c.rawValues)
	t.Run("Scan", c.scan)
	t.Run("RoundTrip", c.roundTrip)
	t.Run("ExportIsWholeOrNothing", c.exportIsWholeOrNothing)
	t.Run("ImportStops", c.importStops)
	t.Run("DryRun", c.dryRun)
	t.Run("StandardStreams", c.standardStreams)
	t.Run("NoTTL", c.noTTL)
	t.Run("Shell", c.shell)
	t.Run("Split", c.split)
	t.Run("OneConnection", func(t *testing.T) { oneConnection(t, pd) })
	cluster.StopStore(0)
	t.Run("NobodyAnswers", c.nobodyAnswers)
}

type kvCluster struct{ client *rawkv.Client }

// ctl runs a command that has to succeed, and returns what it prints.
func ctl(t require.TestingT, args ...string) string {
	out, err := runWith("", args...)
	require.NoError(t, err, "%q", args)
	return out
}

// runWith runs a command with an input.
func runWith(in string, args ...string) (string, error) {
	cmd := Command()
	var out bytes.Buffer
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.Execute()
	return out.String(), err
}

func (c kvCluster) forms(t *testing.T) {
	require.Equal(t, "OK\n", ctl(t, "kv", "put", `a\x00b`, `it's\n`))
	require.Equal(t, `it\x27s\n`+"\n", ctl(t, "kv", "get", `a\x00b`))
	require.Equal(t, "697427730A\n", ctl(t, "kv", "get", "--read-as", "hex", "--show-as", "hex", "610062"))
	require.Equal(t, "it's\\x0a\n", ctl(t, "kv", "get", "--read-as", "base64", "--show-as", "text", "YQBi"))
	require.JSONEq(t, `{"key":"a\u0000b","value":"it's\n","encoding":"text"}`, ctl(t, "kv", "get", `a\x00b`, "--show-as", "text", "-o", "json"))
	require.JSONEq(t, `{"key":"YQBi","value":"aXQncwo=","encoding":"base64"}`, ctl(t, "kv", "get", `a\x00b`, "--show-as", "base64", "-o", "json"))
	require.JSONEq(t, `{"ok":true}`, ctl(t, "kv", "put", "-o", "json", "--read-as", "hex", "610062", "ff"))
	_, err := runWith("", "kv", "get", `a\x00b`, "--show-as", "text", "-o", "json")
	require.ErrorContains(t, err, "not UTF-8 and cannot be written as text; choose escaped, hex or base64")
	require.Equal(t, "OK\n", ctl(t, "kv", "del", `a\x00b`, "never-there"))
	_, err = runWith("", "kv", "get", `a\x00b`)
	require.EqualError(t, err, "there is no key 'a\\x00b'; `shoal ctl kv scan 'a\\x00b' --limit 5` shows the next ones")
	_, err = runWith("", "kv", "put", "", "v")
	require.ErrorContains(t, err, "an empty key")
	_, err = runWith("", "kv", "put", strings.Repeat("k", 9000), "v")
	require.ErrorContains(t, err, "max key size exceeded, size: 9000, limit: 8192 (storage.max-key-size)")
}

func (c kvCluster) rawValues(t *testing.T) {
	value := "\x00\xff\r\n"
	_, err := runWith(value, "kv", "put", "raw", "-")
	require.NoError(t, err)
	require.Equal(t, value, ctl(t, "kv", "get", "raw", "--raw"))
	require.Equal(t, "OK\n", ctl(t, "kv", "put", "raw", `\x2d`))
	require.Equal(t, "-\n", ctl(t, "kv", "get", "raw"))
	require.Equal(t, "OK\n", ctl(t, "kv", "put", "empty", ""))
	require.Equal(t, "\n", ctl(t, "kv", "get", "empty"))
	require.JSONEq(t, `{"key":"empty","value":"","encoding":"escaped"}`, ctl(t, "kv", "get", "empty", "-o", "json"))
}

// scan goes over more rows than one request may ask for, and over rows of which a page would be larger than a store answers.
func (c kvCluster) scan(t *testing.T) {
	var keys, values [][]byte
	for i := range 2500 {
		keys, values = append(keys, fmt.Appendf(nil, "scan/%05d", i)), append(values, []byte("v"))
	}
	require.NoError(t, c.client.BatchPut(t.Context(), keys, values))
	scanned := func(args ...string) (found []pair) {
		require.NoError(t, json.Unmarshal([]byte(ctl(t, append([]string{"kv", "scan", "-o", "json"}, args...)...)), &found))
		return found
	}
	all := scanned("--prefix", "scan/", "--limit", "10000", "--keys-only")
	require.Len(t, all, 2500)
	for i, p := range all {
		require.Equal(t, string(keys[i]), p.Key)
		require.Nil(t, p.Value)
	}
	require.Len(t, scanned("--prefix", "scan/"), 100)
	require.Len(t, scanned("--prefix", "scan/", "--limit", "2000"), 2000)
	back := scanned("scan/00010", "--end", "scan/00008", "--reverse")
	require.Len(t, back, 2)
	require.Equal(t, "scan/00009", back[0].Key)
	require.Equal(t, "v", *back[0].Value)
	require.Contains(t, ctl(t, "kv", "scan", "scan/00010", "--end", "scan/00011"), "│ scan/00010 │ v     │\n")

	small := len(keys)
	large := bytes.Repeat([]byte("x"), 1<<20)
	for i := range 40 {
		keys = append(keys, fmt.Appendf(nil, "scan/large/%02d", i))
		require.NoError(t, c.client.Put(t.Context(), keys[small+i], large))
	}
	p := pages{client: c.client, start: []byte("scan/"), end: []byte("scan0")}
	most, rows := 0, 0
	for !p.done {
		k, _, err := p.next(t.Context(), longestPage)
		require.NoError(t, err)
		rows += len(k)
		if rows > small+longestPage {
			most = max(most, len(k))
		}
	}
	require.Equal(t, len(keys), rows)
	require.LessOrEqual(t, most, 2, "pages become small when rows are large")
	require.NoError(t, c.client.DeleteRange(t.Context(), []byte("scan/"), []byte("scan0")))
}

// roundTrip exports random rows, imports the file into an empty range, and finds the same rows.
func (c kvCluster) roundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\r\n\",\\' \x00\xff"))), 0, 30)
		rows := rapid.MapOf(rapid.Map(some, func(b []byte) string { return "trip/" + string(b) }), some).Draw(t, "rows")
		name := filepath.Join(dir, "rows."+rapid.SampledFrom(rowfile.Extensions).Draw(t, "extension"))
		encoding := rapid.SampledFrom([]string{"escaped", "hex", "base64"}).Draw(t, "encoding")

		start, end := []byte("trip/"), []byte("trip0")
		require.NoError(t, c.client.DeleteRange(t.Context(), start, end))
		var keys, values [][]byte
		for key, value := range rows {
			keys, values = append(keys, []byte(key)), append(values, value)
		}
		if len(keys) > 0 {
			require.NoError(t, c.client.BatchPut(t.Context(), keys, values))
		}
		var did outcome
		require.NoError(t, json.Unmarshal([]byte(ctl(t, "kv", "export", name, "--prefix", "trip/", "--encoding", encoding, "-o", "json")), &did))
		require.EqualValues(t, len(rows), did.Rows)
		require.NoError(t, c.client.DeleteRange(t.Context(), start, end))
		require.NoError(t, json.Unmarshal([]byte(ctl(t, "kv", "import", name, "-o", "json")), &did))
		require.EqualValues(t, len(rows), did.Rows)

		keys, values, err := c.client.Scan(t.Context(), start, end, 10000)
		require.NoError(t, err)
		require.Len(t, keys, len(rows))
		for i, key := range keys {
			want, ok := rows[string(key)]
			require.True(t, ok, "%q", key)
			require.Equal(t, string(want), string(values[i]))
		}
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), len(rowfile.Extensions), "no temporary file stays behind")
}

func (c kvCluster) exportIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "rows.csv")
	require.NoError(t, os.WriteFile(name, []byte("what was there"), 0o640))
	ctl(t, "kv", "put", "whole/a", "text")
	ctl(t, "kv", "put", "whole/b", `\xff`)
	_, err := runWith("", "kv", "export", name, "--prefix", "whole/", "--encoding", "text")
	require.ErrorContains(t, err, name+" is as it was: stopped after 1 rows, at key 'whole/b'")
	require.ErrorContains(t, err, "not UTF-8")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "what was there", string(text))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)

	ctl(t, "kv", "export", name, "--start", "whole/a", "--end", "whole/c", "--quiet")
	text, err = os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "key:escaped,value:escaped\nwhole/a,text\nwhole/b,\\xff\n", string(text))
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
}

// importStops at rows that are wrong, says where, and has written all rows before them.
func (c kvCluster) importStops(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rows.csv")
	long := strings.Repeat("6b", 9000)
	for _, tc := range []struct{ row, want string }{
		{"xy,00", `row 4 (line 6): key: "xy" is not hexadecimal: the digits are 0-9 and a-f; the first 3 rows are written: mend the file and run again, with --skip 3`},
		{",00", "row 4 (line 6): the key is empty"},
		{long + ",00", "row 4 (line 6): the key has 9000 bytes; the limit is 8192 (--max-key-size); the first 3 rows are written"},
	} {
		require.NoError(t, c.client.DeleteRange(t.Context(), []byte("stop/"), []byte("stop0")))
		text := "key:hex,value:escaped\n"
		for i := range 3 {
			text += hex.EncodeToString(fmt.Appendf(nil, "stop/%d", i)) + ",\"a\nb\"\n"
		}
		text = strings.Replace(text, "\"a\nb\"", "ab", 2) // the third row has two lines
		require.NoError(t, os.WriteFile(name, []byte(text+tc.row+"\n"+hex.EncodeToString([]byte("stop/4"))+",00\n"), 0o600))
		_, err := runWith("", "kv", "import", name)
		require.ErrorContains(t, err, tc.want)
		keys, _, err := c.client.Scan(t.Context(), []byte("stop/"), []byte("stop0"), 100)
		require.NoError(t, err)
		require.Len(t, keys, 3)
	}
	_, err := runWith("", "kv", "import", name, "--skip", "2")
	require.ErrorContains(t, err, "rows 3 to 3 are written: mend")
	_, err = runWith("", "kv", "import", name, "--skip", "4", "--max-key-size", "16KiB")
	require.NoError(t, err)
	require.Equal(t, "00\n", ctl(t, "kv", "get", "stop/4"))
	_, err = runWith("", "kv", "import", name, "--skip", "3", "--max-key-size", "16KiB") // the limit is not what the stores have
	require.ErrorContains(t, err, "max key size exceeded")
	require.ErrorContains(t, err, "no row is written, rows 4 to 5 (from line 6 on) may be or not: run again, with --skip 3")
	_, err = runWith("", "kv", "import", name, "--skip", "9", "--dry-run", "--max-key-size", "16KiB")
	require.ErrorContains(t, err, "the file has 5 rows, and --skip leaves out 9")
}

func (c kvCluster) dryRun(t *testing.T) {
	name := filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(name, []byte(`{"key":"dry/a","value":"\\x00"}`+"\n"+`{"key":"dry/b","value":"1"}`), 0o600))
	var did outcome
	nowhere := []string{"kv", "import", name, "--dry-run", "--encoding", "escaped", "--pd", "127.0.0.1:1", "-o", "json"}
	require.NoError(t, json.Unmarshal([]byte(ctl(t, nowhere...)), &did))
	require.EqualValues(t, 2, did.Rows)
	require.EqualValues(t, 12, did.Bytes)
	require.True(t, did.DryRun)
	require.JSONEq(t, "[]", ctl(t, "kv", "scan", "--prefix", "dry/", "-o", "json"))
	_, err := runWith("", "kv", "import", name, "--dry-run", "--max-row-size", "5B")
	require.ErrorContains(t, err, "row 1 (line 1): key and value have 9 bytes; the limit is 5 (--max-row-size); no row is good")
}

func (c kvCluster) standardStreams(t *testing.T) {
	_, err := runWith("key,value\nstream/a,\"it's\\n\"\n", "kv", "import", "-", "--format", "csv")
	require.NoError(t, err)
	out := ctl(t, "kv", "export", "-", "--format", "ndjson", "--prefix", "stream/", "--encoding", "text", "-o", "json")
	require.Equal(t, `{"key":"stream/a","value":"it's\\n","encoding":"text"}`+"\n", out, "text is byte for byte")
	require.Equal(t, "key:text,value:text\n", ctl(t, "kv", "export", "-", "--format", "csv", "--prefix", "nothing/", "--encoding", "text"))
}

func (c kvCluster) noTTL(t *testing.T) {
	_, err := runWith("", "kv", "put", "session", "token", "--ttl", "30m")
	require.ErrorContains(t, err, "storage.enable-ttl = true")
}

// shell runs scripts over one connection.
func (c kvCluster) shell(t *testing.T) {
	script := `# what a script can say
kv put 'shell/a b' "it's"   # quotes
shoal ctl kv put shell/\x00 -o json v\\
kv scan --prefix shell/
kv get shell/\x00 -o table
`
	out, err := runWith(script, "shell", "-o", "json")
	require.NoError(t, err)
	require.Equal(t, `{
  "ok": true
}
{
  "ok": true
}
[
  {
    "key": "shell/\\x00",
    "value": "v\\\\",
    "encoding": "escaped"
  },
  {
    "key": "shell/a b",
    "value": "it\\x27s",
    "encoding": "escaped"
  }
]
v\\
`, out)
	out, err = runWith("kv put shell/c 1\nkv get shell/d\nkv get shell/c\n", "shell")
	require.ErrorContains(t, err, "line 2 (kv get shell/d): there is no key 'shell/d'")
	require.Equal(t, "OK\n", out)
	out, err = runWith("kv get shell/d\nkv get shell/c\nkv put k -\nexit\nkv get shell/c", "shell", "--keep-going")
	require.EqualError(t, err, "2 of 3 commands failed")
	require.Equal(t, "1\n", out)
	_, err = runWith("shell\n", "shell")
	require.ErrorContains(t, err, `unknown command "shell"`)
}

// oneConnection serves the lines of a shell, until one fails or asks for another.
func oneConnection(t *testing.T, pd string) {
	shared := options{pd: pd, output: asTable, timeout: time.Minute, connection: &connection{keep: true}}
	defer shared.connection.close()
	line := func(words ...string) error {
		cmd := shared.shellTree()
		cmd.SetArgs(words)
		cmd.SetOut(io.Discard)
		return cmd.ExecuteContext(t.Context())
	}
	require.NoError(t, line("kv", "put", "one/a", "1"))
	first := shared.connection.client
	require.NotNil(t, first)
	require.NoError(t, line("kv", "put", "one/lock", "1", "--cf", "lock"))
	require.Error(t, line("kv", "get", "one/b"))
	require.ErrorContains(t, line("kv", "get", "one/lock"), "there is no key", "the column family was that line's")
	require.Same(t, first, shared.connection.client, "that a key is not there is no reason to look for another cluster")
	require.Error(t, line("kv", "get", "one/a", "--cf", "none"))
	require.Nil(t, shared.connection.client)
	require.NoError(t, line("kv", "get", "one/a"))
	second := shared.connection.client
	require.NoError(t, line("kv", "get", "one/a", "--verbose"))
	require.NotSame(t, second, shared.connection.client)
}

// nobodyAnswers: what a command cannot know it says.
func (c kvCluster) nobodyAnswers(t *testing.T) {
	_, err := runWith("", "kv", "get", "k", "--timeout", "500ms")
	require.ErrorContains(t, err, "no answer within 500ms; `shoal ctl --pd ")
	_, err = runWith("", "kv", "put", "k", "v", "--timeout", "500ms")
	require.ErrorContains(t, err, "the write may have happened or not")
	_, err = runWith("key,value\nk,v\n", "kv", "import", "-", "--format", "csv", "--timeout", "500ms")
	require.ErrorContains(t, err, "no row is written, rows 1 to 1 (from line 2 on) may be or not")
	_, err = runWith("", "kv", "export", "-", "--format", "csv", "--start", "k", "--timeout", "500ms")
	require.ErrorContains(t, err, "stopped after 0 rows, before key 'k'")
}
