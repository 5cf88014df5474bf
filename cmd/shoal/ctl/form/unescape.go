package form

import (
	"strconv"
	"strings"

	"github.com/pingcap/errors"
)

// unescape reads escaped text. Everything but a backslash stands for itself, be it UTF-8 or not.
func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for rest := s; rest != ""; {
		i := strings.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...), nil
		}
		out, rest = append(out, rest[:i]...), rest[i:]
		if len(rest) > 1 && (rest[1] == '\'' || rest[1] == '"') {
			out, rest = append(out, rest[1]), rest[2:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, errors.Errorf(`%q has an unknown escape at %q: a byte is \xNN, a backslash \\`, s, rest)
		}
		if multibyte {
			out = append(out, string(r)...)
		} else {
			out = append(out, byte(r))
		}
		rest = tail
	}
	return out, nil
}
