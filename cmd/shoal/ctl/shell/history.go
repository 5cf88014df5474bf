package shell

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/peterh/liner"
	"github.com/pingcap/errors"
)

// history is the lines typed so far: in the editor, and in a file to which every line is added at once, so that shells that run at the same
// time, or are killed, lose none.
type history struct {
	editor rememberer
	file   string // none if empty
}

// rememberer is the part of the line editor that keeps the last lines.
type rememberer interface {
	AppendHistory(line string)
	ReadHistory(r io.Reader) (lines int, err error)
	WriteHistory(w io.Writer) (lines int, err error)
}

// openHistory reads what is there. A history that cannot be read is an empty one.
func openHistory(editor rememberer, file string) *history {
	h := &history{editor: editor, file: file}
	f, err := os.Open(file)
	if err != nil {
		return h
	}
	n, _ := editor.ReadHistory(f) // likewise
	_ = f.Close()                 // it was only read
	if n > 2*liner.HistoryLimit {
		h.shorten()
	}
	return h
}

// shorten leaves in the file what the editor remembers. If that fails, the file is just long.
func (h *history) shorten() {
	tmp := h.file + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, err = h.editor.WriteHistory(f)
	if closeErr := f.Close(); err == nil && closeErr == nil {
		_ = os.Rename(tmp, h.file)
	}
}

// longestLine, in bytes, is what the editor reads back; it gives up a file at a longer line.
const longestLine = 4000

// add remembers a line, unless it begins with a blank, as people are used to.
func (h *history) add(line string) error {
	if strings.HasPrefix(line, " ") {
		return nil
	}
	h.editor.AppendHistory(line)
	if h.file == "" || len(line) > longestLine || !utf8.ValidString(line) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(h.file), 0o700); err != nil {
		return errors.Trace(err)
	}
	f, err := os.OpenFile(h.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Trace(err)
	}
	_, err = f.WriteString(line + "\n")
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return errors.Trace(err)
}
