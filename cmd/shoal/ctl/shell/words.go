package shell

import (
	"strings"

	"github.com/pingcap/errors"
)

// words are a line cut up as the shell sees it.
type words struct {
	list []string
	// open is where the last word begins in the line if the line ends within it, and the line's length if a new word would begin there.
	open int
	// quote is the quote that the line's end is within; 0 if none.
	quote byte
	// comment says that the line ends within a comment.
	comment bool
}

// Split cuts a line into words. Blanks separate them, unless they are quoted by '…' or "…"; a word that begins with # begins a comment.
//
// A backslash is left as it is, because the escaped form of keys and values has its own use for it: a\x00b and 'a\x00b' are the same word. Only
// before a blank, a quote or a # outside of quotes, and before " and \ within "…", it takes what follows for an ordinary character and goes away.
func Split(line string) ([]string, error) {
	w := split(line)
	if w.quote != 0 {
		return nil, errors.Errorf("the %c that opens at the end of %q is not closed", w.quote, line)
	}
	return w.list, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func split(line string) words {
	w := words{open: len(line)}
	var word strings.Builder
	inWord := false
	begin := func(i int) {
		if !inWord {
			inWord, w.open = true, i
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case w.quote != 0 && c == w.quote:
			w.quote = 0
		case w.quote == 0 && (c == '\'' || c == '"'):
			begin(i)
			w.quote = c
		case c == '\\' && w.quote != '\'' && i+1 < len(line):
			begin(i)
			i++
			if !hides(w.quote, line[i]) {
				word.WriteByte(c) // the two stay together: \\ does not quote what follows
			}
			word.WriteByte(line[i])
		case w.quote == 0 && isBlank(c):
			if inWord {
				w.list = append(w.list, word.String())
				word.Reset()
				inWord = false
			}
			w.open = len(line)
		case c == '#' && w.quote == 0 && !inWord:
			w.comment = true
			return w
		default:
			begin(i)
			word.WriteByte(c)
		}
	}
	if inWord {
		w.list = append(w.list, word.String())
	}
	return w
}

// hides reports whether a backslash before c is the shell's, within "…" or outside of quotes.
func hides(quote, c byte) bool {
	if quote == '"' {
		return c == '"' || c == '\\'
	}
	return isBlank(c) || c == '\'' || c == '"' || c == '#'
}

// join writes a word so that Split reads it, within the quote that it stands in already.
func join(word string, quote byte) string {
	if quote != 0 {
		return string(quote) + word
	}
	var out strings.Builder
	for i := range len(word) {
		if hides(0, word[i]) {
			out.WriteByte('\\')
		}
		out.WriteByte(word[i])
	}
	return out.String()
}
