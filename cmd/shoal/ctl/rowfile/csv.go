package rowfile

import (
	"encoding/csv"
	stderrors "errors"
	"io"
	"strings"

	"github.com/pingcap/errors"

	"github.com/shoal-kv/shoal/cmd/shoal/ctl/form"
)

// column names a CSV column: "key" or "value", with its form unless the form is the reader's to know.
const (
	keyColumn   = "key"
	valueColumn = "value"
)

type csvWriter struct {
	w        *csv.Writer
	encoding form.Form
	record   [2]string
}

func newCSVWriter(w io.Writer, encoding form.Form) (*csvWriter, error) {
	c := &csvWriter{w: csv.NewWriter(w), encoding: encoding}
	header := []string{keyColumn + ":" + string(encoding), valueColumn + ":" + string(encoding)}
	return c, errors.Trace(c.w.Write(header))
}

func (c *csvWriter) Write(row Row) error {
	for i, b := range [][]byte{row.Key, row.Value} {
		word, err := c.encoding.Encode(b)
		if err != nil {
			return err
		}
		if strings.ContainsRune(word, '\r') { // readers of CSV make line ends alike
			return errors.Errorf("%q has a carriage return, which CSV does not keep in text; choose escaped, hex or base64", b)
		}
		c.record[i] = word
	}
	return errors.Trace(c.w.Write(c.record[:]))
}

func (c *csvWriter) Flush() error {
	c.w.Flush()
	return errors.Trace(c.w.Error())
}

type csvReader struct {
	src        *bounded
	r          *csv.Reader
	plain      form.Form
	key, value csvColumn // known once the header is read
	row, line  int
	err        error // why there are no more rows
}

// csvColumn is where keys or values stand, and how.
type csvColumn struct {
	index int
	form  form.Form
}

func newCSVReader(r io.Reader, plain form.Form, limit int) *csvReader {
	src := &bounded{r: r, limit: limit}
	c := &csvReader{src: src, r: csv.NewReader(src), plain: plain, row: -1}
	c.r.ReuseRecord = true
	return c
}

func (c *csvReader) Line() int { return c.line }

func (c *csvReader) Next() (Row, error) {
	if c.row < 0 && c.err == nil {
		c.readHeader()
	}
	if c.err != nil {
		return Row{}, c.err
	}
	record, err := c.read()
	if err != nil {
		return Row{}, c.fail(err)
	}
	var row Row
	if row.Key, err = c.key.parse(record, keyColumn); err != nil {
		return Row{}, c.fail(err)
	}
	if row.Value, err = c.value.parse(record, valueColumn); err != nil {
		return Row{}, c.fail(err)
	}
	return row, nil
}

func (c *csvColumn) parse(record []string, name string) ([]byte, error) {
	b, err := c.form.Parse(record[c.index])
	return b, errors.Annotate(err, name)
}

// read reads one record, which must not take more than its share of memory.
func (c *csvReader) read() ([]string, error) {
	c.row++
	c.src.left = c.src.limit
	record, err := c.r.Read()
	if len(record) > 0 {
		c.line, _ = c.r.FieldPos(0)
	}
	var bad *csv.ParseError
	if stderrors.As(err, &bad) {
		c.line, err = bad.StartLine, bad.Err
		if stderrors.Is(err, csv.ErrFieldCount) {
			err = errors.Errorf("it has %d fields, and the header has 2", len(record))
		}
	}
	return record, err
}

// fail remembers why there are no more rows.
func (c *csvReader) fail(err error) error {
	c.err = err
	if !stderrors.Is(err, io.EOF) {
		c.err = &RowError{Row: c.row, Line: max(c.line, 1), Err: err}
	}
	return c.err
}

func (c *csvReader) readHeader() {
	header, err := c.read()
	if stderrors.Is(err, io.EOF) {
		err = errors.New("the file is empty; a CSV begins with key,value")
	}
	if err == nil {
		err = c.parseHeader(header)
	}
	if err != nil {
		_ = c.fail(err)
	}
}

func (c *csvReader) parseHeader(header []string) error {
	const want = "the first line must be key,value or key:FORM,value:FORM"
	if len(header) != 2 {
		return errors.Errorf("there are %d columns; %s", len(header), want)
	}
	found := map[string]*csvColumn{}
	for i, name := range header {
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff") // spreadsheets begin files so
		}
		name, encoding, given := strings.Cut(name, ":")
		col := &csvColumn{index: i, form: c.plain}
		if given {
			if err := col.form.Set(encoding); err != nil {
				return errors.Annotatef(err, "column %s is in form %q", name, encoding)
			}
		}
		found[name] = col
	}
	if found[keyColumn] == nil || found[valueColumn] == nil {
		return errors.Errorf("the columns are %q; %s", header, want)
	}
	c.key, c.value = *found[keyColumn], *found[valueColumn]
	return nil
}

// bounded fails when a record makes its reader read more than limit bytes beyond what it has buffered.
type bounded struct {
	r           io.Reader
	limit, left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLong(b.limit)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
