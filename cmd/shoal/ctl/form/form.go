// Package form is how keys and values, which are any bytes, are written as text: on the command line, in answers, in JSON and in
// the files of export and import. There is one set of forms for all of them, so that what one place prints another can read.
package form

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pingcap/errors"
)

// Form is one way to write bytes as text.
type Form string

const (
	// Escaped is printable text as it stands, except that a backslash begins an escape: \xNN is a byte, and \n, \t, \r, \\, \', \"
	// and \u00e4 are what they are in Go and JSON. What it shows has neither line ends nor a ', so that it can be put between
	// those on a command line as it is.
	Escaped Form = "escaped"
	// Hex is two hexadecimal digits a byte.
	Hex Form = "hex"
	// Base64 is the standard alphabet with padding.
	Base64 Form = "base64"
	// Text takes words byte for byte. It is for reading, and for data that is known to be text: bytes that cannot be printed are
	// shown as \xNN, which it does not read back.
	Text Form = "text"
)

// Names are the values of a flag that takes a form.
var Names = []string{string(Escaped), string(Hex), string(Base64), string(Text)}

// String is the name; with Set and Type it makes a form a flag.
func (f *Form) String() string { return string(*f) }

// Set refuses what is no form.
func (f *Form) Set(name string) error {
	switch Form(name) {
	case Escaped, Hex, Base64, Text:
		*f = Form(name)
		return nil
	}
	return errors.New("it must be " + strings.Join(Names[:len(Names)-1], ", ") + " or " + Names[len(Names)-1])
}

// Type is what help texts call the flag's value.
func (f *Form) Type() string { return "form" }

// Parse reads a word.
func (f Form) Parse(word string) ([]byte, error) {
	switch f {
	case Hex:
		if len(word)%2 != 0 {
			return nil, errors.Errorf("%q is not hexadecimal: every byte has two digits", word)
		}
		b, err := hex.DecodeString(word)
		if err != nil {
			return nil, errors.Errorf("%q is not hexadecimal: the digits are 0-9 and a-f", word)
		}
		return b, nil
	case Base64:
		b, err := base64.StdEncoding.Strict().DecodeString(word)
		if err != nil {
			return nil, errors.Errorf("%q is not base64: %v", word, err)
		}
		return b, nil
	case Text:
		return []byte(word), nil
	default:
		return unescape(word)
	}
}

// Show writes bytes for a person. Parse reads it back, unless the form is Text.
func (f Form) Show(b []byte) string {
	switch f {
	case Hex:
		return strings.ToUpper(hex.EncodeToString(b))
	case Base64:
		return base64.StdEncoding.EncodeToString(b)
	default:
		return escape(b, f == Escaped)
	}
}

// Encode writes bytes for a program: Parse reads them back whatever the form. Text that is not UTF-8 is an error, because what
// carries it onward (JSON, CSV) would change it.
func (f Form) Encode(b []byte) (string, error) {
	if f != Text {
		return f.Show(b), nil
	}
	if !utf8.Valid(b) {
		return "", errors.Errorf("%q is not UTF-8 and cannot be written as text; choose escaped, hex or base64", b)
	}
	return string(b), nil
}

// escape writes what cannot be printed as escapes; when invertible, what would be mistaken for an escape or end a quoted word too.
func escape(b []byte, invertible bool) string {
	var out strings.Builder
	out.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case invertible && strings.ContainsRune("\\\n\t\r", r):
			out.WriteString(map[rune]string{'\\': `\\`, '\n': `\n`, '\t': `\t`, '\r': `\r`}[r])
		case (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r) || (invertible && r == '\''):
			for _, c := range b[:n] {
				out.WriteString(`\x` + hex.EncodeToString([]byte{c}))
			}
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String()
}
