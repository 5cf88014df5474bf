// Package rowfile is the files of `shoal ctl kv export` and `import`: one row a key with its value, as CSV or NDJSON.
//
// Keys and values are any bytes, so a file says in which form they are written, and reading it back needs no flag: a CSV's header is
// key:FORM,value:FORM, and each NDJSON line has an "encoding". Files of others may leave that out; the reader is told which form
// they have then. Reading is strict: whatever would be dropped or changed on its way in is an error that names the row and the line.
//
// Both directions hold one row at a time; a row is bounded by what the reader is told.
package rowfile

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

// Row is one key with its value.
type Row struct{ Key, Value []byte }

// Format is a kind of file.
type Format string

const (
	// CSV is RFC 4180 with a header.
	CSV Format = "csv"
	// NDJSON is one JSON object a line.
	NDJSON Format = "ndjson"
)

// Formats are the values of a flag that takes a format.
var Formats = []string{string(CSV), string(NDJSON)}

// Extensions are the endings of file names, without the dot, that FormatOf knows.
var Extensions = []string{"csv", "ndjson", "jsonl"}

// String is the name; with Set and Type it makes a format a flag.
func (f *Format) String() string { return string(*f) }

// Set refuses what is no format.
func (f *Format) Set(name string) error {
	switch Format(name) {
	case CSV, NDJSON:
		*f = Format(name)
		return nil
	}
	return errors.New("it must be csv or ndjson")
}

// Type is what help texts call the flag's value.
func (f *Format) Type() string { return "format" }

// FormatOf tells a file's format by its name; ok is false if the name does not say.
func FormatOf(name string) (f Format, ok bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return CSV, true
	case ".ndjson", ".jsonl":
		return NDJSON, true
	}
	return "", false
}

// Writer writes rows. It buffers: what was written is there after Flush.
type Writer interface {
	Write(Row) error
	Flush() error
}

// NewWriter begins a file.
func NewWriter(w io.Writer, f Format, encoding form.Form) (Writer, error) {
	if f == CSV {
		return newCSVWriter(w, encoding)
	}
	return newNDJSONWriter(w, encoding), nil
}

// Reader reads rows. Next returns io.EOF after the last one, and a *RowError for a row that is not as it must be; after an error there
// are no more rows. The row's bytes are the caller's. Line is where the last row began, counted from 1.
type Reader interface {
	Next() (Row, error)
	Line() int
}

// NewReader reads a file whose rows are at most limit bytes long in the file; plain is the form of keys and values where the file does not say.
func NewReader(r io.Reader, f Format, plain form.Form, limit int) Reader {
	if f == CSV {
		return newCSVReader(r, plain, limit)
	}
	return newNDJSONReader(r, plain, limit)
}

// RowError says what is wrong with a row.
type RowError struct {
	// Row counts from 1; 0 is a CSV's header. Line is the line of the file on which the row begins.
	Row, Line int
	Err       error
}

func (e *RowError) Error() string {
	if e.Row == 0 {
		return fmt.Sprintf("header (line %d): %v", e.Line, e.Err)
	}
	return fmt.Sprintf("row %d (line %d): %v", e.Row, e.Line, e.Err)
}

// Unwrap is what is wrong.
func (e *RowError) Unwrap() error { return e.Err }

// tooLong says that a row does not fit in memory's share.
func tooLong(limit int) error {
	return errors.Errorf("it is longer than %d bytes, which no key and value within the limits need; a closing quote may be missing", limit)
}
