package shell

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/peterh/liner"
	"github.com/pingcap/errors"
)

// Terminal runs the lines that a person types until they leave. history is a file that keeps them; none if it is empty.
func (s *Shell) Terminal(ctx context.Context, prompt, history string) error {
	usual, err := liner.TerminalMode()
	if err != nil {
		return errors.Annotate(err, "standard input is no terminal")
	}
	l := liner.NewLiner()
	defer func() { _ = l.Close() }() // the terminal is given back as well as can be
	editing, err := liner.TerminalMode()
	if err != nil {
		return errors.Trace(err)
	}
	l.SetCtrlCAborts(true)
	l.SetTabCompletionStyle(liner.TabPrints)
	l.SetWordCompleter(func(line string, pos int) (string, []string, string) {
		tree := s.tree()
		if s.Completing != nil {
			s.Completing(tree)
		}
		return Complete(tree, line, len(string([]rune(line)[:pos])))
	})
	past := openHistory(l, history)
	// Commands listen for Ctrl-C themselves. In between, it must not end the shell.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, os.Interrupt)
	defer signal.Stop(ignored)

	for {
		line, err := l.Prompt(prompt)
		switch {
		case stderrors.Is(err, liner.ErrPromptAborted):
			continue
		case stderrors.Is(err, io.EOF):
			fmt.Fprintln(s.Out)
			return nil
		case err != nil:
			return errors.Trace(err)
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := past.add(line); err != nil {
			fmt.Fprintf(s.Err, "the history is not kept: %v\n", err)
			past.file = ""
		}
		_ = usual.ApplyMode() // commands print, and hear Ctrl-C, as they do outside
		_, err = s.run(ctx, line)
		_ = editing.ApplyMode()
		if stderrors.Is(err, errLeave) {
			return nil
		}
		if err != nil {
			fmt.Fprintf(s.Err, "Error: %v\n", err)
		}
	}
}
