package ctl

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pingcap/errors"
)

// form is how keys and values are written on the command line and in answers.
type form string

const (
	// formText takes words as they are, and shows what cannot be printed as \xNN.
	formText form = "text"
	// formHex takes and shows hexadecimal digits.
	formHex form = "hex"
	// formEscaped is text in which \xNN, \n, \t and \\ are understood too.
	formEscaped form = "escaped"
)

func (f form) validate() error {
	if f != formText && f != formHex && f != formEscaped {
		return errors.Errorf("--format is %q; it must be text, hex or escaped", string(f))
	}
	return nil
}

// parse reads a word of the command line.
func (f form) parse(word string) ([]byte, error) {
	switch f {
	case formHex:
		b, err := hex.DecodeString(word)
		if err != nil {
			return nil, errors.Errorf("%q is not hexadecimal: %v", word, err)
		}
		return b, nil
	case formEscaped:
		return unescape(word)
	default:
		return []byte(word), nil
	}
}

// show writes bytes so that parse, or a person, can read them.
func (f form) show(b []byte) string {
	if f == formHex {
		return strings.ToUpper(hex.EncodeToString(b))
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '\\' && f == formEscaped:
			out.WriteString(`\\`)
		case (r == utf8.RuneError && n == 1) || !unicode.IsPrint(r):
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

func unescape(s string) ([]byte, error) {
	var out []byte
	for rest := s; rest != ""; {
		// Quotes stand for themselves, as there are none around a word here; so do bytes beyond ASCII, be they UTF-8 or not.
		if c := rest[0]; c == '"' || c == '\'' || c >= utf8.RuneSelf {
			out, rest = append(out, c), rest[1:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, errors.Errorf("%q has an escape that is not understood at %q", s, rest)
		}
		if multibyte {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return out, nil
}
