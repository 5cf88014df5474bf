package rowfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	stderrors "errors"
	"io"
	"regexp"
	"unicode/utf8"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

// line is one row. Lines say all that is needed to read them, so that such files can be cut and joined.
type line struct {
	Key      *string `json:"key"`
	Value    *string `json:"value"`
	Encoding string  `json:"encoding,omitempty"`
}

type ndjsonWriter struct {
	w        *bufio.Writer
	enc      *json.Encoder
	encoding form.Form
}

func newNDJSONWriter(w io.Writer, encoding form.Form) *ndjsonWriter {
	n := &ndjsonWriter{w: bufio.NewWriter(w), encoding: encoding}
	n.enc = json.NewEncoder(n.w)
	n.enc.SetEscapeHTML(false)
	return n
}

func (n *ndjsonWriter) Write(row Row) error {
	key, err := n.encoding.Encode(row.Key)
	if err != nil {
		return err
	}
	value, err := n.encoding.Encode(row.Value)
	if err != nil {
		return err
	}
	return errors.Trace(n.enc.Encode(line{&key, &value, string(n.encoding)}))
}

func (n *ndjsonWriter) Flush() error { return errors.Trace(n.w.Flush()) }

type ndjsonReader struct {
	s           *bufio.Scanner
	plain       form.Form
	limit       int
	row, lineNo int
	err         error // why there are no more rows
}

func newNDJSONReader(r io.Reader, plain form.Form, limit int) *ndjsonReader {
	n := &ndjsonReader{s: bufio.NewScanner(r), plain: plain, limit: limit}
	n.s.Buffer(nil, limit)
	return n
}

func (n *ndjsonReader) Line() int { return n.lineNo }

func (n *ndjsonReader) Next() (Row, error) {
	if n.err != nil {
		return Row{}, n.err
	}
	row, err := n.next()
	if stderrors.Is(err, io.EOF) {
		n.err = err
	} else if err != nil {
		n.err = &RowError{Row: n.row, Line: n.lineNo, Err: err}
	}
	return row, n.err
}

func (n *ndjsonReader) next() (Row, error) {
	for n.s.Scan() {
		n.lineNo++
		text := n.s.Bytes()
		if n.lineNo == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			n.row++
			return n.parse(text)
		}
	}
	err := n.s.Err()
	if err == nil {
		return Row{}, io.EOF
	}
	n.row, n.lineNo = n.row+1, n.lineNo+1
	if stderrors.Is(err, bufio.ErrTooLong) {
		err = tooLong(n.limit)
	}
	return Row{}, err
}

func (n *ndjsonReader) parse(text []byte) (row Row, err error) {
	if !utf8.Valid(text) {
		return row, errors.New(`it is not UTF-8, as JSON must be; write other bytes with "encoding":"escaped", hex or base64`)
	}
	var l line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return row, errors.Annotate(err, `it is not {"key":"…","value":"…","encoding":"…"}`)
	}
	if _, err := dec.Token(); err != io.EOF {
		return row, errors.New("something follows the object; one line is one object")
	}
	if l.Key == nil || l.Value == nil {
		return row, errors.New(`"key" or "value" is missing`)
	}
	if loneSurrogate(text, *l.Key, *l.Value) {
		return row, errors.New(`it has half of a \u pair, which is no character`)
	}
	f := n.plain
	if l.Encoding != "" {
		if err := f.Set(l.Encoding); err != nil {
			return row, errors.Annotatef(err, "encoding is %q", l.Encoding)
		}
	}
	if row.Key, err = f.Parse(*l.Key); err != nil {
		return row, errors.Annotate(err, "key")
	}
	row.Value, err = f.Parse(*l.Value)
	return row, errors.Annotate(err, "value")
}

var meantReplacement = regexp.MustCompile(`(?i)\x{fffd}|\\ufffd`)

// loneSurrogate reports whether a word has replacement characters that the text does not: encoding/json puts them in place of
// half a surrogate pair without a word.
func loneSurrogate(text []byte, words ...string) bool {
	got := 0
	for _, w := range words {
		for _, r := range w {
			if r == utf8.RuneError {
				got++
			}
		}
	}
	return got > 0 && got > len(meantReplacement.FindAllIndex(text, -1))
}
