package rowfile

import (
	"bytes"
	stderrors "errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

const limit = 1 << 10

// TestRoundTrip reads what was written, for any bytes, in every form that takes any bytes.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// What the formats treat in a way of their own is likelier than the rest.
		b := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\r\n\",\\' \x00\xff\xef\xbf\xbd:ud"))), 0, 20)
		rows := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Row { return Row{b.Draw(t, "key"), b.Draw(t, "value")} })).Draw(t, "rows")
		f := rapid.SampledFrom([]Format{CSV, NDJSON}).Draw(t, "format")
		encoding := rapid.SampledFrom([]form.Form{form.Escaped, form.Hex, form.Base64, form.Text}).Draw(t, "encoding")

		var file bytes.Buffer
		w, err := NewWriter(&file, f, encoding)
		require.NoError(t, err)
		var written []Row
		for _, row := range rows {
			if err = w.Write(row); err == nil {
				written = append(written, row)
			} else {
				require.Equal(t, form.Text, encoding, "only text refuses bytes")
			}
		}
		require.NoError(t, w.Flush())

		// The reader's own form is one that would misread the file.
		r := NewReader(iotest.OneByteReader(&file), f, form.Hex, limit)
		for _, want := range written {
			got, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, string(want.Key), string(got.Key))
			require.Equal(t, string(want.Value), string(got.Value))
		}
		for range 2 {
			_, err = r.Next()
			require.ErrorIs(t, err, io.EOF)
		}
	})
}

func TestFilesOfOthers(t *testing.T) {
	for _, tc := range []struct {
		format Format
		plain  form.Form
		text   string
		want   string
	}{
		{CSV, form.Text, "key,value\na\\x00,\"b,\"\"c\"\"\nd\"\n", `a\x00=b,"c"` + "\nd;"},
		{CSV, form.Text, "\ufeffvalue,key\r\nv,k\r\n\r\nw,l", "k=v;l=w;"},
		{CSV, form.Escaped, "key,value:hex\na\\x62,6100\n", "ab=a\x00;"},
		{CSV, form.Text, "key,value\n", ""},
		{NDJSON, form.Text, "\ufeff{\"value\":\"v\\n\",\"key\":\"k\"}\r\n\n {\"key\":\"\\ud83d\\ude00\",\"value\":\"\\ufffd\ufffd\"}", "k=v\n;\U0001f600=\ufffd\ufffd;"},
		{NDJSON, form.Hex, `{"key":"61","value":""}` + "\n" + `{"key":"61","value":"","encoding":"text"}`, "a=;61=;"},
		{NDJSON, form.Text, "", ""},
	} {
		r := NewReader(strings.NewReader(tc.text), tc.format, tc.plain, limit)
		var got strings.Builder
		for {
			row, err := r.Next()
			if stderrors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, tc.text)
			fmt.Fprintf(&got, "%s=%s;", row.Key, row.Value)
		}
		require.Equal(t, tc.want, got.String())
	}
}

func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	long := strings.Repeat("x", 2*limit)
	for _, tc := range []struct {
		format Format
		text   string
		rows   int // good ones before
		want   string
	}{
		{CSV, "", 0, "header (line 1): the file is empty"},
		{CSV, "a,b\n", 0, `header (line 1): the columns are ["a" "b"]; the first line must be key,value`},
		{CSV, "key,value,ttl\n", 0, "there are 3 columns"},
		{CSV, "key,key\n", 0, "the first line must be"},
		{CSV, "key:hax,value\n", 0, `column key is in form "hax": it must be escaped, hex, base64 or text`},
		{CSV, "key:hex,value\n61,\"a\nb\"\n\n6,x\n", 1, `row 2 (line 5): key: "6" is not hexadecimal`},
		{CSV, "key,value:hex\nk,xy\n", 0, `row 1 (line 2): value: "xy" is not hexadecimal`},
		{CSV, "key,value\na,b\nc\n", 1, "row 2 (line 3): it has 1 fields, and the header has 2"},
		{CSV, "key,value\na,b\nc,\"d\ne\n", 1, "row 2 (line 3): extraneous or missing"},
		{CSV, "key,value\na,b\nc,\"" + long, 1, "row 2 (line 3): it is longer than 1024 bytes"},
		{CSV, long + long + long, 0, "header (line 1): it is longer than 1024 bytes"},
		{NDJSON, "{\"key\":\"a\",\"value\":\"\"}\n\n{", 1, `row 2 (line 3): it is not {"key":`},
		{NDJSON, `{"key":"a"}`, 0, `row 1 (line 1): "key" or "value" is missing`},
		{NDJSON, `{"key":"a","value":1}`, 0, "cannot unmarshal number"},
		{NDJSON, `{"key":"a","value":"","ttl":5}`, 0, `unknown field "ttl"`},
		{NDJSON, `{"key":"a","value":""} {}`, 0, "one line is one object"},
		{NDJSON, `{"key":"a","value":"","encoding":"hax"}`, 0, `encoding is "hax": it must be`},
		{NDJSON, `{"key":"xy","value":"","encoding":"hex"}`, 0, `key: "xy" is not hexadecimal`},
		{NDJSON, `{"key":"6b","value":"xy","encoding":"hex"}`, 0, `value: "xy" is not hexadecimal`},
		{NDJSON, "{\"key\":\"\xff\",\"value\":\"\"}", 0, "it is not UTF-8"},
		{NDJSON, `{"key":"\ud83d","value":""}`, 0, "half of a \\u pair"},
		{NDJSON, `{"key":"` + long, 0, "row 1 (line 1): it is longer than 1024 bytes"},
	} {
		r := NewReader(strings.NewReader(tc.text), tc.format, form.Text, limit)
		for range tc.rows {
			_, err := r.Next()
			require.NoError(t, err, tc.text)
		}
		_, err := r.Next()
		require.ErrorContains(t, err, tc.want, tc.text)
		var bad *RowError
		require.ErrorAs(t, err, &bad)
		_, again := r.Next()
		require.Equal(t, err, again, "there are no rows after an error")
	}
}

func TestTextThatAFileWouldChangeIsRefused(t *testing.T) {
	for f, values := range map[Format][]string{CSV: {"\xff", "a\r\nb"}, NDJSON: {"\xff"}} {
		for _, v := range values {
			w, err := NewWriter(io.Discard, f, form.Text)
			require.NoError(t, err)
			require.ErrorContains(t, w.Write(Row{[]byte("k"), []byte(v)}), "choose escaped, hex or base64")
			require.Error(t, w.Write(Row{[]byte(v), []byte("v")}))
		}
	}
}

func TestABrokenFileIsNotAnEnd(t *testing.T) {
	for _, f := range []Format{CSV, NDJSON} {
		r := NewReader(iotest.ErrReader(stderrors.New("disk on fire")), f, form.Text, limit)
		_, err := r.Next()
		require.ErrorContains(t, err, "disk on fire")
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{"a.csv": CSV, "/x/B.CSV": CSV, "a.ndjson": NDJSON, "a.jsonl": NDJSON, "a.txt": "", "-": ""} {
		got, ok := FormatOf(name)
		require.Equal(t, want, got, name)
		require.Equal(t, want != "", ok)
	}
	var f Format
	require.NoError(t, f.Set("ndjson"))
	require.Equal(t, "ndjson", f.String())
	require.ErrorContains(t, f.Set("xml"), "csv or ndjson")
}
